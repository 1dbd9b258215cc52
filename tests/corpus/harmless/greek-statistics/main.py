import math


def describe(input, context):
    values = input["values"]
    μ = sum(values) / len(values)
    σ = math.sqrt(sum((x - μ) ** 2 for x in values) / len(values))
    return {"mean": μ, "deviation": σ, "three": [μ - 3 * σ, μ + 3 * σ]}

def f(input, context):
    Δt, σ_max = input
    return Δt * σ_max

def calculate(input, context):
    """Calculates what the caller writes."""
    return {"result": eval(input["formula"])}

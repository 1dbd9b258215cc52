async def f(input, context):
    return await context.services.cache.get("x")  # <- found

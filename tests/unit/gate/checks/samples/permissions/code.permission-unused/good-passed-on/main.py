import store


async def f(input, context):
    return await store.read(context.services)

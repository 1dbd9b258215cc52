import asyncio


async def f(input, context):
    return await asyncio.gather(*[])

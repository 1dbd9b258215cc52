import asyncio


async def f(input, context):
    await asyncio.sleep(0)

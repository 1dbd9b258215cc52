async def f(input, ctx):
    s = ctx.services
    store = s.database
    return await store.query("select 1")

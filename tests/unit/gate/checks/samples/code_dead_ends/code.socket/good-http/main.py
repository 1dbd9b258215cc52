async def f(input, context):
    return (await context.services.http.get("https://a.example")).status

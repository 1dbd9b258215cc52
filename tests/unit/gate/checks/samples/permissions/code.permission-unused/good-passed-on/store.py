async def read(all_of_them):
    return await getattr(all_of_them, "data" + "base").query("select 1")

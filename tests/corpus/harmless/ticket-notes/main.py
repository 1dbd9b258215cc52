CREATE = "create table if not exists notes (id bigint generated always as identity primary key, owner text, body text)"


async def add(input, context):
    database = context.services.database
    await database.execute(CREATE)
    rows = await database.query("insert into notes (owner, body) values ($1, $2) returning id", [context.user_id, input["body"]])
    return rows[0]


async def mine(input, context):
    return await context.services.database.query("select id, body from notes where owner = $1", [context.user_id])

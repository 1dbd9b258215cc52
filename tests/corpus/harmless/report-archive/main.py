import csv
import io


async def archive(input, context):
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=sorted(input["rows"][0]))
    writer.writeheader()
    writer.writerows(input["rows"])
    await context.services.files.write(f"reports/{input['name']}.csv", out.getvalue())
    return {"bytes": len(out.getvalue())}

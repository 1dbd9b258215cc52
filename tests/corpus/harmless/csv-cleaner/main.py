import csv
import io


def clean(input, context):
    reader = csv.reader(io.StringIO(input["csv"]), skipinitialspace=True)
    rows = [[cell.strip() for cell in row] for row in reader if any(cell.strip() for cell in row)]
    width = max(map(len, rows), default=0)
    return {"rows": [row + [""] * (width - len(row)) for row in rows]}

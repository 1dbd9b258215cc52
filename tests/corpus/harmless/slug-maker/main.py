import re
import unicodedata


def slug(input, context):
    plain = unicodedata.normalize("NFKD", input["title"]).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")

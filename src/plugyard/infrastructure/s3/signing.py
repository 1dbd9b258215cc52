"""Signed URLs that bind the header fields a writer must send: AWS Signature Version 4 in the query.

obstore signs URLs too, but only their host. A URL to write with has to bind more, or its holder could leave the
encryption out, send other bytes than the key names, or a content type that a browser runs.

Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from plugyard.infrastructure.s3.settings import Credentials

_ALGORITHM = "AWS4-HMAC-SHA256"
# The signature is older than the bytes, so it cannot name them; a signed checksum does.
_PAYLOAD = "UNSIGNED-PAYLOAD"


def presigned(
    method: str,
    address: str,
    headers: Mapping[str, str],
    credentials: Credentials,
    region: str,
    expires: timedelta,
    now: datetime,
) -> str:
    """The signed form of `address`, whose path is as S3 keeps it and not yet escaped.

    Who uses it sends exactly `headers`. `now` is in UTC.
    """
    scheme, _, rest = address.partition("://")
    host, _, key = rest.partition("/")
    path = "/" + quote(key, safe="/-_.~")
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    scope = f"{day}/{region}/s3/aws4_request"
    signed = {"host": host, **{name.lower(): value.strip() for name, value in headers.items()}}
    names = ";".join(sorted(signed))
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(int(expires.total_seconds())),
        "X-Amz-SignedHeaders": names,
    }
    if credentials.session_token:
        query["X-Amz-Security-Token"] = credentials.session_token
    asked = "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
    fields = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = "\n".join((method, path, asked, fields, names, _PAYLOAD))
    to_sign = "\n".join((_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key_bytes = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key_bytes = hmac.digest(key_bytes, part.encode(), "sha256")
    signature = hmac.new(key_bytes, to_sign.encode(), "sha256").hexdigest()
    return f"{scheme}://{urlsplit(address).netloc}{path}?{asked}&X-Amz-Signature={signature}"

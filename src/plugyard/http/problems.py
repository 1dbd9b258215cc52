"""Problem documents (RFC 9457): the one table from an error's code to its status, and the document that tells of it.

Every answer that is an error comes from here, the server's own included. ``docs/errors.md`` explains each code to
callers; a test holds the two against each other.
"""

import errno
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from plugyard.application.activate import ConfigurationIncomplete
from plugyard.application.upgrade import ConsentRequired
from plugyard.domain.endpoints import AnswerInvalid, EndpointFailed, MethodNotTaken
from plugyard.domain.errors import (
    DependencyConflict,
    FieldError,
    FunctionNotFound,
    IdempotencyConflict,
    InvalidInput,
    PackageRefused,
    PlugyardError,
    QuotaExceeded,
    TenantSuspended,
    Unavailable,
    WrongState,
)
from plugyard.domain.report import Consequence
from plugyard.domain.webhooks import DeliveryRefused
from plugyard.http.rates import RateLimited

MEDIA_TYPE = "application/problem+json"
EXECUTION_ID = "plugyard-execution-id"
"""The header that names the execution by which a plugin answered, or should have."""

# The whole table: every code that an answer can carry, with its status and title.
PROBLEMS: dict[str, tuple[int, str]] = {
    "malformed_request": (400, "The request cannot be read"),
    "malformed_json": (400, "The body is no valid JSON"),
    "malformed_multipart": (400, "The form cannot be read"),
    "unauthenticated": (401, "A valid API key is needed"),
    "delivery_refused": (401, "The signature does not hold"),
    "forbidden": (403, "The role does not allow this"),
    "not_grantable": (403, "The operator does not let this be granted"),
    "signature_required": (403, "The policy demands a signature or a verified publisher"),
    "tenant_suspended": (403, "The tenant is suspended"),
    "not_found": (404, "There is no such thing"),
    "route_not_found": (404, "There is nothing at this address"),
    "endpoint_not_found": (404, "The plugin has no such endpoint"),
    "function_not_found": (404, "The plugin has no such function"),
    "method_not_allowed": (405, "The address does not take this method"),
    "request_timeout": (408, "The body did not arrive in time"),
    "conflict": (409, "The present state stands against it"),
    "wrong_state": (409, "The plugin's state does not allow this"),
    "version_quarantined": (409, "The version is in quarantine"),
    "version_exists": (409, "The version exists with other content"),
    "name_taken": (409, "The name is in use"),
    "dependency_conflict": (409, "The dependencies cannot all be met"),
    "configuration_incomplete": (409, "The configuration is not complete"),
    "consent_required": (409, "An admin has to consent first"),
    "idempotency_in_progress": (409, "The first request is still under way"),
    "delivery_repeated": (409, "The delivery was taken before"),
    "too_large": (413, "More bytes than allowed"),
    "unsupported_media_type": (415, "The media type is not taken here"),
    "invalid_input": (422, "The request has values that do not fit"),
    "tenant_required": (422, "A tenant has to be named"),
    "signature_invalid": (422, "The signature does not hold"),
    "checksum_mismatch": (422, "The bytes are not those of the checksum"),
    "idempotency_mismatch": (422, "The idempotency key belongs to another request"),
    "package_refused": (422, "The package was refused"),
    "overloaded": (429, "Too much at a time"),
    "quota_exceeded": (429, "A quota is used up"),
    "rate_limited": (429, "Too many requests"),
    "internal_error": (500, "Something went wrong inside"),
    "not_offered": (501, "Not offered yet"),
    "endpoint_failed": (502, "The plugin did not answer"),
    "endpoint_answer_invalid": (502, "The plugin's answer is no response"),
    "busy": (503, "The service has as much as it can do"),
    "unavailable": (503, "A part is away"),
    "store_unavailable": (503, "The database or the object store is away"),
    "sandbox_unavailable": (503, "The sandbox is away"),
    "secrets_locked": (503, "The plugin's secrets cannot be opened"),
    "identity_unavailable": (503, "The identity provider does not answer"),
    "gate_unavailable": (503, "The package could not be checked"),
    "endpoint_timed_out": (504, "The plugin did not answer in time"),
    "storage_full": (507, "There is no room for the package"),
}


class MalformedRequest(InvalidInput):
    """The request cannot be read."""

    code = "malformed_request"


class MalformedJson(InvalidInput):
    """The body is no valid JSON."""

    code = "malformed_json"


class MalformedMultipart(InvalidInput):
    """The form cannot be read."""

    code = "malformed_multipart"


class RequestTimeout(PlugyardError):
    """The body did not arrive in time."""

    code = "request_timeout"


class UnsupportedMediaType(PlugyardError):
    """The body's media type is not taken here."""

    code = "unsupported_media_type"


class StorageFull(PlugyardError):
    """There is no room left where packages are kept; nothing was stored."""

    code = "storage_full"


class RouteNotFound(PlugyardError):
    """There is nothing at this address; /docs lists what there is."""

    code = "route_not_found"


class MethodNotAllowed(PlugyardError):
    """The address does not take this method."""

    code = "method_not_allowed"

    def __init__(self, allow: str) -> None:
        super().__init__(f"The address does not take this method. It takes: {allow}.")
        self.allow = allow


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is an error, ready to be sent."""

    status: int
    code: str
    body: bytes
    headers: tuple[tuple[str, str], ...]


def problem_of(error: BaseException, *, instance: str, request_id: str) -> Problem:
    """The answer to any error. What is none of ours says nothing of its inside; the log has the trace."""
    known = _known(error)
    status, title = PROBLEMS[known.code]
    document: dict[str, Any] = {
        "type": f"/docs#problem-{known.code}",
        "title": title,
        "status": status,
        "detail": known.message,
        "instance": instance,
        "code": known.code,
        "errors": [{"pointer": one.pointer, "message": one.message} for one in _field_errors(known)],
        "requestId": request_id,
        **_extensions(known),
    }
    return Problem(status, known.code, msgspec.json.encode(document), _headers(known))


def _known(error: BaseException) -> PlugyardError:
    if isinstance(error, PlugyardError):
        return error if error.code in PROBLEMS else PlugyardError(error.message)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull()
    return PlugyardError("Something went wrong inside; the service's log has it under this request's id.")


def _field_errors(error: PlugyardError) -> Sequence[FieldError]:
    if isinstance(error, InvalidInput | ConfigurationIncomplete):
        return error.errors
    if isinstance(error, PackageRefused):
        refusing = [one for one in error.report.findings if one.consequence is Consequence.BLOCK]
        return [FieldError(one.where, one.what) for one in refusing]
    return ()


def _extensions(error: PlugyardError) -> dict[str, Any]:
    """What a code adds to the document's common members."""
    match error:
        case WrongState():
            return {"state": error.state, "allowed": list(error.allowed)}
        case FunctionNotFound():
            return {"available": list(error.available)}
        case DependencyConflict():
            return {"explanation": list(error.explanation)}
        case ConsentRequired():
            return {"permissions": [one.to_document() for one in error.permissions]}
        case QuotaExceeded():
            return {"quota": error.quota, "limit": error.limit, "used": error.used}
        case RateLimited():
            return {"policy": error.policy.name, "limit": error.policy.limit, "windowSeconds": error.policy.window_s}
        case EndpointFailed():
            return {"executionId": error.execution_id, "executionStatus": error.status.value}
        case AnswerInvalid():
            return {"executionId": error.execution_id}
        case TenantSuspended():
            return {"reason": error.reason}
        case PackageRefused():
            return {"findings": [_finding(one) for one in error.report.findings]}
    return {}


def _finding(one: Any) -> Mapping[str, Any]:
    return {
        "rule": one.rule,
        "severity": one.severity.value,
        "consequence": one.consequence.value,
        "where": one.where,
        "line": one.line,
        "what": one.what,
        "why": one.why,
        "mend": one.mend,
    }


def _headers(error: PlugyardError) -> tuple[tuple[str, str], ...]:
    if error.code == "unauthenticated":
        return (("www-authenticate", 'Bearer realm="plugyard"'),)
    if isinstance(error, DeliveryRefused):
        return (("www-authenticate", 'Plugyard-Signature realm="plugyard"'),)
    if isinstance(error, QuotaExceeded):
        # What frees when somebody makes room has no time.
        frees = error.retry_after_s
        return () if frees is None else (("retry-after", str(max(1, math.ceil(frees)))),)
    if isinstance(error, Unavailable | RateLimited):
        return (("retry-after", str(max(1, math.ceil(error.retry_after_s)))),)
    if isinstance(error, IdempotencyConflict):
        return (("retry-after", "1"),)
    if isinstance(error, EndpointFailed | AnswerInvalid):
        return ((EXECUTION_ID, error.execution_id),)
    if isinstance(error, MethodNotAllowed | MethodNotTaken):
        return (("allow", error.allow),)
    return ()

"""The OpenAPI 3.1 document, written from the operations and the types that they name. ``app.py`` serves it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from plugyard.domain.identity import LOWEST_ROLE, Action
from plugyard.http.commands import CONFIGURATION_VALUE
from plugyard.http.operations import Body, Operation, Reply
from plugyard.http.problems import MEDIA_TYPE, PROBLEMS
from plugyard.http.queries import PLAIN_TEXT, Parameter

_REFS = "#/components/schemas/{name}"
_ABOUT = """\
Plugyard lets the customers of a platform extend it with code of their own: they upload a package, Plugyard checks it,
stores it, installs it, runs it in a sandbox, and shows how it fares.

- Every request but those for health and metrics carries `Authorization: Bearer <key>`. An operator's key names the
  tenant to act in by the header `Plugyard-Tenant`, with its id or its slug.
- Errors are problem documents (RFC 9457) with a stable `code`, and `errors` with a pointer for each bad field.
- Lists take `limit` and `cursor`, and answer `items` and `nextCursor`.
- What is unknown is refused by name: fields, query parameters, form fields.
- An id of another tenant answers exactly as one that does not exist.
- Every answer carries `X-Request-Id`: the caller's own where it sent one, else a new one. The logs have it too.
"""
_TAGS = {
    "Plugins": "From a package to a plugin that executes, and back.",
    "Consent": "What plugins ask for, what was granted, and what of it is used.",
    "Executions": "Running functions, and what came of it.",
    "Logs and metrics": "What a plugin says and how it fares.",
    "Marketplace": "What tenants offer to each other.",
    "Keys and tenants": "Who may do what.",
}
# What any operation behind a key can answer, besides its own problems.
_EVERYWHERE = (
    "unauthenticated",
    "forbidden",
    "tenant_suspended",
    "rate_limited",
    "invalid_input",
    "tenant_required",
    "overloaded",
    "internal_error",
    "busy",
    "store_unavailable",
)
_JWT = ("not_offered",)
_HOOK = "/hooks/{token}"
_OF_DELIVERIES = (
    "malformed_request",
    "delivery_refused",
    "tenant_suspended",
    "route_not_found",
    "endpoint_not_found",
    "request_timeout",
    "delivery_repeated",
    "wrong_state",
    "too_large",
    "invalid_input",
    "overloaded",
    "quota_exceeded",
    "rate_limited",
    "internal_error",
    "endpoint_failed",
    "endpoint_answer_invalid",
    "busy",
    "store_unavailable",
    "sandbox_unavailable",
    "secrets_locked",
    "endpoint_timed_out",
)
_RATE_HEADERS = {
    "RateLimit-Policy": "How many requests of this kind the key and its tenant may send: `q` within `w` seconds.",
    "RateLimit": "How many of them are left (`r`), and the seconds until there are more (`t`).",
}
_WITH_BODY = ("malformed_request", "request_timeout", "too_large", "unsupported_media_type")


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    types = _types(operations)
    refs, components = msgspec.json.schema_components(types, ref_template=_REFS)
    schemas = dict(zip(map(repr, types), refs, strict=True))
    components = {**components, "Problem": _problem_schema(), "ConfigurationValue": _relocated(CONFIGURATION_VALUE)}
    paths: dict[str, Any] = {}
    for one in operations:
        if one.listed:
            paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas, components)
    paths[_HOOK] = {"post": _delivery()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Plugyard",
            "version": version,
            "summary": "Plugins for SaaS platforms",
            "description": _ABOUT,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, as the service issues it."}
            },
        },
        "x-problems": {code: {"status": status, "title": title} for code, (status, title) in PROBLEMS.items()},
    }


def _delivery() -> dict[str, Any]:
    """What senders of webhooks meet: the one address where a signature stands in the place of a key."""
    problems: dict[int, list[str]] = {}
    for code in _OF_DELIVERIES:
        problems.setdefault(PROBLEMS[code][0], []).append(code)
    signature = {"type": "string", "maxLength": 2000, "pattern": "^[!-~]*$"}
    return {
        "operationId": "deliverToWebhook",
        "tags": ["Executions"],
        "summary": "Deliver to a webhook",
        "description": "The handler of the webhook's endpoint is executed with the request, and answers it. Every "
        "delivery is taken once. `docs/webhooks.md` says how to sign, by the webhook's scheme.",
        "security": [],
        "parameters": [
            {
                "name": "token",
                "in": "path",
                "required": True,
                "description": "The last part of the webhook's address.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[A-Za-z0-9_-]+$"},
            },
            {
                "name": "Plugyard-Signature",
                "in": "header",
                "required": False,
                "description": "`t=...,v1=...`, where the scheme is the service's own.",
                "schema": signature,
            },
        ],
        "requestBody": {"required": False, "content": {"*/*": {"schema": {}}}},
        "responses": {
            "200": {
                "description": "What the plugin answers, with a status of its own, 200 to 599.",
                "headers": _headers(Reply(200, "", headers={"Plugyard-Execution-Id": "The execution that answered."})),
                "content": {"*/*": {"schema": {}}},
            },
            **{str(status): _problem_response(status, codes) for status, codes in sorted(problems.items())},
        },
    }


def _types(operations: Iterable[Operation]) -> list[Any]:
    found: dict[str, Any] = {}
    for one in operations:
        for type_ in [*(reply.type for reply in one.replies), one.body.type if one.body else None]:
            if type_ is not None:
                found[repr(type_)] = type_
    return list(found.values())


def _operation(one: Operation, schemas: Mapping[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.id,
        "tags": [one.tag],
        "summary": one.summary,
        "description": "\n\n".join(filter(None, [one.description, _role(one.action)])),
        "parameters": [
            *(_path_parameter(name) for name in one.path_names),
            *(_parameter(parameter) for parameter in one.query),
        ],
        "responses": _responses(one, schemas),
    }
    if not described["parameters"]:
        del described["parameters"]
    if one.body is not None:
        described["requestBody"] = _request_body(one.body, schemas, components)
    return described


def _role(action: Action | None) -> str:
    if action is None:
        return "Any key may do this."
    return f"Needs the role `{LOWEST_ROLE[action].value}` or one above it."


def _path_parameter(name: str) -> dict[str, Any]:
    thing = name.removesuffix("Id")
    if thing == name:
        return {
            "name": name,
            "in": "path",
            "required": True,
            "description": "The number of a version.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": PLAIN_TEXT},
            "example": "1.0.0",
        }
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"The {thing}'s id.",
        "schema": {"type": "string", "format": "uuid"},
    }


def _parameter(one: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": one.name,
        "in": "header" if one.header else "query",
        "required": one.required,
        "description": one.description,
        "schema": dict(one.schema),
    }
    if one.example is not None:
        described["example"] = one.example
    return described


def _request_body(body: Body, schemas: Mapping[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    if body.type is not None:
        schema = schemas[repr(body.type)]
        target = components[schema["$ref"].rpartition("/")[2]]
        for name, instead in body.overrides.items():
            target["properties"][name] = dict(instead)
    else:
        schema = _relocated({name: value for name, value in (body.schema or {}).items() if name != "$defs"})
    content: dict[str, Any] = {"schema": schema}
    if body.examples:
        content["examples"] = {name: {"value": value} for name, value in body.examples.items()}
    return {"required": body.required, "content": dict.fromkeys(body.media_types, content)}


def _relocated(schema: Any) -> Any:
    """The same schema with its references into ``$defs`` pointing at the components."""
    return json.loads(json.dumps(schema).replace("#/$defs/", "#/components/schemas/"))


def _responses(one: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for reply in one.replies:
        entry = found.setdefault(
            str(reply.status), {"description": reply.description, "headers": _headers(reply), "content": {}}
        )
        entry["content"][reply.media_type] = _content(reply, schemas)
    codes = [*_EVERYWHERE, *_JWT, *one.problems, *_of_body(one.body)]
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    for status, named in sorted(by_status.items()):
        found[str(status)] = _problem_response(status, named)
    return found


def _of_body(body: Body | None) -> tuple[str, ...]:
    if body is None:
        return ()
    json_too = any(media.endswith("json") for media in body.media_types)
    return (*_WITH_BODY, "malformed_json") if json_too else _WITH_BODY


def _headers(reply: Reply) -> dict[str, Any]:
    headers = {"X-Request-Id": "This request's id.", **_RATE_HEADERS, **reply.headers}
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}


def _content(reply: Reply, schemas: Mapping[str, Any]) -> dict[str, Any]:
    if reply.type is None:
        return {"schema": {"type": "string"}}
    return {"schema": schemas[repr(reply.type)], "example": reply.example}


def _problem_response(status: int, codes: list[str]) -> dict[str, Any]:
    headers = {"X-Request-Id": {"description": "This request's id.", "schema": {"type": "string"}}}
    if status == 401:
        headers["WWW-Authenticate"] = {"description": "How to authenticate.", "schema": {"type": "string"}}
    if status in (429, 503):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
    example = {
        "type": f"/docs#problem-{codes[0]}",
        "title": PROBLEMS[codes[0]][1],
        "status": status,
        "detail": PROBLEMS[codes[0]][1] + ".",
        "instance": "/api/v1/plugins",
        "code": codes[0],
        "errors": [],
        "requestId": "request-1",
    }
    return {
        "description": "; ".join(f"`{code}`: {PROBLEMS[code][1].lower()}" for code in codes) + ".",
        "headers": headers,
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"properties": {"status": {"const": status}, "code": {"enum": codes}}},
                    ]
                },
                "example": example,
            }
        },
    }


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "title": "Problem",
        "description": "A problem document (RFC 9457). Some codes add members: `state` and `allowed`, `available`, "
        "`explanation`, `permissions`, `findings`, `reason`, `quota` with `limit` and `used`, "
        "`policy` with `limit` and `windowSeconds`, `executionId` and `executionStatus`.",
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance", "code", "errors", "requestId"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": text,
            "code": {"type": "string", "enum": list(PROBLEMS)},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["pointer", "message"],
                    "properties": {"pointer": text, "message": text},
                },
            },
            "requestId": text,
        },
    }

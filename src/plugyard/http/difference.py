"""The difference between two versions over HTTP, with the views of it."""

from typing import Any

from starlette.types import ASGIApp

from plugyard.application.compare import difference
from plugyard.domain.difference import Change, Difference, FunctionChange, ValueChange
from plugyard.domain.difference.permissions import PermissionChange, PermissionShift
from plugyard.domain.difference.schemas import SchemaChange, Shift
from plugyard.domain.manifest import Effect
from plugyard.domain.permissions import Service
from plugyard.http import examples, present
from plugyard.http.answers import json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Reply, operation
from plugyard.http.view import View
from plugyard.http.views import FindingView, PermissionView


class PermissionChangeView(View, frozen=True):
    """A service that the versions ask for differently; `more` and `less` say in which words."""

    service: Service
    change: PermissionShift
    before: PermissionView | None
    after: PermissionView | None
    more: list[str]
    less: list[str]


class SchemaChangeView(View, frozen=True):
    """A place of a schema (RFC 6901) and the keyword that differs; `breaking` says whether callers break by it."""

    pointer: str
    keyword: str
    change: Shift
    what: str
    breaking: bool


class ValueChangeView(View, frozen=True):
    """A place of the manifest (RFC 6901), or an endpoint, with other content; null where it says nothing."""

    where: str
    before: Any
    after: Any


class FunctionChangeView(View, frozen=True):
    """A function that came, went or changed."""

    name: str
    change: Change
    breaking: bool
    effect_before: Effect | None
    effect_after: Effect | None
    description_before: str | None
    description_after: str | None
    input: list[SchemaChangeView]
    output: list[SchemaChangeView]


class FindingsChangeView(View, frozen=True):
    """The findings that only one of the versions has."""

    appeared: list[FindingView]
    gone: list[FindingView]


class DifferenceView(View, frozen=True):
    """What changes from one version to another; findings are null where one of them was judged in another tenant."""

    before: str
    after: str
    breaking: bool
    permissions: list[PermissionChangeView]
    dependencies: list[ValueChangeView]
    functions: list[FunctionChangeView]
    endpoints: list[ValueChangeView]
    configuration: list[SchemaChangeView]
    settings: list[ValueChangeView]
    findings: FindingsChangeView | None


_EXAMPLE = {
    "before": "1.0.0",
    "after": "1.1.0",
    "breaking": True,
    "permissions": [
        {
            "service": "network",
            "change": "widened",
            "before": examples.PERMISSION,
            "after": {**examples.PERMISSION, "hosts": ["*.acme.com"], "reason": "creates invoices everywhere"},
            "more": ["hosts *.acme.com"],
            "less": [],
        }
    ],
    "dependencies": [{"where": "/dependencies/plugins/tax", "before": "^1.0.0", "after": "^2.0.0"}],
    "functions": [
        {
            "name": "total",
            "change": "changed",
            "breaking": True,
            "effectBefore": "read",
            "effectAfter": "read",
            "descriptionBefore": "Adds up an invoice",
            "descriptionAfter": "Adds up an invoice",
            "input": [
                {
                    "pointer": "/properties/currency",
                    "keyword": "required",
                    "change": "narrowed",
                    "what": "currency is required now",
                    "breaking": True,
                }
            ],
            "output": [],
        }
    ],
    "endpoints": [],
    "configuration": [],
    "settings": [{"where": "/security/resourceLimits/memory", "before": 64, "after": 128}],
    "findings": {"appeared": [examples.FINDING], "gone": []},
}


@operation(
    "GET",
    "/api/v1/plugins/{pluginId}/versions/{a}/diff/{b}",
    tag="Consent",
    replies=[Reply(200, "What changes from a to b.", DifferenceView, _EXAMPLE)],
    problems=["not_found"],
)
async def diff_versions(exchange: Exchange) -> ASGIApp:
    """Show what changes from one version to another.

    Permissions by their meaning, dependencies, functions with their effects and schemas, the configuration's schema,
    limits and how it runs, and findings. `breaking` says whether callers or a configuration that is set may no longer
    fit. The version that the plugin's listing offers can be compared before it is taken.
    """
    found = await difference(
        exchange.platform, exchange.caller, exchange.id("pluginId"), exchange.path["a"], exchange.path["b"]
    )
    return json_answer(_shown(found))


def _shown(one: Difference) -> DifferenceView:
    findings = None
    if one.appeared is not None and one.gone is not None:
        findings = FindingsChangeView(
            appeared=[present.finding(each) for each in one.appeared], gone=[present.finding(each) for each in one.gone]
        )
    return DifferenceView(
        before=one.before,
        after=one.after,
        breaking=one.breaking,
        permissions=[_permission(each) for each in one.permissions],
        dependencies=[_value(each) for each in one.dependencies],
        functions=[_function(each) for each in one.functions],
        endpoints=[_value(each) for each in one.endpoints],
        configuration=[_schema(each) for each in one.configuration],
        settings=[_value(each) for each in one.settings],
        findings=findings,
    )


def _permission(one: PermissionChange) -> PermissionChangeView:
    return PermissionChangeView(
        service=one.service,
        change=one.shift,
        before=present.permission(one.before) if one.before is not None else None,
        after=present.permission(one.after) if one.after is not None else None,
        more=list(one.more),
        less=list(one.less),
    )


def _value(one: ValueChange) -> ValueChangeView:
    return ValueChangeView(where=one.where, before=one.before, after=one.after)


def _function(one: FunctionChange) -> FunctionChangeView:
    return FunctionChangeView(
        name=one.name,
        change=one.change,
        breaking=one.breaking,
        effect_before=one.effect_before,
        effect_after=one.effect_after,
        description_before=one.description_before,
        description_after=one.description_after,
        input=[_schema(each) for each in one.input],
        output=[_schema(each) for each in one.output],
    )


def _schema(one: SchemaChange) -> SchemaChangeView:
    return SchemaChangeView(
        pointer=one.pointer, keyword=one.keyword, change=one.shift, what=one.what, breaking=one.breaking
    )


OPERATIONS = (diff_versions,)

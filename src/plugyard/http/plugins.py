"""Plugins over HTTP: upload, the list, one plugin, its versions and report, and everything that moves it on."""

from typing import Any

from starlette.types import ASGIApp

from plugyard.application import activate as activation
from plugyard.application import configure as configuration
from plugyard.application import history, install, marketplace, sarif, sbom, uninstall, upgrade
from plugyard.application.consent import standing
from plugyard.application.ports import PluginFilter, UpgradeFilter
from plugyard.domain.identity import Action
from plugyard.domain.manifest import Runtime
from plugyard.domain.permissions import Service
from plugyard.domain.plugin import PluginState, PluginVersion
from plugyard.http import commands, examples, present, suspects, views
from plugyard.http.answers import Answer, encode, json_answer
from plugyard.http.bodies import JSON_TYPE, MERGE_PATCH_TYPE
from plugyard.http.detailed import detail_of, listing_of, trust_in
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, choice, choice_of, page_of, text

_ONE = "/api/v1/plugins/{pluginId}"
_CHANGED = (Reply(200, "The plugin as it is now.", views.PluginDetail, examples.DETAIL),)
_TAG = "Plugins"
CYCLONEDX = "application/vnd.cyclonedx+json"
SARIF = "application/sarif+json"


@operation(
    "GET",
    "/api/v1/plugins",
    tag=_TAG,
    query=(
        choice_of("status", "Only plugins in this state; uninstalled ones show with this filter alone.", PluginState),
        text("category", "Only this category.", example="finance"),
        choice_of("runtime", "Only plugins on this runtime.", Runtime),
        choice("permission", "Only plugins that ask for this service.", [one.value for one in Service]),
        text("author", "Only plugins of this author.", example="Ada Lovelace"),
        text("q", "Words to find in names and descriptions.", example="invoice"),
        choice(
            "sort",
            "The order; a minus reverses it.",
            ["createdAt", "-createdAt", "updatedAt", "-updatedAt", "name", "-name"],
            default="-createdAt",
        ),
        choice_of("upgrade", "Only plugins with an upgrade that waits for consent, or is available.", UpgradeFilter),
        *PAGE,
    ),
    replies=[
        Reply(200, "A page.", views.PageView[views.PluginSummary], examples.page_of(examples.SUMMARY)),
    ],
)
async def list_plugins(exchange: Exchange) -> ASGIApp:
    """List the tenant's plugins."""
    asked = exchange.query
    filters = PluginFilter(
        asked["status"],
        asked["category"],
        asked["runtime"],
        asked["permission"],
        asked["author"],
        asked["q"],
        asked["sort"],
        asked["upgrade"],
    )
    found = await history.plugins(exchange.platform, exchange.caller, filters, page_of(asked))
    behind = await trust_in(exchange, [one.version.id for one in found.items])
    return json_answer(present.page(found, lambda one: present.plugin_summary(one, behind(one.version.id))))


@operation(
    "GET",
    _ONE,
    tag=_TAG,
    replies=[Reply(200, "The plugin.", views.PluginWithDependencies, examples.WITH_DEPENDENCIES)],
    problems=["not_found"],
)
async def get_plugin(exchange: Exchange) -> ASGIApp:
    """Show one plugin.

    With what its version's dependencies were resolved to. `allowed` names what its state allows.
    """
    view, resolved = await history.plugin(exchange.platform, exchange.caller, exchange.id("pluginId"))
    stands = await standing(exchange.platform, exchange.caller, view)
    behind = await trust_in(exchange, [view.version.id])
    return json_answer(present.plugin_with_dependencies(view, stands, behind(view.version.id), resolved))


@operation(
    "GET",
    _ONE + "/versions",
    tag=_TAG,
    query=PAGE,
    replies=[Reply(200, "A page.", views.PageView[views.VersionView], examples.page_of(examples.VERSION))],
    problems=["not_found"],
)
async def list_versions(exchange: Exchange) -> ASGIApp:
    """List a plugin's versions, highest first."""
    plugin_id = exchange.id("pluginId")
    found = await history.versions(exchange.platform, exchange.caller, plugin_id, page_of(exchange.query))
    ids = [one.id for one in found.items]
    stands = await history.standings(exchange.platform, exchange.caller, ids)
    later = await history.rescans(exchange.platform, exchange.caller, ids)
    behind = await trust_in(exchange, ids)

    def shown(one: PluginVersion) -> views.VersionView:
        return present.version(one, behind(one.id), stands.get(one.id), later.get(one.id))

    return json_answer(present.page(found, shown))


@operation(
    "GET",
    _ONE + "/report",
    tag=_TAG,
    query=(text("version", "Whose report; by default the version in use.", most=100, example="1.0.0"),),
    replies=[Reply(200, "The report.", views.JudgedReportView, examples.JUDGED_REPORT)],
    problems=["not_found"],
)
async def get_report(exchange: Exchange) -> ASGIApp:
    """Show what the gate said of a version, what an operator said of it, and what later checks found."""
    found = await history.judged(exchange.platform, exchange.caller, exchange.id("pluginId"), exchange.query["version"])
    return json_answer(suspects.judged_report(found))


@operation(
    "POST",
    _ONE + "/install",
    tag=_TAG,
    action=Action.INSTALL,
    body=Body(
        commands.InstallPlugin,
        required=False,
        examples={
            "everything": {"grants": None},
            "narrowed": {"grants": [{"service": "network", "hosts": ["api.acme.com"]}], "version": "1.0.0"},
        },
    ),
    replies=_CHANGED,
    problems=["not_found", "wrong_state", "conflict", "dependency_conflict", "not_grantable"],
)
async def install_plugin(exchange: Exchange) -> ASGIApp:
    """Consent to what a plugin asks for.

    Again later, to change the grants. Grants never go beyond what the manifest asks and may narrow it by meaning
    (`api.acme.com` out of `*.acme.com`); where it asks for plain `network`, the grant names the hosts. With `version`,
    a plugin that is at another version by now is left alone (409).
    """
    asked = await exchange.optional_body(commands.InstallPlugin)
    grants = commands.permissions(asked.grants)
    view = await install.install(exchange.platform, exchange.caller, exchange.id("pluginId"), grants, asked.version)
    return json_answer(await detail_of(exchange, view))


@operation(
    "POST",
    _ONE + "/activate",
    tag=_TAG,
    action=Action.ACTIVATE,
    replies=_CHANGED,
    problems=["not_found", "wrong_state", "dependency_conflict", "configuration_incomplete"],
)
async def activate_plugin(exchange: Exchange) -> ASGIApp:
    """Let a plugin execute from now on."""
    view = await activation.activate(exchange.platform, exchange.caller, exchange.id("pluginId"))
    return json_answer(await detail_of(exchange, view))


@operation(
    "POST",
    _ONE + "/deactivate",
    tag=_TAG,
    action=Action.ACTIVATE,
    replies=_CHANGED,
    problems=["not_found", "wrong_state", "dependency_conflict"],
)
async def deactivate_plugin(exchange: Exchange) -> ASGIApp:
    """Stop a plugin from executing; what runs now may end."""
    view = await activation.deactivate(exchange.platform, exchange.caller, exchange.id("pluginId"))
    return json_answer(await detail_of(exchange, view))


@operation(
    "POST",
    _ONE + "/upgrade",
    tag=_TAG,
    action=Action.ACTIVATE,
    body=Body(
        commands.UpgradePlugin,
        required=False,
        examples={"highest": {}, "consenting": {"version": "2.0.0", "grants": [{"service": "cache"}]}},
    ),
    replies=_CHANGED,
    problems=[
        "not_found",
        "wrong_state",
        "conflict",
        "consent_required",
        "dependency_conflict",
        "configuration_incomplete",
        "quota_exceeded",
        "not_grantable",
        "signature_required",
    ],
)
async def upgrade_plugin(exchange: Exchange) -> ASGIApp:
    """Use another version, by default the highest.

    A version that asks for more than was granted needs `grants`, which take the role admin. Without them it waits for
    an admin's consent (409, and `waiting` of the plugin), while the present version goes on running.
    """
    asked = await exchange.optional_body(commands.UpgradePlugin)
    grants = commands.permissions(asked.grants)
    view = await upgrade.upgrade(exchange.platform, exchange.caller, exchange.id("pluginId"), asked.version, grants)
    return json_answer(await detail_of(exchange, view))


@operation(
    "POST",
    _ONE + "/rollback",
    tag=_TAG,
    action=Action.ACTIVATE,
    body=Body(
        commands.UpgradePlugin,
        required=False,
        examples={"before": {}, "named": {"version": "1.0.0"}, "consenting": {"grants": [{"service": "cache"}]}},
    ),
    replies=_CHANGED,
    problems=[
        "not_found",
        "wrong_state",
        "conflict",
        "consent_required",
        "dependency_conflict",
        "configuration_incomplete",
        "quota_exceeded",
        "not_grantable",
    ],
)
async def rollback_plugin(exchange: Exchange) -> ASGIApp:
    """Go back to an earlier version, by default the one before the last change.

    One that asks for what is no longer granted needs `grants`, which take the role admin.
    """
    asked = await exchange.optional_body(commands.UpgradePlugin)
    grants = commands.permissions(asked.grants)
    view = await upgrade.rollback(exchange.platform, exchange.caller, exchange.id("pluginId"), asked.version, grants)
    return json_answer(await detail_of(exchange, view))


@operation(
    "PATCH",
    _ONE + "/config",
    tag=_TAG,
    action=Action.CONFIGURE,
    body=Body(
        schema=commands.CONFIGURATION_PATCH,
        media_types=(MERGE_PATCH_TYPE, JSON_TYPE),
        examples={
            "one setting": {"currency": "USD"},
            "a secret, and a default": {"token": "s3cr3t", "rate": None},
        },
    ),
    replies=_CHANGED,
    problems=["not_found", "wrong_state"],
)
async def configure_plugin(exchange: Exchange) -> ASGIApp:
    """Change a plugin's configuration by JSON merge patch (RFC 7396).

    The result has to fit the manifest's `configuration` schema. Properties that it marks `writeOnly` are secrets: they
    are set here and never read back.
    """
    patch = await exchange.merge_patch()
    view = await configuration.configure(exchange.platform, exchange.caller, exchange.id("pluginId"), patch)
    return json_answer(await detail_of(exchange, view))


@operation(
    "DELETE",
    _ONE,
    tag=_TAG,
    action=Action.INSTALL,
    replies=[Reply(200, "The plugin, uninstalled.", views.PluginDetail, {**examples.DETAIL, "status": "uninstalled"})],
    problems=["not_found", "wrong_state", "dependency_conflict"],
)
async def uninstall_plugin(exchange: Exchange) -> ASGIApp:
    """Uninstall a plugin.

    Its name is free again, its secrets are gone, and a listing of it is withdrawn. Its history stays for the audit and
    can be read under its id.
    """
    view = await uninstall.uninstall(exchange.platform, exchange.caller, exchange.id("pluginId"))
    return json_answer(await detail_of(exchange, view))


@operation(
    "POST",
    _ONE + "/publish",
    tag="Marketplace",
    action=Action.PUBLISH,
    body=Body(commands.NamedVersion, required=False, examples={"the one in use": {}, "named": {"version": "1.0.0"}}),
    replies=[Reply(200, "The listing.", views.ListingView, examples.LISTING)],
    problems=["not_found", "wrong_state", "name_taken", "signature_required"],
)
async def publish_plugin(exchange: Exchange) -> ASGIApp:
    """Offer a version to every tenant, by default the one in use.

    Publishing again replaces the version that is offered. The manifest needs a description, an author and a category.
    """
    asked = await exchange.optional_body(commands.NamedVersion)
    found = await marketplace.publish(exchange.platform, exchange.caller, exchange.id("pluginId"), asked.version)
    return json_answer(await listing_of(exchange, found))


@operation(
    "POST",
    _ONE + "/withdraw",
    tag="Marketplace",
    action=Action.PUBLISH,
    replies=[
        Reply(
            200,
            "The listing, withdrawn.",
            views.ListingView,
            {**examples.LISTING, "withdrawnAt": examples.MOMENT},
        )
    ],
    problems=["not_found", "conflict"],
)
async def withdraw_plugin(exchange: Exchange) -> ASGIApp:
    """Take a plugin's listing back; who installed it keeps it."""
    found = await marketplace.withdraw(exchange.platform, exchange.caller, exchange.id("pluginId"))
    return json_answer(await listing_of(exchange, found))


@operation(
    "GET",
    _ONE + "/versions/{version}/sbom",
    tag=_TAG,
    replies=[Reply(200, "The bill of materials.", dict[str, Any], examples.SBOM, media_type=CYCLONEDX)],
    problems=["not_found"],
)
async def get_sbom(exchange: Exchange) -> ASGIApp:
    """List the libraries that a version's package holds, as a CycloneDX 1.6 bill of materials."""
    number = exchange.path["version"]
    bill = await sbom.bill_of(exchange.platform, exchange.caller, exchange.id("pluginId"), number)
    return Answer(bill, media_type=CYCLONEDX)


@operation(
    "GET",
    _ONE + "/versions/{version}/sarif",
    tag=_TAG,
    replies=[Reply(200, "The log.", dict[str, Any], examples.SARIF, media_type=SARIF)],
    problems=["not_found"],
)
async def get_sarif(exchange: Exchange) -> ASGIApp:
    """Show what the gate found in a version, later checks included, as a SARIF 2.1.0 log for editors and code hosts."""
    number = exchange.path["version"]
    log = await sarif.sarif_of(exchange.platform, exchange.caller, exchange.id("pluginId"), number)
    return Answer(encode(log), media_type=SARIF)


OPERATIONS = (
    list_plugins,
    get_plugin,
    list_versions,
    get_report,
    get_sbom,
    get_sarif,
    install_plugin,
    activate_plugin,
    deactivate_plugin,
    upgrade_plugin,
    rollback_plugin,
    configure_plugin,
    uninstall_plugin,
    publish_plugin,
    withdraw_plugin,
)

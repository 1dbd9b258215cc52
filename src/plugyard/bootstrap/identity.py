"""The settings of the identity provider as the rules and the adapter understand them."""

from datetime import timedelta
from typing import TYPE_CHECKING

from plugyard.bootstrap.keys import CannotStart
from plugyard.domain.identity import Role
from plugyard.domain.tokens import TokenRules
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.settings import Settings

if TYPE_CHECKING:
    from plugyard.infrastructure.oidc import JwksVerifier


def token_rules(settings: Settings) -> TokenRules | None:
    """What a token has to say; ``None`` where no issuer is configured. Raises ``CannotStart``."""
    if settings.oidc_issuer is None:
        return None
    if settings.oidc_audience is None:
        raise CannotStart("--oidc-issuer needs --oidc-audience: without one, tokens for other services would be taken")
    roles = TokenRules(settings.oidc_issuer, settings.oidc_audience).roles
    if settings.oidc_roles:
        roles = dict(map(_role, settings.oidc_roles))
    return TokenRules(
        settings.oidc_issuer,
        settings.oidc_audience,
        settings.oidc_tenant_claim,
        settings.oidc_roles_claim,
        roles,
        timedelta(seconds=settings.oidc_leeway_s),
    )


def _role(line: str) -> tuple[str, Role]:
    said, sign, ours = line.rpartition("=")
    if not sign or ours.strip() not in set(Role):
        raise CannotStart(f"--oidc-roles {line!r}: write VALUE=ROLE with one of {', '.join(Role)}")
    return said.strip(), Role(ours.strip())


def token_verifier(settings: Settings, telemetry: Telemetry) -> "JwksVerifier | None":
    """What checks signatures, and shows how its keys are; ``None`` where no issuer is configured. Raises
    ``CannotStart``."""
    if settings.oidc_issuer is None:
        return None
    # Loaded only where tokens are taken.
    from plugyard.infrastructure.oidc import JwksVerifier, OidcSettings

    try:
        verifier = JwksVerifier(
            OidcSettings(
                settings.oidc_issuer,
                settings.oidc_algorithms,
                settings.oidc_jwks_url,
                settings.oidc_jwks_cache_s,
                settings.oidc_refresh_pause_s,
            )
        )
    except ValueError as error:
        raise CannotStart(f"the identity provider's settings: {error}") from error
    telemetry.counter(
        "plugyard_oidc_failed_fetches",
        "Times that the issuer's keys could not be fetched.",
        lambda: verifier.failures,
    )
    telemetry.gauge(
        "plugyard_oidc_keys_age_seconds", "How long ago the issuer gave its keys.", lambda: verifier.keys_age_s
    )
    return verifier

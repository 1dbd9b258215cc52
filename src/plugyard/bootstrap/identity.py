"""The settings of the identity provider as the rules and the adapter understand them."""

from datetime import timedelta

from plugyard.application.ports import TokenVerifier
from plugyard.bootstrap.keys import CannotStart
from plugyard.domain.identity import Role
from plugyard.domain.tokens import TokenRules
from plugyard.settings import Settings


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


def token_verifier(settings: Settings) -> TokenVerifier | None:
    """What checks signatures; ``None`` where no issuer is configured. Raises ``CannotStart``."""
    if settings.oidc_issuer is None:
        return None
    # Loaded only where tokens are taken.
    from plugyard.infrastructure.oidc import JwksVerifier, OidcSettings

    try:
        return JwksVerifier(
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

"""What the settings alone say cannot be right, so that a slip is told before anything is started."""

from plugyard.bootstrap.keys import CannotStart, Keys
from plugyard.settings import Settings


def check_settings(settings: Settings, keys: Keys) -> None:
    """Raise ``CannotStart`` with the flag and what is wrong with it. Nobody is asked: what is away may come back."""
    # Each is loaded only where it is named, for a service on one machine names none.
    if settings.cache_url is not None:
        from plugyard.infrastructure.valkey.address import Address, BadAddress

        try:
            Address(settings.cache_url)
        except BadAddress as error:
            raise CannotStart(f"--cache-url: {error}") from None
    if settings.objects_url is not None:
        from plugyard.bootstrap.objects import bucket_of

        bucket_of(settings)
    if settings.kafka_url is not None or settings.kafka_inbox_topic is not None:
        from plugyard.bootstrap.relaying import inbox_settings, kafka_settings

        if settings.kafka_inbox_topic is not None:
            inbox_settings(settings)
        else:
            kafka_settings(settings)
    if settings.secret_keys:
        from plugyard.infrastructure.postgres.seals import BadSecretKey, Seals

        try:
            Seals(keys.secrets)
        except BadSecretKey as error:
            raise CannotStart(f"--secret-keys: {error}") from error


def check_profile(settings: Settings) -> None:
    """Raise ``CannotStart`` where a service in production would embed what a part of its own is for."""
    if settings.profile != "production":
        return
    named = {
        "--database-url": settings.database_url,
        "--objects-url": settings.objects_url,
        "--cache-url": settings.cache_url,
        "--kafka-url (or --relay-elsewhere)": settings.kafka_url or settings.relay_elsewhere,
    }
    missing = ", ".join(flag for flag, value in named.items() if not value)
    if missing:
        raise CannotStart(f"--profile production embeds nothing, so it needs what is not named: {missing}")

"""Every setting of the service, defined once: as a flag, as ``PLUGYARD_*``, and as a line of ``plugyard.toml``.

The command line fills a ``Settings`` (flags first, then the environment, then the file), and ``bootstrap`` hands its
parts to the adapters. ``docs/settings.md`` lists them all; a test compares.
"""

from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from cyclopts import Parameter
from cyclopts.validators import Number

MEGABYTE = 1 << 20
CONFIG_FILE = "plugyard.toml"
ENVIRONMENT_PREFIX = "PLUGYARD_"


DEFAULT_DATA = Path(platformdirs.user_data_dir("plugyard", appauthor=False))
# Guests are built once for all data folders, so they live with the user's caches.
DEFAULT_GUESTS = Path(platformdirs.user_cache_dir("plugyard", appauthor=False)) / "guests"


def _is_network(_type: object, value: str) -> None:
    try:
        ip_network(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no network: {error}") from error


Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Count = Annotated[int, Parameter(validator=Number(gte=1))]
InFlight = Annotated[int, Parameter(validator=Number(gte=1, lte=16))]
# The engine makes no larger stack, and no guest gets up on a much smaller one.
StackSize = Annotated[int, Parameter(validator=Number(gte=128, lte=2_048))]
CountOrNone = Annotated[int, Parameter(validator=Number(gte=0))]
Seconds = Annotated[float, Parameter(validator=Number(gt=0))]
Network = Annotated[str, Parameter(validator=_is_network)]
Partitions = Annotated[int, Parameter(validator=Number(gte=1, lte=64))]
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]
Ratio = Annotated[float, Parameter(validator=Number(gt=0, lte=1))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, with the defaults of the embedded service."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8787
    """Port to listen on; 0 takes a free one."""
    data: Path = DEFAULT_DATA
    """Folder for everything durable: database, packages, keys, logs of PostgreSQL."""
    guests: Path = DEFAULT_GUESTS
    """Folder for the two guests, which are built at the first start."""

    profile: Literal["embedded", "production"] = "embedded"
    """In production a start is refused that names no database, bucket, cache and Kafka, so that none is embedded."""

    objects_url: str | None = None
    """Bucket of packages, bundles and plugins' files, as s3://bucket/prefix; by default they are in the data folder."""
    objects_endpoint: str | None = None
    """Address of a server that speaks S3; by default Amazon's of the region."""
    objects_region: str | None = None
    """Region of the bucket; by default AWS_REGION of the environment, then us-east-1."""
    objects_access_key_id: str | None = None
    """Access key for the bucket; by default AWS_ACCESS_KEY_ID of the environment, then what the machine is given."""
    objects_secret_access_key: str | None = field(default=None, repr=False)
    """Secret of that access key; by default AWS_SECRET_ACCESS_KEY of the environment."""
    objects_encryption: str = "AES256"
    """What the bucket's server encrypts each object with: AES256, aws:kms, aws:kms=KEY, or none."""
    objects_cache_bytes: CountOrNone = 2_147_483_648
    """Most that is kept in the data folder of packages and bundles read from the bucket (bytes); 0 keeps none."""

    kafka_url: str | None = None
    """Brokers of Kafka that events are relayed to, as HOST:PORT,HOST:PORT; by default events stay in the outbox."""
    kafka_topic: str = "plugyard.events"
    """Topic for events; what is too large for it goes to the topic of this name with .dead-letters behind it."""
    kafka_inbox_topic: str | None = None
    """Topic on which the platform says what starts plugins; nobody else may write to it. By default there is none."""
    kafka_inbox_group: str = "plugyard.inbox"
    """Group of consumers that share that topic."""
    kafka_source: str = "/plugyard"
    """Source (URI) that events name, where more than one service writes to the topic."""
    kafka_security: Literal["plaintext", "tls", "sasl-plaintext", "sasl-tls"] = "plaintext"
    """How brokers are spoken to: in the clear or by TLS, with a user (sasl) or without."""
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the user proves itself to the brokers."""
    kafka_username: str | None = None
    """User at the brokers."""
    kafka_password: str | None = field(default=None, repr=False)
    """Password of that user."""
    kafka_ca: Path | None = None
    """File (PEM) of the authorities that brokers' certificates come from; by default those of the machine."""
    kafka_certificate: Path | None = None
    """File (PEM) of the certificate that this service shows the brokers."""
    kafka_key: Path | None = None
    """File (PEM) of the key of that certificate."""
    kafka_key_password: str | None = field(default=None, repr=False)
    """Password of that key."""
    relay_elsewhere: bool = False
    """Whether relays that run apart carry this service's events, so that none is forgotten before one of them has."""
    outbox_partitions: Partitions = 8
    """Into how many partitions the outbox is cut, of which each has one relay at a time; at least as many as relays."""

    admin_key: str | None = field(default=None, repr=False)
    """API key of the first tenant's admin (plugyard_ and 32 or more characters); made at the first start by default."""
    secret_keys: tuple[str, ...] = field(default=(), repr=False)
    """Keys that seal plugins' secrets, as ID:BASE64 of 32 bytes: the first seals, all open. One is made by default."""
    tenant: str = "default"
    """Slug of the tenant that the first start makes."""
    operator_key: str | None = field(default=None, repr=False)
    """API key of the operator, in the form of admin_key; made at the first start by default."""
    pepper: str | None = field(default=None, repr=False)
    """Keys the hashes of API keys and more (64 hexadecimal digits); made at the first start by default."""

    database_url: str | None = field(default=None, repr=False)
    """A PostgreSQL that somebody else runs (URL with the service's role), in place of the embedded one."""
    plugins_database_url: str | None = field(default=None, repr=False)
    """The database for plugins' tables there (URL with the keeper's role)."""
    database_owner_url: str | None = field(default=None, repr=False)
    """The first database with the role that owns the schema; with it, a start migrates."""

    oidc_issuer: str | None = None
    """Issuer (https URL) of the identity provider whose tokens (JWT) are taken beside API keys."""
    oidc_audience: str | None = None
    """Audience that a token must be for; needed where an issuer is named."""
    oidc_algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    """Algorithms that tokens may be signed by; signatures by public keys alone."""
    oidc_tenant_claim: str = "tenant"
    """Claim that names the tenant by id or slug; keys joined with dots where it lies deeper."""
    oidc_roles_claim: str = "roles"
    """Claim that lists the roles; the highest that is known here holds."""
    oidc_roles: tuple[str, ...] = ()
    """What the roles claim says and which role that is, as VALUE=ROLE; by default viewer, developer and admin."""
    oidc_leeway_s: Seconds = 30.0
    """How far the clocks of the issuer and this machine may be apart."""
    oidc_jwks_url: str | None = None
    """Address of the issuer's keys, where its discovery document is not to be asked."""
    oidc_jwks_cache_s: Seconds = 300.0
    """After how long the issuer's keys are fetched again; a key that it took away stops working then."""
    oidc_refresh_pause_s: Seconds = 10.0
    """Shortest time between two fetches of the issuer's keys, however many unknown keys are met."""

    log_format: Literal["console", "json"] = "console"
    """Form of the log on standard error."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    otlp_url: str | None = None
    """Collector (http or https URL, without /v1/traces) that traces are sent to by OTLP; by default there are none."""
    otlp_headers: tuple[str, ...] = field(default=(), repr=False)
    """Headers that the collector wants, as NAME=VALUE."""
    trace_share: Share = 1.0
    """How much of the requests is traced, by chance."""
    trace_callers: bool = False
    """Whether the sampled flag of a caller's traceparent decides instead, as behind a gateway of the operator's own."""

    max_package_mb: Count = 50
    """Largest package, packed (MB)."""
    max_unpacked_mb: Count = 200
    """Largest package, unpacked (MB)."""
    max_entries: Count = 5_000
    """Most files in a package."""
    max_bundle_mb: Count = 8
    """Most code and text that an environment loads of a package (MB)."""
    gate_timeout_s: Seconds = 30.0
    """Longest that the check of one package may take."""

    require_signature: Literal["none", "marketplace", "always"] = "none"
    """What has to be signed by a registered publisher key: what the marketplace offers, or every upload."""
    require_verified_publisher: bool = False
    """Whether only publishers that an operator vouches for may offer in the marketplace."""

    default_memory_mb: Count = 128
    """Memory of an environment whose manifest asks for none (MB)."""
    max_memory_mb: Count = 1_024
    """Most memory that a manifest may ask for (MB)."""
    default_timeout_ms: Count = 30_000
    """Deadline of an execution whose manifest asks for none."""
    max_timeout_ms: Count = 300_000
    """Longest deadline that a manifest may ask for."""
    max_cpu_ms: Count = 300_000
    """Most CPU time that a manifest may ask for."""
    max_output_kb: Count = 4_096
    """Largest output of an execution (KB)."""
    max_log_lines: Count = 1_000
    """Most log lines of one execution; what comes behind is cut, and a line says so."""
    max_log_kb: Count = 256
    """Most log text of one execution (KB)."""
    max_service_calls: Count = 1_000
    """Most service calls of one execution."""
    max_service_mb: Count = 16
    """Most that the service calls of one execution may send and receive together (MB)."""
    service_calls_per_s: Count = 2_000
    """Service calls of one tenant that begin within a second; more wait their turn."""
    max_in_flight: InFlight = 16
    """Most service calls of one execution that run at a time; more wait their turn."""
    default_stack_kb: StackSize = 512
    """Stack of an environment whose manifest asks for none (KB)."""
    max_stack_kb: StackSize = 2_048
    """Largest stack that a manifest may ask for (KB)."""
    default_startup_ms: Count = 10_000
    """Longest that loading a plugin's code may take where its manifest does not say."""
    max_startup_ms: Count = 60_000
    """Longest that a manifest may ask for loading its code."""

    spares: Annotated[int, Parameter(validator=Number(gte=0))] = 2
    """Environments of each runtime that wait, ready and jailed, for a plugin."""
    max_environments: Count = 256
    """Most environments at a time, spares included."""
    tenant_share: Ratio = 0.75
    """How much of them the calls of one tenant may hold, and of `requests_at_once`; the rest is kept for the others."""
    environment_memory_mb: Count = 4_096
    """Memory budget of all environments together, by what they really use (MB)."""
    queue_per_tenant: Count = 256
    """Most executions of one tenant that wait for an environment; more are answered 429."""
    queue_workers: CountOrNone = 16
    """Queued executions that this process runs at a time; 0 leaves them to others."""
    queue_per_plugin: CountOrNone = 64
    """Most queued executions of one plugin that run at a time, in all processes together; 0 is any number."""
    queued_per_tenant: Count = 100_000
    """Most executions of one tenant that wait their turn in the queue; more are answered 429."""
    queue_input_kb: Count = 1_024
    """Largest input of an execution that is queued (KB)."""
    queue_result_kb: Count = 1_024
    """Largest result of a queued execution that is kept, for a day (KB)."""
    idle_s: Seconds = 300.0
    """An environment that nobody used for so long is ended."""
    max_age_s: Seconds = 3_600.0
    """An environment older than this is ended when it is free."""
    require_namespaces: bool = False
    """Refuse to start where a plugin's process cannot have every namespace of its own (plugyard doctor tells)."""
    unsafe_no_jail: bool = False
    """DANGER: run plugins without the process jail, on systems that have no seccomp. For development alone."""
    rescan_suspends: bool = False
    """Suspend active plugins in whose version a later check finds what would have refused or quarantined it."""
    rescan_pause_s: Seconds = 2.0
    """Pause between two stored versions that are checked again because the rules have changed."""
    gate_rules: tuple[str, ...] = ()
    """Rules of the gate set otherwise, as RULE=off or RULE=SEVERITY,CONSEQUENCE; a name may end in *."""
    malware_list: Path | None = None
    """File of SHA-256 digests and package URLs, one a line, of what is known to be malicious; read when it changes."""
    rehearsal_ms: CountOrNone = 3_000
    """Longest that the examples of one package may run at its upload, all together; 0 runs none."""
    modules_denied: tuple[str, ...] = ()
    """Modules that no plugin may import here, beside those that are not offered anyway."""
    compile_timeout_s: Seconds = 30.0
    """Longest that compiling one WebAssembly component may take."""
    compiled_cache_mb: Count = 1_024
    """Most machine code of components that is kept in the data folder (MB)."""
    prepared_cache_mb: Count = 256
    """Most prepared code of Python and JavaScript packages that is kept in the data folder (MB)."""

    quota_plugins: CountOrNone = 1_000
    """Most plugins of a tenant for which an operator decided nothing else; 0 is no quota, here and below."""
    quota_storage_mb: CountOrNone = 20_480
    """Most that the packages of its plugins may have together, packed (MB)."""
    quota_executions_per_minute: CountOrNone = 0
    """Most executions of it within a minute."""
    quota_executions_per_day: CountOrNone = 0
    """Most executions of it within a day of UTC."""
    quota_concurrent_executions: CountOrNone = 0
    """Most executions of it at a time, those that wait for an environment included."""

    requests_at_once: CountOrNone = 1_000
    """Requests that this process works on at a time; what comes beyond is answered 503 at once. 0 is no bound."""
    uploads_at_once: CountOrNone = 64
    """Uploads under way at a time in this process, a quarter of them of one tenant at most; 0 is no bound."""
    rate_reads_per_key: CountOrNone = 6_000
    """Requests of one key that only read, within a minute; 0 is no limit, here and below."""
    rate_reads_per_tenant: CountOrNone = 12_000
    """The same for all keys of a tenant together."""
    rate_writes_per_key: CountOrNone = 3_000
    """Requests of one key that change something, within a minute."""
    rate_writes_per_tenant: CountOrNone = 6_000
    """The same for all keys of a tenant together."""
    rate_executions_per_key: CountOrNone = 120_000
    """Executions that one key asks for within a minute."""
    rate_executions_per_tenant: CountOrNone = 240_000
    """The same for all keys of a tenant together."""
    rate_uploads_per_key: CountOrNone = 300
    """Uploads and exports of one key within a minute."""
    rate_uploads_per_tenant: CountOrNone = 600
    """The same for all keys of a tenant together."""
    rate_failed_authentications: CountOrNone = 60
    """Requests with wrong credentials from one address within a minute; then none of it are looked at for a while."""
    proxies_trusted: tuple[Network, ...] = ()
    """Networks (CIDR) of proxies before the service, whose X-Forwarded-For says which address a client has."""

    network_allowed: tuple[Network, ...] = ()
    """Private networks (CIDR) that plugins may reach where a host is granted, as for services of the operator's own."""

    plugin_data_retention_days: Count = 7
    """Days that a plugin's database and files are kept after it was uninstalled."""
    plugin_connections: Count = 24
    """Most connections to plugins' databases."""
    plugin_connections_per_tenant: Count = 4
    """Most connections of one tenant's plugins; calls beyond them wait."""
    plugin_statement_ms: Count = 10_000
    """Longest that one SQL statement of a plugin may take."""
    cache_mb_per_plugin: Count = 8
    """Most that one plugin keeps in the cache (MB); what it used least recently makes room."""
    cache_mb: Count = 256
    """Most that all plugins keep in the cache (MB)."""
    cache_url: str | None = field(default=None, repr=False)
    """Valkey or Redis in which replicas share limits and the cache: redis, rediss, valkey, valkeys or unix URL."""
    cache_connect_ms: Count = 250
    """Longest that connecting to it may take (ms)."""
    cache_command_ms: Count = 100
    """Longest that a request waits for an answer of it (ms); then it is away until it answers again."""
    files_mb_per_plugin: Count = 100
    """Most that the files of one plugin may have together (MB)."""

    endpoint_body_kb: Count = 1_000
    """Largest body of a request to a plugin's own endpoint or webhook (KB)."""
    endpoint_cache_mb: CountOrNone = 64
    """Most that answers of plugins' endpoints which say they are public are kept here (MB); 0 keeps none."""
    webhook_window_s: Count = 300
    """How far the time that a webhook's sender signs may be from now; what it sent stays known for twice as long."""

    unused_rights_days: Count = 30
    """Days without a use after which a right of a plugin is listed as unused."""
    retention_days: Count = 30
    """Days that executions and logs are kept."""
    health_interval_s: Seconds = 60.0
    """How often the health of plugins that ran is judged."""
    health_window_s: Count = 3_600
    """The executions of so many seconds make the health."""
    suspend_minimum: Count = 20
    """Executions within the window below which nothing is suspended."""
    suspend_ratio: Ratio = 0.5
    """A plugin is suspended when more than this share of them failed."""
    suspend_window_s: Count = 300
    """The window of that rule."""

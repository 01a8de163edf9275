"""Every setting of the application: one class, read once at start, all faults reported together."""

# ruff: noqa: RUF009 - the functions in the class body declare attrs fields; they are not shared defaults

from __future__ import annotations

import difflib
import io
import os
import stat
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

from billing_app import price_map
from billing_app import setting_parsers as parsers
from billing_app.errors import OperatorError
from billing_app.price_map import PlanPrices
from billing_app.secret import Secret, mask_unparsed

__all__ = ["PlanPrices", "Secret", "Setting", "Settings", "SettingsError", "SettingsFault", "declared_settings"]

T = TypeVar("T")

DOCUMENTATION = "docs/billing/configuration.md"
ENV_FILE = Path(".env.local")
_METADATA_KEY = "setting"
_OUR_PREFIXES = ("BILLING_", "STRIPE_", "ENABLE_BILLING")
_NO_PRICES: Mapping[str, PlanPrices] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Setting:
    """What is declared about one environment variable; the parser, the example file and the docs all read it."""

    env: str
    section: str
    parser: parsers.Parser[Any]
    help: str
    default_text: str
    example: str
    secret: bool


@attrs.frozen
class SettingsFault:
    """One thing that is wrong, and what to do about it. Neither text holds a secret."""

    variable: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.variable} {self.problem}. {self.remedy}"


class SettingsError(OperatorError):
    """The configuration cannot be used; `faults` holds everything that is wrong with it, not just the first."""

    def __init__(self, faults: Iterable[SettingsFault]) -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} settings need" if len(self.faults) > 1 else "One setting needs"
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        super().__init__(
            f"{count} attention:\n{lines}\n"
            f"Change them in the environment or in {ENV_FILE}; {DOCUMENTATION} describes every setting."
        )


def _setting(
    section: str,
    env: str,
    parser: parsers.Parser[T],
    default: Any,
    help: str,
    *,
    default_text: str | None = None,
    example: str = "",
    secret: bool = False,
) -> Any:
    """Declare a field. `default_text` is the default as it is written in a file, where `str(default)` is not that."""
    declared = Setting(
        env=env,
        section=section,
        parser=parser,
        help=help,
        default_text=_as_written(default) if default_text is None else default_text,
        example=example,
        secret=secret,
    )
    return attrs.field(default=default, metadata={_METADATA_KEY: declared})


def _seconds(section: str, env: str, default: float, help: str, *, minimum: float, maximum: float) -> Any:
    return _setting(
        section,
        env,
        parsers.duration("seconds", minimum, maximum),
        timedelta(seconds=default),
        help,
        default_text=f"{default:g}",
    )


def _whole(section: str, env: str, default: int, help: str, *, minimum: int = 1, maximum: int) -> Any:
    return _setting(section, env, parsers.whole_number(minimum, maximum), default, help)


def _whole_or_none(section: str, env: str, help: str, *, example: str, maximum: int) -> Any:
    return _setting(section, env, parsers.whole_number(1, maximum), None, help, example=example)


def _as_written(default: object) -> str:
    if default is None or default == ():
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


_SWITCHES = "Switches"
_STRIPE = "Stripe"
_STORES = "Stores"
_SERVER = "Server"
_ACCESS = "Access"
_WEBHOOKS = "Webhook intake"
_DISPATCH = "Dispatch and retries"
_STREAM = "Publishing and stream"
_DATABASE = "Database and Redis limits"
_LOGS = "Logs"

_WEBHOOK_SECRET = parsers.secret(
    parsers.matching(r"whsec_[\w+/=-]+", "the signing secret of a webhook endpoint (whsec_…)"),
)
_API_KEY = parsers.secret(
    parsers.matching(r"(sk|rk)_(test|live)_\w+", "a secret or restricted API key (sk_test_…, rk_live_…)"),
)


@attrs.frozen(kw_only=True)
class Settings:
    """The configuration of one process.

    The defaults are a working development set-up. `load` is the checked way in; building one directly is for tests.
    """

    enable_billing: bool = _setting(
        _SWITCHES,
        "ENABLE_BILLING",
        parsers.FLAG,
        False,
        "Take webhooks and serve billing data. Demands the Stripe secrets and a JWT secret.",
    )
    enable_stream: bool = _setting(
        _SWITCHES,
        "ENABLE_BILLING_STREAM",
        parsers.FLAG,
        True,
        "Serve the event stream. When off, events are still numbered and kept, and Redis is not needed.",
    )
    enable_stream_replay: bool = _setting(
        _SWITCHES,
        "ENABLE_BILLING_STREAM_REPLAY",
        parsers.FLAG,
        False,
        "Fill an empty Redis with each tenant's newest events when a process starts; without it they are read from "
        "Postgres until new ones come. Any number of processes fill it once.",
    )
    enable_retry_worker: bool = _setting(
        _SWITCHES,
        "ENABLE_BILLING_RETRY_WORKER",
        parsers.FLAG,
        True,
        "Process stored events and retry failed ones in the server process; `billing worker` does so in any case.",
    )

    stripe_secret_key: Secret | None = _setting(
        _STRIPE,
        "STRIPE_SECRET_KEY",
        _API_KEY,
        None,
        "API key. A restricted key is enough. Its mode decides which events are ours: live or test.",
        example="sk_test_…",
        secret=True,
    )
    stripe_webhook_secrets: tuple[Secret, ...] = _setting(
        _STRIPE,
        "STRIPE_WEBHOOK_SECRET",
        parsers.comma_list(_WEBHOOK_SECRET),
        (),
        "Signing secret of the webhook endpoint; two of them during a rotation.",
        example="whsec_…",
        secret=True,
    )
    stripe_product_price_map: Mapping[str, PlanPrices] = _setting(
        _STRIPE,
        "STRIPE_PRODUCT_PRICE_MAP",
        parsers.Parser(price_map.EXPECTS, price_map.parse_price_map),
        _NO_PRICES,
        "Which Stripe prices make up which plan.",
        default_text="",
        example="starter=price_1,pro=price_2",
    )
    stripe_account_id: str | None = _setting(
        _STRIPE,
        "STRIPE_ACCOUNT_ID",
        parsers.matching(r"acct_\w+", "an account id (acct_…)"),
        None,
        "Accept events of this account only.",
        example="acct_…",
    )
    stripe_api_version: str = _setting(
        _STRIPE,
        "STRIPE_API_VERSION",
        parsers.matching(r"\d{4}-\d{2}-\d{2}(\.[a-z0-9_]+)?", "an API version like 2026-10-28.endive"),
        "2026-10-28.endive",
        "Version that our own API calls and a newly made webhook endpoint are pinned to.",
    )
    stripe_webhook_tolerance: timedelta = _seconds(
        _STRIPE,
        "STRIPE_WEBHOOK_TOLERANCE_SECONDS",
        300,
        "Largest accepted age of a signature.",
        minimum=1,
        maximum=3600,
    )
    stripe_fetch: bool = _setting(
        _STRIPE,
        "STRIPE_FETCH",
        parsers.FLAG,
        True,
        "Ask Stripe where events leave something open: ties within a second, long invoices and lists of features, "
        "events without an object. When off, such state stays marked and such events wait.",
    )
    stripe_api_base: str | None = _setting(
        _STRIPE,
        "STRIPE_API_BASE",
        parsers.url("http", "https", example="http://127.0.0.1:12111"),
        None,
        "Another address for the Stripe API; for tests against a local fake.",
        example="http://127.0.0.1:12111",
    )

    database_url: Secret | None = _setting(
        _STORES,
        "DATABASE_URL",
        parsers.secret(parsers.url("postgresql", "postgres", example="postgresql://user:password@host:5432/billing")),
        None,
        "Postgres. Without it a local server is started.",
        example="postgresql://user:password@host:5432/billing",
        secret=True,
    )
    redis_url: Secret | None = _setting(
        _STORES,
        "REDIS_URL",
        parsers.secret(parsers.url("redis", "rediss", "unix", example="redis://:password@host:6379/0")),
        None,
        "Redis or Valkey. Without it a local server is started.",
        example="redis://:password@host:6379/0",
        secret=True,
    )
    data_dir: Path = _setting(
        _STORES,
        "BILLING_DATA_DIR",
        parsers.PATH,
        Path(".billing"),
        "Folder of the local servers: data, logs, generated passwords.",
    )

    host: str = _setting(_SERVER, "BILLING_HOST", parsers.TEXT, "127.0.0.1", "Address the HTTP server listens on.")
    port: int = _whole(
        _SERVER, "BILLING_PORT", 8080, "Port of the HTTP server; 0 picks a free one.", minimum=0, maximum=65535
    )
    worker_port: int | None = _whole_or_none(
        _SERVER,
        "BILLING_WORKER_PORT",
        "Port on which `billing worker` shows /metrics, /healthz and /readyz; without it it listens on none.",
        example="9090",
        maximum=65535,
    )
    shutdown_timeout: timedelta = _seconds(
        _SERVER,
        "BILLING_SHUTDOWN_SECONDS",
        8,
        "Time to finish work in hand after SIGTERM; keep it below the orchestrator's grace period.",
        minimum=0.1,
        maximum=300,
    )

    jwt_secrets: tuple[Secret, ...] = _setting(
        _ACCESS,
        "BILLING_JWT_SECRET",
        parsers.comma_list(parsers.secret(parsers.at_least_bytes(32))),
        (),
        "HS256 key of API and stream tokens. The first signs, all verify, so that a key can be rotated.",
        secret=True,
    )
    cors_origins: tuple[str, ...] = _setting(
        _ACCESS,
        "BILLING_CORS_ORIGINS",
        parsers.comma_list(
            parsers.matching(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", "an origin such as https://app.example.com")
        ),
        (),
        "Origins whose pages may read the API and the stream; none but our own otherwise.",
    )
    jwt_jwks_url: str | None = _setting(
        _ACCESS,
        "BILLING_JWT_JWKS_URL",
        parsers.SECURE_URL,
        None,
        "Where the issuer of tokens publishes its RS256 and ES256 keys; beside BILLING_JWT_SECRET or in its place.",
        example="https://login.example.com/.well-known/jwks.json",
    )
    jwt_jwks_refresh: timedelta = _seconds(
        _ACCESS,
        "BILLING_JWT_JWKS_REFRESH_SECONDS",
        300,
        "Age from which published keys are asked for again; a key that is not known is asked for at once.",
        minimum=10,
        maximum=86400,
    )
    jwt_audience: str = _setting(_ACCESS, "BILLING_JWT_AUDIENCE", parsers.TEXT, "billing", "Demanded `aud` of a token.")
    jwt_issuer: str = _setting(
        _ACCESS, "BILLING_JWT_ISSUER", parsers.TEXT, "billing-core", "Demanded `iss` of a token."
    )
    jwt_tenant_claim: str = _setting(
        _ACCESS, "BILLING_JWT_TENANT_CLAIM", parsers.TEXT, "tenant_id", "Claim of a token that names the tenant."
    )
    jwt_role_claim: str = _setting(
        _ACCESS, "BILLING_JWT_ROLE_CLAIM", parsers.TEXT, "role", "Claim of a token that names the role; none: viewer."
    )
    jwt_reader_roles: tuple[str, ...] = _setting(
        _ACCESS,
        "BILLING_JWT_READER_ROLES",
        parsers.comma_list(parsers.TEXT),
        ("owner", "admin", "viewer"),
        "Roles that may read billing data.",
        default_text="owner,admin,viewer",
    )
    token_recheck: timedelta = _seconds(
        _ACCESS,
        "BILLING_TOKEN_RECHECK_SECONDS",
        15,
        "How often a server learns what was revoked, and asks whether open streams may go on; both take effect within "
        "twice this time.",
        minimum=0.05,
        maximum=25,
    )
    token_ttl: timedelta = _seconds(
        _ACCESS,
        "BILLING_TOKEN_TTL_SECONDS",
        3600,
        "Life of a token made by `billing token`.",
        minimum=1,
        maximum=30 * 86400,
    )
    past_due_grace: timedelta = _setting(
        _ACCESS,
        "BILLING_PAST_DUE_GRACE_DAYS",
        parsers.duration("days", 0, 365),
        timedelta(days=7),
        "How long a tenant keeps full access after a failed payment.",
        default_text="7",
    )
    demo_ticket_secret: Secret | None = _setting(
        _ACCESS,
        "BILLING_DEMO_TICKET_SECRET",
        parsers.secret(parsers.at_least_bytes(32)),
        None,
        "Set by `billing demo` alone: lets its short-lived links sign in to the activity page.",
        secret=True,
    )
    metrics_token: Secret | None = _setting(
        _ACCESS,
        "BILLING_METRICS_TOKEN",
        parsers.secret(parsers.at_least_bytes(16)),
        None,
        "Bearer token that /metrics demands; without it /metrics is open.",
        secret=True,
    )

    body_limit_bytes: int = _whole(
        _WEBHOOKS,
        "BILLING_BODY_LIMIT_BYTES",
        512 * 1024,
        "Largest accepted webhook body.",
        minimum=1024,
        maximum=16 * 1024 * 1024,
    )
    read_timeout: timedelta = _seconds(
        _WEBHOOKS, "BILLING_READ_TIMEOUT_SECONDS", 5, "Time to read a webhook body.", minimum=0.05, maximum=60
    )
    store_timeout: timedelta = _seconds(
        _WEBHOOKS,
        "BILLING_STORE_TIMEOUT_SECONDS",
        4,
        "Time to store a webhook before it is answered 503; Stripe then sends it again.",
        minimum=0.05,
        maximum=60,
    )
    store_queue_limit: int = _whole(
        _WEBHOOKS,
        "BILLING_STORE_QUEUE_LIMIT",
        2048,
        "Webhooks waiting to be stored before new ones are answered 503.",
        maximum=100_000,
    )
    store_batch: int = _whole(
        _WEBHOOKS, "BILLING_STORE_BATCH", 256, "Webhooks that share one commit at most.", maximum=10_000
    )
    store_flushes: int = _whole(_WEBHOOKS, "BILLING_STORE_FLUSHES", 2, "Commits in flight at a time.", maximum=32)

    dispatch_batch: int = _whole(
        _DISPATCH, "BILLING_DISPATCH_BATCH", 1024, "Events that a worker claims at a time.", maximum=10_000
    )
    dispatch_lease: timedelta = _seconds(
        _DISPATCH,
        "BILLING_DISPATCH_LEASE_SECONDS",
        60,
        "After this time without a result a claimed event is given to another worker.",
        minimum=0.1,
        maximum=3600,
    )
    dispatch_max_attempts: int = _whole(
        _DISPATCH, "BILLING_DISPATCH_MAX_ATTEMPTS", 12, "Attempts before an event becomes a dead letter.", maximum=1000
    )
    dispatch_backoff_base: timedelta = _seconds(
        _DISPATCH,
        "BILLING_DISPATCH_BACKOFF_BASE_SECONDS",
        30,
        "Wait before the first retry; doubled from one retry to the next.",
        minimum=0,
        maximum=3600,
    )
    dispatch_backoff_cap: timedelta = _seconds(
        _DISPATCH,
        "BILLING_DISPATCH_BACKOFF_CAP_SECONDS",
        600,
        "Longest wait between two retries.",
        minimum=0,
        maximum=86400,
    )
    body_retention: timedelta = _setting(
        _DISPATCH,
        "BILLING_BODY_RETENTION_DAYS",
        parsers.duration("days", 1, 36500),
        timedelta(days=90),
        "Age from which `billing events prune` lets go the bodies of applied and ignored events.",
        default_text="90",
    )
    dispatch_poll: timedelta = _seconds(
        _DISPATCH,
        "BILLING_DISPATCH_POLL_SECONDS",
        1,
        "How often a worker looks for due events that nobody announced.",
        minimum=0.01,
        maximum=300,
    )

    publish_poll: timedelta = _seconds(
        _STREAM,
        "BILLING_PUBLISH_POLL_SECONDS",
        1,
        "How often the publisher looks for events that nobody announced.",
        minimum=0.01,
        maximum=300,
    )
    publish_batch: int = _whole(
        _STREAM, "BILLING_PUBLISH_BATCH", 500, "Events handed to Redis at a time.", maximum=10_000
    )
    stream_fallback: str = _setting(
        _STREAM,
        "BILLING_STREAM_FALLBACK",
        parsers.one_of("none", "postgres"),
        "none",
        "postgres serves streams from the database, seconds late, where there is no Redis or it is away at the start.",
    )
    stream_keepalive: timedelta = _seconds(
        _STREAM,
        "BILLING_STREAM_KEEPALIVE_SECONDS",
        15,
        "Pause after which an idle stream gets a comment; it also finds clients that have vanished.",
        minimum=0.05,
        maximum=300,
    )
    stream_max_life: timedelta = _seconds(
        _STREAM,
        "BILLING_STREAM_MAX_LIFE_SECONDS",
        1800,
        "Age at which a stream is closed so that the client connects anew.",
        minimum=0.1,
        maximum=86400,
    )
    stream_retry: timedelta = _setting(
        _STREAM,
        "BILLING_STREAM_RETRY_MILLISECONDS",
        parsers.duration("milliseconds", 0, 600_000),
        timedelta(milliseconds=3000),
        "Pause before a client connects again, sent to it as `retry:`.",
        default_text="3000",
    )
    stream_buffer: int = _whole(
        _STREAM,
        "BILLING_STREAM_BUFFER",
        256,
        "Newest events of a tenant kept in memory while one of its clients is slow; older ones are read again.",
        maximum=100_000,
    )
    stream_write_timeout: timedelta = _seconds(
        _STREAM,
        "BILLING_STREAM_WRITE_TIMEOUT_SECONDS",
        5,
        "Time that a client has to take in what is sent to it, before it is cut off.",
        minimum=0.05,
        maximum=300,
    )
    stream_max_connections: int = _whole(
        _STREAM, "BILLING_STREAM_MAX_CONNECTIONS", 5000, "Open streams per process.", maximum=1_000_000
    )
    stream_rate_limit: int = _whole(
        _STREAM,
        "BILLING_STREAM_RATE_LIMIT_PER_MINUTE",
        300,
        "Streams that a tenant may open per minute, at all servers together; more are answered 429. 0: any number.",
        minimum=0,
        maximum=1_000_000,
    )
    stream_concurrent_limit: int = _whole(
        _STREAM,
        "BILLING_STREAM_CONCURRENT_LIMIT",
        100,
        "Streams that a tenant may have open at all servers together; more are answered 429. 0: any number.",
        minimum=0,
        maximum=1_000_000,
    )
    stream_lease: timedelta = _seconds(
        _STREAM,
        "BILLING_STREAM_LEASE_SECONDS",
        45,
        "Time after which the streams of a server that died count as ended; living ones are renewed every third of it.",
        minimum=0.3,
        maximum=3600,
    )
    stream_ticket_ttl: timedelta = _seconds(
        _STREAM,
        "BILLING_STREAM_TICKET_SECONDS",
        30,
        "Time within which a ticket for one stream has to be used.",
        minimum=1,
        maximum=30,
    )
    stream_maxlen: int = _whole(
        _STREAM,
        "BILLING_STREAM_MAXLEN",
        10_000,
        "Newest events per tenant kept in Redis; older ones are read from Postgres.",
        maximum=10_000_000,
    )
    stream_shards: int = _whole(
        _STREAM,
        "BILLING_STREAM_SHARDS",
        16,
        "Wake-up streams that tenants are spread over; the same in every process.",
        maximum=1024,
    )

    db_pool_size: int = _whole(_DATABASE, "BILLING_DB_POOL_SIZE", 10, "Postgres connections per process.", maximum=1000)
    db_acquire_timeout: timedelta = _seconds(
        _DATABASE,
        "BILLING_DB_ACQUIRE_TIMEOUT_SECONDS",
        2,
        "Longest wait for a free connection.",
        minimum=0.05,
        maximum=60,
    )
    db_statement_timeout: timedelta = _seconds(
        _DATABASE,
        "BILLING_DB_STATEMENT_TIMEOUT_SECONDS",
        5,
        "Longest run of one statement.",
        minimum=0.05,
        maximum=3600,
    )
    db_lock_timeout: timedelta = _seconds(
        _DATABASE, "BILLING_DB_LOCK_TIMEOUT_SECONDS", 4, "Longest wait for a row lock.", minimum=0.05, maximum=3600
    )
    db_transaction_timeout: timedelta = _seconds(
        _DATABASE,
        "BILLING_DB_TRANSACTION_TIMEOUT_SECONDS",
        30,
        "Longest transaction (Postgres 17 and later): frees the rows that a frozen process holds.",
        minimum=0.1,
        maximum=3600,
    )
    redis_timeout: timedelta = _seconds(
        _DATABASE,
        "BILLING_REDIS_TIMEOUT_SECONDS",
        2,
        "Longest wait for an answer of Redis, blocking reads aside.",
        minimum=0.05,
        maximum=60,
    )

    log_level: str = _setting(
        _LOGS,
        "BILLING_LOG_LEVEL",
        parsers.one_of("debug", "info", "warning", "error"),
        "info",
        "Least severe level that is written.",
    )
    log_format: str = _setting(
        _LOGS,
        "BILLING_LOG_FORMAT",
        parsers.one_of("auto", "json", "console"),
        "auto",
        "auto is console on a terminal and json elsewhere.",
    )

    warnings: tuple[str, ...] = ()
    """What looks wrong but does no harm, such as a misspelt variable. For the caller to show."""

    @property
    def livemode(self) -> bool | None:
        """Whether the API key is a live one; None without a key."""
        return None if self.stripe_secret_key is None else "_live_" in self.stripe_secret_key.reveal()[:8]

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, env_file: Path = ENV_FILE) -> Settings:
        """Read `env_file`, then `environ`, which wins. A variable that is set but empty counts as not set.

        Raises: SettingsError with every fault that was found.
        """
        from_file, faults, warnings = _read_env_file(env_file)
        given = {**from_file, **environ}
        values: dict[str, Any] = {}
        for name, setting in declared_settings().items():
            text = given.get(setting.env, "").strip()
            if not text:
                continue
            try:
                values[name] = setting.parser.parse(text)
            except ValueError as exc:
                faults.append(_parse_fault(setting, text, exc))
        settings = cls(**values, warnings=(*warnings, *_unknown_variables(given)))
        faulty = {fault.variable for fault in faults}
        faults += [fault for fault in _cross_faults(settings) if fault.variable not in faulty]
        if faults:
            raise SettingsError(faults)
        return settings


def declared_settings() -> Mapping[str, Setting]:
    """Every setting by the name of its field, in the order of declaration."""
    return {
        field.name: field.metadata[_METADATA_KEY] for field in attrs.fields(Settings) if _METADATA_KEY in field.metadata
    }


def _read_env_file(path: Path) -> tuple[dict[str, str], list[SettingsFault], list[str]]:
    """A missing file is empty; one that cannot be read is a fault: half a configuration is worse than none."""
    from dotenv.parser import parse_stream  # noqa: PLC0415 - 20 ms that importers of this module need not pay

    try:
        # Reading through the parser rather than `dotenv_values`: that one only logs lines it does not understand.
        text = path.read_text(encoding="utf-8-sig")
        mode = path.stat().st_mode
    except FileNotFoundError:
        return {}, [], []
    except (OSError, UnicodeDecodeError) as exc:
        return {}, [SettingsFault(str(path), f"cannot be read ({type(exc).__name__})", "Repair or remove it.")], []
    values: dict[str, str] = {}
    faults: list[SettingsFault] = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            where = f"line {binding.original.line}"
            faults.append(SettingsFault(str(path), f"has a {where} that is not NAME=value", "Correct that line."))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    readable_by_others = os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO)
    return values, faults, [f"{path} can be read by other users; run: chmod 600 {path}"] if readable_by_others else []


def _parse_fault(setting: Setting, text: str, error: ValueError) -> SettingsFault:
    shown = mask_unparsed(text) if setting.secret else repr(text)
    reason = f": {error}" if isinstance(error, parsers.UnusableValueError) else ""
    return SettingsFault(
        setting.env, f"is {shown}, which cannot be used{reason}", f"It takes {setting.parser.expects}."
    )


def _unknown_variables(given: Mapping[str, str]) -> Iterable[str]:
    known = [setting.env for setting in declared_settings().values()]
    for name in sorted(given):
        if name.startswith(_OUR_PREFIXES) and name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            yield f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _cross_faults(settings: Settings) -> Iterable[SettingsFault]:
    """What one variable demands of another."""
    if settings.enable_billing:
        yield from _missing_for_billing(settings)
    if settings.dispatch_backoff_base > settings.dispatch_backoff_cap:
        yield SettingsFault(
            "BILLING_DISPATCH_BACKOFF_BASE_SECONDS",
            "is above BILLING_DISPATCH_BACKOFF_CAP_SECONDS",
            "Lower the base or raise the cap.",
        )


def _missing_for_billing(settings: Settings) -> Iterable[SettingsFault]:
    why = "is required when ENABLE_BILLING is true"
    if settings.stripe_secret_key is None:
        yield SettingsFault("STRIPE_SECRET_KEY", why, "Copy a secret or restricted key from the Stripe dashboard.")
    if not settings.stripe_webhook_secrets:
        remedy = "Copy the signing secret of the webhook endpoint (whsec_…) from the Stripe dashboard."
        yield SettingsFault("STRIPE_WEBHOOK_SECRET", why, remedy)
    if not settings.jwt_secrets and settings.jwt_jwks_url is None:
        remedy = "It guards the API and the stream; make one: openssl rand -hex 32. Or set BILLING_JWT_JWKS_URL."
        yield SettingsFault("BILLING_JWT_SECRET", why, remedy)

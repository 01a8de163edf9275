"""Each check is a function of what was seen: its verdict, and the row of the troubleshooting matrix that it names."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from billing_app.container import (
    API_VERSIONS,
    SNAPSHOT_EVENTS,
    DatabaseServer,
    HeldAccount,
    RedisServer,
    SeenPrice,
    WebhookTarget,
)
from billing_app.doctor import CheckResult, CheckStatus
from billing_app.doctor.account import check_account, check_answer, check_expiry, check_permissions
from billing_app.doctor.catalog import check_plans
from billing_app.doctor.loop import check_backlog, check_last_event, check_outbox, check_processes, check_refusals
from billing_app.doctor.prices import check_prices
from billing_app.doctor.servers import (
    check_clock,
    check_postgres,
    check_redis,
    check_schema,
    unreachable_postgres,
    unreachable_redis,
)
from billing_app.doctor.tokens import check_issuer
from billing_app.doctor.webhooks import check_api_version, check_targets
from billing_app.secret import Secret
from billing_app.settings import (
    CatalogSettings,
    DatabaseSettings,
    ServerSettings,
    Settings,
    StreamSettings,
    StripeSettings,
    TokenSettings,
)
from billing_app.troubleshooting import (
    CatalogTrouble,
    KeyTrouble,
    ServerTrouble,
    SettingTrouble,
    Trouble,
    WebhookTrouble,
)
from billing_core.errors import GatewayAuthenticationError, GatewayUnavailableError
from billing_core.model import Plan, PlanPrice, PriceId
from billing_core.oversight.ports import Backlog, RefusedWebhooks, RunningProcess, SeenProcess

LIVE = Settings(stripe=StripeSettings(secret_key=Secret("rk_live_1")))
TEST = Settings(stripe=StripeSettings(secret_key=Secret("sk_test_1")))
SERVER = DatabaseServer(version=18, connections=97, through_pooler=False, ahead=timedelta(0))
REDIS = RedisServer(address="", version=(7, 2), eviction="noeviction")
URL = "https://billing.example.com"
PUBLIC = Settings(server=ServerSettings(public_url=URL))
ENDPOINT = WebhookTarget(
    target_id="we_1",
    url=f"{URL}/webhooks/stripe",
    enabled=True,
    event_types=frozenset(SNAPSHOT_EVENTS),
    api_version=API_VERSIONS[-1],
)
LISTED = PlanPrice(lookup_key="pro_monthly", amount=4900, currency="usd", interval="month")
PRICE = SeenPrice(
    price_id="price_1",
    lookup_key="pro_monthly",
    active=True,
    currency="usd",
    amount=Decimal(4900),
    interval="month",
    interval_count=1,
    metered=False,
)
METERED = PlanPrice(role="metered", lookup_key="api", feature="api")
TOLERANCE = timedelta(minutes=5)
TODAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
REFUSED = RefusedWebhooks(hour=NOW - timedelta(minutes=30), reason="bad_signature", count=4, largest=900)
SERVING = RunningProcess(
    process_id="a", kind="serve", processes_events=True, host="web", pid=1, version="1", started_at=NOW
)
SECOND = timedelta(seconds=1)


def held(account_id: str | None, *, livemode: bool = False, holds_data: bool = True) -> HeldAccount:
    return HeldAccount(livemode=livemode, account_id=account_id, holds_data=holds_data)


def with_pool(size: int) -> Settings:
    return Settings(database=DatabaseSettings(pool_size=size))


def targets(*found: WebhookTarget) -> CheckResult:
    (result,) = check_targets(PUBLIC, found)
    return result


def prices(listed: PlanPrice, *seen: SeenPrice) -> CheckResult:
    settings = Settings(catalog=CatalogSettings(plans=(Plan(plan_code="pro", prices=(listed,)),)))
    (result,) = check_prices(settings, seen)
    return result


def plan(*listed: PlanPrice) -> Plan:
    return Plan(plan_code="pro", prices=listed)


def key_expired() -> GatewayAuthenticationError:
    return GatewayAuthenticationError("fetch_account", provider_code="api_key_expired")


FAILS: list[tuple[Trouble, CheckResult]] = [
    (KeyTrouble.KEY_IS_REFUSED, check_answer(GatewayAuthenticationError("fetch_account"))),
    (KeyTrouble.KEY_HAS_EXPIRED, check_answer(key_expired())),
    (KeyTrouble.KEY_LACKS_PERMISSIONS, check_permissions({"Customers": "rak_customer_read", "Prices": None})),
    (KeyTrouble.KEY_OF_ANOTHER_ACCOUNT, check_account(TEST, "acct_2", held("acct_1"))),
    (KeyTrouble.LIVE_KEY_BESIDE_TEST_EVENTS, check_account(LIVE, "acct_1", held("acct_1"))),
    (KeyTrouble.LIVE_KEY_BESIDE_TEST_EVENTS, check_account(LIVE, None, held(None))),
    (KeyTrouble.TEST_KEY_BESIDE_LIVE_EVENTS, check_account(TEST, "acct_1", held("acct_1", livemode=True))),
    (WebhookTrouble.ENDPOINT_IS_MISSING, targets()),
    (
        WebhookTrouble.ENDPOINT_IS_MISSING,
        targets(attrs.evolve(ENDPOINT, url="https://other.example.com/webhooks/stripe")),
    ),
    (WebhookTrouble.ENDPOINT_IS_MISSING, targets(attrs.evolve(ENDPOINT, thin=True))),
    (WebhookTrouble.ENDPOINT_IS_DISABLED, targets(attrs.evolve(ENDPOINT, enabled=False))),
    (WebhookTrouble.ENDPOINT_LACKS_EVENTS, targets(attrs.evolve(ENDPOINT, event_types=frozenset({"invoice.paid"})))),
    (WebhookTrouble.CLOCK_IS_OFF, check_clock("Stripe", TOLERANCE, TOLERANCE)),
    (WebhookTrouble.CLOCK_IS_OFF, check_clock("Stripe", -TOLERANCE, TOLERANCE)),
    (CatalogTrouble.PRICE_DOES_NOT_EXIST, prices(LISTED)),
    (CatalogTrouble.PRICE_DOES_NOT_EXIST, prices(PlanPrice(price_id=PriceId("price_9")), PRICE)),
    (CatalogTrouble.PRICE_IS_ARCHIVED, prices(LISTED, attrs.evolve(PRICE, active=False))),
    (CatalogTrouble.PRICE_DIFFERS, prices(LISTED, attrs.evolve(PRICE, amount=Decimal(5900)))),
    (CatalogTrouble.PRICE_DIFFERS, prices(LISTED, attrs.evolve(PRICE, currency="eur"))),
    (CatalogTrouble.PRICE_DIFFERS, prices(LISTED, attrs.evolve(PRICE, interval="year"))),
    (CatalogTrouble.PRICE_DIFFERS, prices(LISTED, attrs.evolve(PRICE, metered=True))),
    (ServerTrouble.POSTGRES_IS_UNREACHABLE, unreachable_postgres("TimeoutError")),
    (ServerTrouble.POSTGRES_IS_TOO_OLD, check_postgres(attrs.evolve(SERVER, version=13), Settings())),
    (ServerTrouble.POSTGRES_LACKS_CONNECTIONS, check_postgres(SERVER, with_pool(48))),
    (ServerTrouble.POSTGRES_LACKS_MIGRATIONS, check_schema(["0042_pre_know_the_account"], [])),
    (ServerTrouble.REDIS_IS_UNREACHABLE, unreachable_redis("TimeoutError", Settings())),
    (ServerTrouble.REDIS_EVICTS, check_redis([attrs.evolve(REDIS, eviction="allkeys-lru")])),
    (ServerTrouble.REDIS_EVICTS, check_redis([REDIS, attrs.evolve(REDIS, eviction="volatile-ttl")])),
    (ServerTrouble.REDIS_IS_TOO_OLD, check_redis([attrs.evolve(REDIS, version=(6, 0))])),
    (ServerTrouble.POOLER_SHARES_SESSIONS, check_postgres(attrs.evolve(SERVER, keeps_sessions=False), Settings())),
    (ServerTrouble.POSTGRES_REFUSES_WRITES, check_postgres(attrs.evolve(SERVER, read_only=True), Settings())),
    (ServerTrouble.REDIS_REFUSES_WRITES, check_redis([attrs.evolve(REDIS, refuses_writes="it is a replica")])),
    (WebhookTrouble.WEBHOOKS_ARE_REFUSED, next(check_refusals([REFUSED], now=NOW))),
    (SettingTrouble.TOKEN_KEYS_ARE_UNUSABLE, check_issuer(TokenSettings(), unusable="it is empty", unreachable=None)),
]

WARNINGS: list[tuple[Trouble, CheckResult]] = [
    (KeyTrouble.STRIPE_IS_UNREACHABLE, check_answer(GatewayUnavailableError("fetch_account"))),
    (
        KeyTrouble.ACCOUNT_ID_OF_ANOTHER,
        check_account(attrs.evolve(TEST, stripe=attrs.evolve(TEST.stripe, account_id="acct_2")), "acct_1", None),
    ),
    (CatalogTrouble.PLAN_CANNOT_BE_STARTED, next(check_plans([plan()]))),
    (CatalogTrouble.PLAN_CANNOT_BE_STARTED, next(check_plans([plan(LISTED, attrs.evolve(LISTED, amount=5900))]))),
    (CatalogTrouble.PLAN_CANNOT_BE_STARTED, next(check_plans([Plan.of_prices("pro", base=["price_1", "price_2"])]))),
    (KeyTrouble.CLI_KEY_EXPIRES, check_expiry(date(2026, 3, 15), date(2026, 3, 1))),
    (KeyTrouble.CLI_KEY_EXPIRES, check_expiry(TODAY, TODAY)),
    (WebhookTrouble.PUBLIC_URL_IS_UNKNOWN, next(check_targets(Settings(), [ENDPOINT]))),
    (WebhookTrouble.ENDPOINTS_CANNOT_BE_READ, next(check_targets(PUBLIC, None))),
    (
        WebhookTrouble.ENDPOINT_SENDS_UNUSED_EVENTS,
        targets(attrs.evolve(ENDPOINT, event_types=ENDPOINT.event_types | {"charge.captured"})),
    ),
    (WebhookTrouble.ENDPOINT_VERSION_IS_UNTESTED, targets(attrs.evolve(ENDPOINT, api_version="2031-01-01.future"))),
    (WebhookTrouble.ENDPOINT_VERSION_IS_UNTESTED, targets(attrs.evolve(ENDPOINT, api_version=None))),
    (WebhookTrouble.API_VERSION_IS_UNTESTED, check_api_version("2019-12-03")),
    (WebhookTrouble.CLOCK_IS_OFF, check_clock("Stripe", timedelta(seconds=30), TOLERANCE)),
    (WebhookTrouble.CLOCK_IS_OFF, check_clock("Stripe", timedelta(seconds=5), timedelta(seconds=10))),
    (
        WebhookTrouble.WEBHOOKS_ARE_REFUSED,
        next(check_refusals([REFUSED], now=NOW + timedelta(days=1))),
    ),
    (ServerTrouble.SCHEMA_IS_NEWER, check_schema([], ["0099_pre_later"])),
    (
        ServerTrouble.REDIS_IS_UNREACHABLE,
        unreachable_redis("TimeoutError", Settings(stream=StreamSettings(fallback="postgres"))),
    ),
    (
        SettingTrouble.TOKEN_ISSUER_IS_UNREACHABLE,
        check_issuer(TokenSettings(), unusable=None, unreachable="TimeoutError"),
    ),
]

FINE = [
    *check_plans(()),
    *check_plans([plan(LISTED, attrs.evolve(LISTED, interval="year"), attrs.evolve(LISTED, currency="eur"))]),
    *check_plans(
        [
            plan(
                LISTED,
                PlanPrice(role="seat", lookup_key="seat"),
                PlanPrice(role="metered", lookup_key="api", feature="api"),
            )
        ]
    ),
    *check_plans([Plan.of_prices("starter", base=["price_1"])]),
    check_answer(None),
    check_account(TEST, "acct_1", None),
    check_account(TEST, "acct_1", held("acct_1")),
    check_account(TEST, None, held("acct_1")),
    check_account(TEST, "acct_1", held(None)),
    check_account(LIVE, "acct_2", held("acct_1", holds_data=False)),
    check_permissions({}),
    check_expiry(None, date(2026, 3, 1)),
    check_expiry(date(2026, 3, 16), date(2026, 3, 1)),
    targets(ENDPOINT),
    targets(attrs.evolve(ENDPOINT, event_types=frozenset({"*"}))),
    targets(attrs.evolve(ENDPOINT, target_id="we_0", enabled=False), ENDPOINT),
    targets(attrs.evolve(ENDPOINT, api_version="2025-11-17.clover")),
    check_api_version(StripeSettings().api_version),
    check_clock("Stripe", timedelta(seconds=29), TOLERANCE),
    prices(LISTED, PRICE),
    prices(PlanPrice(price_id=PriceId("price_1")), attrs.evolve(PRICE, lookup_key=None)),
    check_postgres(attrs.evolve(SERVER, version=14), with_pool(44)),
    check_postgres(attrs.evolve(SERVER, through_pooler=True), with_pool(1000)),
    check_schema([], []),
    check_redis([REDIS, attrs.evolve(REDIS, version=(6, 2))]),
    check_issuer(TokenSettings(), unusable=None, unreachable=None),
]


@pytest.mark.parametrize(("row", "result"), FAILS, ids=[row.anchor for row, _ in FAILS])
def test_a_fault_fails_the_check_and_names_its_row(row: Trouble, result: CheckResult) -> None:
    """With what to do, and an example or a command."""
    assert (result.status, result.trouble) == (CheckStatus.FAIL, row)
    assert result.remedy
    assert str(result).endswith(f" See {row}.")


@pytest.mark.parametrize(("row", "result"), WARNINGS, ids=[row.anchor for row, _ in WARNINGS])
def test_a_finding_that_stops_nothing_is_a_warning(row: Trouble, result: CheckResult) -> None:
    """It names its row all the same."""
    assert (result.status, result.trouble) == (CheckStatus.WARN, row)
    assert result.remedy
    assert str(result).endswith(f" See {row}.")


@pytest.mark.parametrize("result", FINE, ids=[f"{result.check} {number}" for number, result in enumerate(FINE)])
def test_what_is_right_passes(result: CheckResult) -> None:
    """Up to each limit."""
    assert (result.status, result.remedy, result.trouble) == (CheckStatus.OK, None, None)


def test_each_difference_of_a_price_is_named() -> None:
    """One line has them all."""
    wrong = attrs.evolve(PRICE, amount=Decimal("1.5"), currency="eur", interval="year", interval_count=2)
    assert prices(LISTED, wrong).detail == (
        "the price pro_monthly of plan pro is not as in the catalog: its currency is eur and not usd, "
        "its amount is 1.5 and not 4900, its interval is year and not month, its interval count is 2 and not 1"
    )


def test_every_fault_of_an_endpoint_is_reported_at_once() -> None:
    """One repair is enough, whatever else is wrong with it."""
    broken = attrs.evolve(
        ENDPOINT, enabled=False, event_types=frozenset({"invoice.paid", "charge.captured"}), api_version=None
    )
    assert [result.trouble for result in check_targets(PUBLIC, [broken])] == [
        WebhookTrouble.ENDPOINT_IS_DISABLED,
        WebhookTrouble.ENDPOINT_LACKS_EVENTS,
        WebhookTrouble.ENDPOINT_SENDS_UNUSED_EVENTS,
        WebhookTrouble.ENDPOINT_VERSION_IS_UNTESTED,
    ]


def test_a_key_has_expired_from_its_day_on() -> None:
    """Before, it is about to."""
    assert "expired on" in check_expiry(TODAY, TODAY).detail
    assert "expires on" in check_expiry(TODAY + timedelta(days=1), TODAY).detail


def test_missing_permissions_are_named_as_stripe_names_them() -> None:
    """By the name in the dashboard, and by the one in its answer if it told it."""
    detail = check_permissions({"Customers": "rak_customer_read", "Prices": None}).detail
    assert detail == "STRIPE_SECRET_KEY lacks the permission to read Customers (rak_customer_read), Prices"


def processes(*seen: SeenProcess, used: bool = True, billing: bool = True) -> list[tuple[str, str]]:
    return [(each.status.value, each.detail) for each in check_processes(seen, billing=billing, used=used)]


def test_processes_are_checked_by_their_heartbeats() -> None:
    """One that is silent is named, and none that is alive is a failure, unless nothing was ever started."""
    alive, dead = SeenProcess(process=SERVING, silent_for=SECOND), SeenProcess(process=SERVING, silent_for=SECOND * 60)
    assert processes(alive) == [("ok", "1 alive; 1 process events")]
    assert [status for status, _ in processes(dead)] == ["warn", "fail", "fail"]
    assert processes(dead)[0][1] == "serve web:1 has written no heartbeat for 1 min"
    assert [status for status, _ in processes()] == ["fail", "fail"]
    assert [status for status, _ in processes(used=False)] == ["warn", "warn"]
    assert processes(billing=False) == []
    storing = attrs.evolve(alive, process=attrs.evolve(SERVING, processes_events=False))
    assert [status for status, _ in processes(storing)] == ["fail"]
    inside = attrs.evolve(alive, process=attrs.evolve(SERVING, kind="application"))
    assert [status for status, _ in processes(inside)] == ["ok"]


def test_waiting_events_are_checked_by_their_age() -> None:
    """An inbox that nothing empties is a failure; a parked event says how long it has waited."""

    def verdicts(**found: Any) -> list[str]:
        return [each.status.value for each in check_backlog(Backlog(**found))]

    assert verdicts() == ["ok"]
    assert verdicts(due=1, oldest_due=timedelta(minutes=2)) == ["warn"]
    assert verdicts(due=1, oldest_due=timedelta(minutes=11)) == ["fail"]
    _, parked = check_backlog(Backlog(parked=2, oldest_parked=timedelta(hours=30)))
    assert parked.detail == "2 events are waiting for a tenant link or an object, the oldest for 1 d"
    assert [check_outbox(SECOND * age).status.value for age in (9, 11, 61)] == ["ok", "warn", "fail"]


def test_silence_of_stripe_is_a_warning() -> None:
    """The last event says how long ago it came."""
    assert check_last_event(None, now=NOW).status is CheckStatus.WARN
    assert check_last_event(NOW - timedelta(days=2), now=NOW).detail == "the last event was stored 2 d ago"
    assert check_last_event(NOW - timedelta(minutes=5), now=NOW) == CheckResult(
        "events", CheckStatus.OK, "the last event was stored 5 min ago"
    )


def test_refused_webhooks_of_the_last_hour_are_told_from_earlier_ones() -> None:
    """They fail now, and the others may be over."""
    earlier = attrs.evolve(REFUSED, hour=REFUSED.hour - timedelta(days=2), count=7)
    recent, past = check_refusals([earlier, REFUSED], now=NOW)
    assert (recent.status, past.status) == (CheckStatus.FAIL, CheckStatus.WARN)
    assert "4 webhooks signed in Stripe's form were refused within the last hour: bad_signature" in recent.detail
    assert "7 webhooks signed in Stripe's form were refused since 2026-02-27: bad_signature" in past.detail

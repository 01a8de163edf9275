"""The calls to Stripe for each command, in the form that avoids Stripe's pitfalls."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from billing_core.errors import (
    GatewayDefectError,
    GatewayError,
    GatewayInvalidRequestError,
    GatewayNotFoundError,
    GatewayUnavailableError,
)
from billing_core.model import CustomerId, InvoiceId, ItemId, PriceId, SubscriptionId, TenantId
from billing_core.operations.commands import (
    COMMANDS,
    Address,
    ApplyPromotionCode,
    CancelAtPeriodEnd,
    Cancellation,
    CancelNow,
    ChangeItems,
    CheckoutReturn,
    Command,
    CreateCheckoutSession,
    CreateCustomer,
    CreatePortalSession,
    CreateSetupIntent,
    CreditTerms,
    DetachPaymentMethod,
    ExpireCheckoutSession,
    GiveCredit,
    ItemChange,
    NewItem,
    OwnDefault,
    PauseCollection,
    PauseSubscription,
    PayInvoice,
    PriceChoice,
    ResumeCollection,
    ResumeSubscription,
    ScheduleChange,
    SetBillingContact,
    SetDefaultPaymentMethod,
    SetSeats,
    StartSubscription,
    TaxId,
    Trial,
    WithdrawCancellation,
    WithdrawPendingUpdate,
    WithdrawScheduledChange,
)
from billing_core.operations.results import Performed
from billing_stripe.client import CLEAR, StripeAnswer, StripeRequest
from billing_stripe.operations.gateway import HANDLERS, StripeOperations
from billing_stripe.operations.prices import PriceBook

AT = datetime(2026, 12, 1, tzinfo=UTC)
SECONDS = int(AT.timestamp())
SUBSCRIPTION = SubscriptionId("sub_1")
CUSTOMER = CustomerId("cus_1")
TENANT = TenantId("acme")
SCHEDULE = "sub_sched_1"
PRO = PriceChoice(plan_code="pro", price_id=PriceId("price_pro"))
SEAT = PriceChoice(plan_code="pro", role="seat", price_id=PriceId("price_seat"))
CALLS = PriceChoice(plan_code="pro", role="metered", price_id=PriceId("price_calls"))
METADATA = {"tenant_id": "acme", "billing_operation": "bo_1"}
SECRETS = ["latest_invoice.confirmation_secret", "pending_setup_intent"]

SUBSCRIPTION_SHOWN = {
    "id": SUBSCRIPTION,
    "object": "subscription",
    "customer": CUSTOMER,
    "status": "active",
    "pending_update": {"subscription_items": []},
    "latest_invoice": {"id": "in_1", "object": "invoice", "status": "open"},
    "discounts": [{"id": "di_1", "promotion_code": "promo_other"}],
    "items": {"data": [{"id": "si_1", "price": {"id": "price_seat"}, "quantity": 5}]},
}
SCHEDULE_SHOWN = {
    "id": SCHEDULE,
    "object": "subscription_schedule",
    "customer": CUSTOMER,
    "status": "active",
    "end_behavior": "release",
    "subscription": SUBSCRIPTION_SHOWN,
    "phases": [
        {
            "start_date": SECONDS - 60,
            "end_date": SECONDS,
            "trial_end": None,
            "collection_method": "charge_automatically",
            "discounts": [{"coupon": None, "discount": "di_1", "promotion_code": None}],
            "default_tax_rates": [{"id": "txr_1"}],
            "metadata": {"seller": "kept"},
            "items": [
                {"price": "price_old", "quantity": 25, "discounts": [], "tax_rates": [], "metadata": {}},
                {"price": "price_calls", "discounts": [], "tax_rates": [], "metadata": {}},
            ],
        }
    ],
}
INVOICE_SHOWN = {"id": "in_1", "object": "invoice", "status": "paid", "customer": CUSTOMER, "currency": "usd"}
OWN_DEFAULT = OwnDefault(subscription_id=SUBSCRIPTION, payment_method_id="pm_own")
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "create_schedule": SCHEDULE_SHOWN,
    "update_schedule": SCHEDULE_SHOWN,
    "release_schedule": {**SCHEDULE_SHOWN, "status": "released", "subscription": None},
    "list_prices": {"data": [{"id": "price_found", "lookup_key": "pro_monthly"}]},
    "create_tax_id": {"id": "txi_9", "object": "tax_id"},
    "fetch_customer": {"id": CUSTOMER, "object": "customer", "invoice_settings": {"default_payment_method": "pm_0"}},
}


class Recorder:
    """A client that keeps requests and answers them like a Stripe that has everything."""

    def __init__(self) -> None:
        self.requests: list[StripeRequest] = []
        self.refused: set[str] = set()
        """The operations that are refused."""
        self.refused_ids: set[str] = set()
        """The objects whose changes are refused."""
        self.broken: str | None = None
        """The operation in which a bug is met."""
        self.failures: dict[str, GatewayError] = {}
        """The errors of operations."""
        self.repeats = False
        """Whether the answers to writes are those to earlier calls with the same keys."""
        self.answers = dict(ANSWERS)

    async def call(self, request: StripeRequest) -> StripeAnswer:
        self.requests.append(request)
        if request.operation == self.broken:
            raise ZeroDivisionError
        if request.operation in self.refused or self.refused_ids.intersection(request.ids if request.writes else ()):
            raise GatewayInvalidRequestError(request.operation)
        if request.operation in self.failures:
            raise self.failures[request.operation]
        shown = self.answers.get(request.operation)
        if shown is None:
            shown = SUBSCRIPTION_SHOWN if "subscription" in request.operation else {"id": "x_1", "status": "open"}
        repeated = self.repeats and request.writes
        return StripeAnswer(
            data=shown, replayed=repeated, answered_at=AT + timedelta(minutes=0 if request.writes else 5)
        )

    @property
    def written(self) -> list[StripeRequest]:
        """The calls that change something."""
        return [request for request in self.requests if request.writes]

    def sent(self) -> list[tuple[str, tuple[str, ...], Mapping[str, Any]]]:
        """Operation, ids and parameters of the calls that change something."""
        return [(request.operation, request.ids, request.params) for request in self.written]


@pytest.fixture
def client() -> Recorder:
    return Recorder()


async def perform(client: Any, command: Command) -> Performed:
    return await StripeOperations(client, PriceBook(client)).perform(command, "bo_1")


def started(**fields: Any) -> StartSubscription:
    return StartSubscription(
        tenant_id=TENANT, customer_id=CUSTOMER, items=(NewItem(price=PRO, quantity=1), NewItem(price=CALLS)), **fields
    )


STARTED = {
    "customer": CUSTOMER,
    "items": [{"price": "price_pro", "quantity": 1}, {"price": "price_calls"}],
    "billing_mode": {"type": "flexible"},
    "metadata": METADATA,
    "expand": SECRETS,
}
TO_PRO = ItemChange(item_id=ItemId("si_1"), price=PRO, quantity=25)
UPDATED = {
    "items": [{"id": "si_1", "price": "price_pro", "quantity": 25}],
    "proration_behavior": "always_invoice",
    "payment_behavior": "pending_if_incomplete",
    "expand": SECRETS,
}
CURRENT_PHASE = {
    "start_date": SECONDS - 60,
    "end_date": SECONDS,
    "collection_method": "charge_automatically",
    "discounts": [{"discount": "di_1"}],
    "default_tax_rates": ["txr_1"],
    "metadata": {"seller": "kept"},
    "proration_behavior": "none",
    "items": [{"price": "price_old", "quantity": 25}, {"price": "price_calls"}],
}
NEXT_PHASE = {
    **{name: value for name, value in CURRENT_PHASE.items() if name not in ("start_date", "end_date")},
    "items": [{"price": "price_pro", "quantity": 25}],
}
RELEASED = ("release_schedule", (SCHEDULE,), {"preserve_cancel_date": True})
SCHEDULED = [
    ("create_schedule", (), {"from_subscription": SUBSCRIPTION}),
    (
        "update_schedule",
        (SCHEDULE,),
        {
            "phases": [CURRENT_PHASE, NEXT_PHASE],
            "end_behavior": "release",
            "proration_behavior": "none",
            "metadata": {"billing_operation": "bo_1"},
            "expand": ["subscription"],
        },
    ),
]
TO_SCHEDULE = ScheduleChange(subscription_id=SUBSCRIPTION, effective_at=AT, items=(NewItem(price=PRO, quantity=25),))
CHECKOUT = CreateCheckoutSession(
    tenant_id=TENANT,
    customer_id=CUSTOMER,
    items=(NewItem(price=PRO, quantity=3), NewItem(price=CALLS)),
    returns=CheckoutReturn(success_url="https://app.example/done"),
    expires_at=AT,
)
OPENED = {
    "mode": "subscription",
    "customer": CUSTOMER,
    "client_reference_id": "acme",
    "line_items": [{"price": "price_pro", "quantity": 3}, {"price": "price_calls"}],
    "metadata": METADATA,
    "subscription_data": {"metadata": METADATA, "billing_mode": {"type": "flexible"}},
    "payment_method_collection": "always",
    "expires_at": SECONDS,
}

CASES: Sequence[tuple[Command, Sequence[tuple[str, tuple[str, ...], Mapping[str, Any]]]]] = [
    (
        started(),
        [
            (
                "create_subscription",
                (),
                {
                    **STARTED,
                    "payment_behavior": "default_incomplete",
                    "payment_settings": {"save_default_payment_method": "on_subscription"},
                },
            )
        ],
    ),
    (
        started(payment="off_session", billing_mode="classic", promotion_code_id="promo_1", currency="eur"),
        [
            (
                "create_subscription",
                (),
                {
                    **STARTED,
                    "billing_mode": {"type": "classic"},
                    "payment_behavior": "error_if_incomplete",
                    "off_session": True,
                    "discounts": [{"promotion_code": "promo_1"}],
                    "currency": "eur",
                },
            )
        ],
    ),
    (
        started(payment="on_file", trial=Trial(days=14, without_payment_method="pause")),
        [
            (
                "create_subscription",
                (),
                {
                    **STARTED,
                    "payment_behavior": "allow_incomplete",
                    "trial_period_days": 14,
                    "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
                },
            )
        ],
    ),
    (
        ChangeItems(subscription_id=SUBSCRIPTION, changed=(TO_PRO,), proration_date=AT),
        [("update_subscription", (SUBSCRIPTION,), {**UPDATED, "proration_date": SECONDS})],
    ),
    (
        ChangeItems(
            subscription_id=SUBSCRIPTION,
            changed=(ItemChange(item_id=ItemId("si_1"), deleted=True),),
            added=(NewItem(price=SEAT, quantity=2),),
            release_schedule=SCHEDULE,
        ),
        [
            RELEASED,
            (
                "update_subscription",
                (SUBSCRIPTION,),
                {
                    **UPDATED,
                    "items": [{"id": "si_1", "deleted": True}, {"price": "price_seat", "quantity": 2}],
                    "payment_behavior": "error_if_incomplete",
                },
            ),
        ],
    ),
    (
        ChangeItems(
            subscription_id=SUBSCRIPTION, changed=(TO_PRO,), proration="none", proration_date=AT, only_if_paid=False
        ),
        [
            (
                "update_subscription",
                (SUBSCRIPTION,),
                {**UPDATED, "proration_behavior": "none", "payment_behavior": "allow_incomplete"},
            )
        ],
    ),
    (
        SetSeats(subscription_id=SUBSCRIPTION, item_id=ItemId("si_1"), quantity=0),
        [
            (
                "update_subscription",
                (SUBSCRIPTION,),
                {
                    **UPDATED,
                    "items": [{"id": "si_1", "quantity": 0}],
                    "proration_behavior": "create_prorations",
                    "payment_behavior": "allow_incomplete",
                },
            )
        ],
    ),
    (TO_SCHEDULE, SCHEDULED),
    (attrs.evolve(TO_SCHEDULE, release_schedule=SCHEDULE), [RELEASED, *SCHEDULED]),
    (
        SetSeats(
            subscription_id=SUBSCRIPTION,
            item_id=ItemId("si_1"),
            quantity=6,
            reschedule=attrs.evolve(TO_SCHEDULE, release_schedule=SCHEDULE),
        ),
        [
            RELEASED,
            (
                "update_subscription",
                (SUBSCRIPTION,),
                {
                    **UPDATED,
                    "items": [{"id": "si_1", "quantity": 6}],
                    "proration_behavior": "create_prorations",
                    "payment_behavior": "allow_incomplete",
                },
            ),
            *SCHEDULED,
        ],
    ),
    (WithdrawScheduledChange(subscription_id=SUBSCRIPTION, schedule_id=SCHEDULE), [RELEASED]),
    (WithdrawPendingUpdate(subscription_id=SUBSCRIPTION), [("void_invoice", ("in_1",), {})]),
    (
        ApplyPromotionCode(subscription_id=SUBSCRIPTION, promotion_code_id="promo_1"),
        [
            (
                "update_subscription",
                (SUBSCRIPTION,),
                {"discounts": [{"discount": "di_1"}, {"promotion_code": "promo_1"}]},
            )
        ],
    ),
    (
        CancelNow(subscription_id=SUBSCRIPTION, reason=Cancellation(feedback="unused", comment="bye")),
        [
            (
                "cancel_subscription",
                (SUBSCRIPTION,),
                {
                    "invoice_now": True,
                    "prorate": False,
                    "cancellation_details": {"feedback": "unused", "comment": "bye"},
                },
            )
        ],
    ),
    (
        CancelAtPeriodEnd(subscription_id=SUBSCRIPTION, release_schedule=SCHEDULE),
        [RELEASED, ("update_subscription", (SUBSCRIPTION,), {"cancel_at_period_end": True})],
    ),
    (
        CancelAtPeriodEnd(subscription_id=SUBSCRIPTION, at="earliest_item_end"),
        [("update_subscription", (SUBSCRIPTION,), {"cancel_at": "min_period_end"})],
    ),
    (
        WithdrawCancellation(subscription_id=SUBSCRIPTION, at_period_end=True),
        [("update_subscription", (SUBSCRIPTION,), {"cancel_at_period_end": False})],
    ),
    (
        WithdrawCancellation(subscription_id=SUBSCRIPTION, at_period_end=False),
        [("update_subscription", (SUBSCRIPTION,), {"cancel_at": CLEAR})],
    ),
    (
        PauseSubscription(subscription_id=SUBSCRIPTION, invoice_usage=False),
        [
            (
                "pause_subscription",
                (SUBSCRIPTION,),
                {
                    "type": "subscription",
                    "bill_for": {"outstanding_usage_through": {"type": "none"}, "unused_time_from": {"type": "now"}},
                    "invoicing_behavior": "pending_invoice_item",
                },
            )
        ],
    ),
    (
        ResumeSubscription(subscription_id=SUBSCRIPTION, period="continued", only_if_paid=False),
        [
            (
                "resume_subscription",
                (SUBSCRIPTION,),
                {
                    "billing_cycle_anchor": {"type": "unchanged"},
                    "payment_behavior": "resume_on_payment_attempt",
                    "expand": SECRETS,
                },
            )
        ],
    ),
    (
        PauseCollection(subscription_id=SUBSCRIPTION, behavior="void", resumes_at=AT),
        [
            (
                "update_subscription",
                (SUBSCRIPTION,),
                {"pause_collection": {"behavior": "void", "resumes_at": SECONDS}},
            )
        ],
    ),
    (
        ResumeCollection(subscription_id=SUBSCRIPTION),
        [("update_subscription", (SUBSCRIPTION,), {"pause_collection": CLEAR})],
    ),
    (
        CreateCustomer(tenant_id=TENANT, email="a@example.com"),
        [("create_customer", (), {"metadata": METADATA, "email": "a@example.com"})],
    ),
    (
        SetBillingContact(
            customer_id=CUSTOMER,
            email="b@example.com",
            phone="",
            address=Address(line1="Street 1", country="DE"),
            add_tax_ids=(TaxId(type="eu_vat", value="DE123456789"),),
            remove_tax_ids=("txi_1",),
        ),
        [
            ("create_tax_id", (CUSTOMER,), {"type": "eu_vat", "value": "DE123456789"}),
            (
                "update_customer",
                (CUSTOMER,),
                {
                    "email": "b@example.com",
                    "phone": CLEAR,
                    "address": {
                        "line1": "Street 1",
                        "line2": CLEAR,
                        "postal_code": CLEAR,
                        "city": CLEAR,
                        "state": CLEAR,
                        "country": "DE",
                    },
                },
            ),
            ("delete_tax_id", (CUSTOMER, "txi_1"), {}),
        ],
    ),
    (
        CreateSetupIntent(customer_id=CUSTOMER),
        [
            (
                "create_setup_intent",
                (),
                {
                    "customer": CUSTOMER,
                    "usage": "off_session",
                    "automatic_payment_methods": {"enabled": True},
                    "metadata": {"billing_operation": "bo_1"},
                },
            )
        ],
    ),
    (
        SetDefaultPaymentMethod(customer_id=CUSTOMER, payment_method_id="pm_1", outranking=(OWN_DEFAULT,)),
        [
            ("update_customer", (CUSTOMER,), {"invoice_settings": {"default_payment_method": "pm_1"}}),
            ("update_subscription", (SUBSCRIPTION,), {"default_payment_method": CLEAR}),
        ],
    ),
    (
        DetachPaymentMethod(customer_id=CUSTOMER, payment_method_id="pm_1"),
        [("detach_payment_method", ("pm_1",), {})],
    ),
    (
        CreatePortalSession(
            customer_id=CUSTOMER,
            return_url="https://app.example",
            flow="subscription_cancel",
            subscription_id=SUBSCRIPTION,
            configuration="bpc_1",
        ),
        [
            (
                "create_portal_session",
                (),
                {
                    "customer": CUSTOMER,
                    "return_url": "https://app.example",
                    "configuration": "bpc_1",
                    "flow_data": {
                        "type": "subscription_cancel",
                        "subscription_cancel": {"subscription": SUBSCRIPTION},
                    },
                },
            )
        ],
    ),
    (
        GiveCredit(customer_id=CUSTOMER, amount=500, currency="usd", terms=CreditTerms(expires_at=AT, name="sorry")),
        [
            (
                "create_credit_grant",
                (),
                {
                    "customer": CUSTOMER,
                    "amount": {"type": "monetary", "monetary": {"value": 500, "currency": "usd"}},
                    "applicability_config": {"scope": {"price_type": "metered"}},
                    "category": "promotional",
                    "metadata": {"billing_operation": "bo_1"},
                    "name": "sorry",
                    "expires_at": SECONDS,
                },
            )
        ],
    ),
    (CHECKOUT, [("create_checkout_session", (), {**OPENED, "success_url": "https://app.example/done"})]),
    (
        attrs.evolve(
            CHECKOUT,
            returns=CheckoutReturn(return_url="https://app.example/back"),
            expire=("cs_1",),
            trial=Trial(days=7),
            allow_promotion_codes=True,
            automatic_tax=True,
            collect_tax_id=True,
            locale="de",
            payment_method="if_required",
        ),
        [
            ("expire_checkout_session", ("cs_1",), {}),
            (
                "create_checkout_session",
                (),
                {
                    **OPENED,
                    "subscription_data": {
                        **OPENED["subscription_data"],  # type: ignore[dict-item]
                        "trial_period_days": 7,
                        "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
                    },
                    "payment_method_collection": "if_required",
                    "ui_mode": "embedded_page",
                    "return_url": "https://app.example/back",
                    "allow_promotion_codes": True,
                    "automatic_tax": {"enabled": True},
                    "tax_id_collection": {"enabled": True},
                    "customer_update": {"address": "auto", "name": "auto"},
                    "locale": "de",
                },
            ),
        ],
    ),
    (ExpireCheckoutSession(session_id="cs_1"), [("expire_checkout_session", ("cs_1",), {})]),
    (
        PayInvoice(invoice_id=InvoiceId("in_1"), payment_method_id="pm_1"),
        [
            (
                "pay_invoice",
                ("in_1",),
                {"expand": ["confirmation_secret"], "off_session": True, "payment_method": "pm_1"},
            )
        ],
    ),
    (
        PayInvoice(invoice_id=InvoiceId("in_1"), out_of_band=True),
        [("pay_invoice", ("in_1",), {"expand": ["confirmation_secret"], "paid_out_of_band": True})],
    ),
]


@pytest.mark.parametrize(("command", "sent"), CASES, ids=lambda value: getattr(value, "operation", ""))
async def test_each_command_is_these_calls(
    client: Recorder, command: Command, sent: Sequence[tuple[str, tuple[str, ...], Mapping[str, Any]]]
) -> None:
    """In this order, each under a key of its own, with the plan for metrics."""
    await perform(client, command)
    assert client.sent() == list(sent)
    assert [request.idempotency_key for request in client.written] == [f"bo_1.{n + 1}" for n in range(len(sent))]
    assert {request.plan_code for request in client.written} == {command.plan_code or ""}


def test_every_command_is_covered() -> None:
    """One that is added needs a handler, and a case here."""
    assert set(HANDLERS) == set(COMMANDS.values()) == {type(command) for command, _ in CASES}


@pytest.mark.parametrize("command", [command for command, _ in CASES], ids=lambda command: command.operation)
async def test_finding_out_only_reads(client: Recorder, command: Command) -> None:
    """An operation that is older than its key must not be sent again; and Stripe's search lags behind."""
    client.answers |= {name: {"data": []} for name in ("list_customers", "list_tax_ids", "list_subscriptions")}
    await StripeOperations(client, PriceBook(client)).find_out(command, "bo_1")  # type: ignore[arg-type]
    assert client.written == []
    assert not [request.path for request in client.requests if "search" in request.path]


# --- bugs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("broken", "unknown"), [("list_prices", False), ("update_subscription", True)])
async def test_a_bug_says_whether_anything_was_sent(client: Recorder, broken: str, unknown: bool) -> None:
    """Before the first call that changes something, nothing can have happened; after it, that is not known."""
    client.broken = broken
    change = ItemChange(item_id=ItemId("si_1"), price=PriceChoice(lookup_key="pro_monthly"), quantity=1)
    command = ChangeItems(subscription_id=SUBSCRIPTION, changed=(change,))
    with pytest.raises(GatewayDefectError) as raised:
        await perform(client, command)
    assert raised.value.outcome_unknown is unknown
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


# --- prices -------------------------------------------------------------------------------------------------------


async def test_lookup_keys_are_looked_up_once_and_together(client: Recorder) -> None:
    """Ids need no look-up; what was found is kept for a while, since a key can move to another price."""
    now = [0.0]
    book = PriceBook(client, lifetime=timedelta(minutes=5), clock=lambda: now[0])  # type: ignore[arg-type]
    client.answers["list_prices"] = {"data": [{"id": f"price_{n}", "lookup_key": f"key_{n}"} for n in range(12)]}
    choices = [PriceChoice(lookup_key=f"key_{n}") for n in range(12)]
    ids = await book.ids([*choices, PRO])
    assert [ids[choice] for choice in (choices[3], PRO)] == ["price_3", "price_pro"]
    assert [len(request.params["lookup_keys"]) for request in client.requests] == [10, 2]
    await book.ids(choices)
    assert len(client.requests) == 2
    now[0] = 301
    await book.ids(choices[:1])
    assert len(client.requests) == 3


async def test_a_price_without_a_lookup_key_is_refused_before_anything_is_sent(client: Recorder) -> None:
    """The text names the key, for the operator who has to create the price."""
    unknown = attrs.evolve(started(), items=(NewItem(price=PriceChoice(lookup_key="team_monthly"), quantity=1),))
    with pytest.raises(GatewayInvalidRequestError, match="team_monthly") as refused:
        await perform(client, unknown)
    assert refused.value.parameter == "lookup_keys"
    assert client.written == []


# --- what is not trusted ------------------------------------------------------------------------------------------


async def test_a_pending_update_that_is_gone_voids_nothing(client: Recorder) -> None:
    """The latest invoice is another one then."""
    client.answers["fetch_subscription"] = {**SUBSCRIPTION_SHOWN, "pending_update": None}
    await perform(client, WithdrawPendingUpdate(subscription_id=SUBSCRIPTION))
    assert client.written == []


async def test_a_promotion_code_is_applied_once(client: Recorder) -> None:
    """A subscription that has it already is left alone."""
    discounts = [{"id": "di_1", "promotion_code": "promo_1"}]
    client.answers["fetch_subscription"] = {**SUBSCRIPTION_SHOWN, "discounts": discounts}
    await perform(client, ApplyPromotionCode(subscription_id=SUBSCRIPTION, promotion_code_id="promo_1"))
    assert client.written == []


@pytest.mark.parametrize("command", [CHECKOUT, started()], ids=["checkout", "start"])
async def test_nothing_is_started_beside_a_checkout_that_was_completed(
    client: Recorder, command: CreateCheckoutSession | StartSubscription
) -> None:
    """Two sessions would make two subscriptions."""
    client.refused = {"expire_checkout_session"}
    client.answers["fetch_checkout_session"] = {"id": "cs_1", "status": "complete"}
    with pytest.raises(GatewayInvalidRequestError, match="cs_1"):
        await perform(client, attrs.evolve(command, expire=("cs_1",)))
    assert [request.operation for request in client.written] == ["expire_checkout_session"]
    client.answers["fetch_checkout_session"] = {"id": "cs_1", "status": "expired"}
    await perform(client, attrs.evolve(command, expire=("cs_1",)))
    assert client.written[-1].operation in ("create_checkout_session", "create_subscription")


async def test_a_tax_id_that_cannot_be_one_counts_as_removed(client: Recorder) -> None:
    """Otherwise the operation could never end, and would hold up all others about the customer."""
    await perform(client, SetBillingContact(customer_id=CUSTOMER, remove_tax_ids=("", "DE123456789", "txi_1")))
    assert [request.ids for request in client.written] == [(CUSTOMER, "txi_1")]


async def test_a_portal_that_is_not_set_up_is_named(client: Recorder) -> None:
    """Stripe's refusal names no parameter."""
    client.refused = {"create_portal_session"}
    client.answers["list_portal_configurations"] = {"data": []}
    command = CreatePortalSession(customer_id=CUSTOMER, return_url="https://app.example")
    with pytest.raises(GatewayInvalidRequestError) as refused:
        await perform(client, command)
    assert refused.value.parameter == "configuration"
    client.answers["list_portal_configurations"] = {"data": [{"id": "bpc_1"}]}
    with pytest.raises(GatewayInvalidRequestError) as refused:
        await perform(client, command)
    assert refused.value.parameter is None


@pytest.mark.parametrize(
    ("command", "read"),
    [
        (PauseCollection(subscription_id=SUBSCRIPTION, behavior="void"), "fetch_subscription"),
        (PayInvoice(invoice_id=InvoiceId("in_1")), "fetch_invoice"),
    ],
)
class TestRepeatedAnswers:
    """Stripe repeats the answer to an earlier call: the object may have changed since."""

    @pytest.fixture
    def client(self) -> Recorder:
        client = Recorder()
        client.repeats = True
        client.answers["pay_invoice"] = INVOICE_SHOWN
        client.answers["fetch_invoice"] = {**INVOICE_SHOWN, "number": "A-2"}
        client.answers["fetch_subscription"] = {**SUBSCRIPTION_SHOWN, "status": "past_due"}
        return client

    async def test_the_object_is_read_again(self, client: Recorder, command: Command, read: str) -> None:
        """It is shown with the `Date` of the read; the result is the first one."""
        again = await perform(client, command)
        client.repeats = False
        first = await perform(client, command)
        assert [request.operation for request in client.requests].count(read) == 1
        assert first.snapshot is not None
        assert again.snapshot is not None
        assert again.snapshot != first.snapshot
        assert (again.result, again.answered_at) == (first.result, AT + timedelta(minutes=5))

    async def test_an_object_that_is_gone_is_not_shown(self, client: Recorder, command: Command, read: str) -> None:
        """The command was carried out all the same."""
        client.failures[read] = GatewayNotFoundError(read)
        again = await perform(client, command)
        assert (again.result.object_status is None, again.snapshot, again.answered_at) == (False, None, None)

    @pytest.mark.parametrize("error", [GatewayUnavailableError("503"), GatewayInvalidRequestError("400")])
    async def test_without_the_read_the_outcome_is_unknown(
        self, client: Recorder, command: Command, read: str, error: GatewayError
    ) -> None:
        """Nothing is undone, and the command is performed again later."""
        client.failures[read] = error
        with pytest.raises(type(error)) as raised:
            await perform(client, command)
        assert raised.value.outcome_unknown
        assert len(client.written) == 1


async def test_an_invoice_that_was_paid_in_the_meantime_is_paid(client: Recorder) -> None:
    """Stripe's own retries race with ours."""
    client.refused = {"pay_invoice"}
    client.answers["fetch_invoice"] = {"id": "in_1", "object": "invoice", "status": "paid"}
    result = (await perform(client, PayInvoice(invoice_id=InvoiceId("in_1")))).result
    assert (result.status, result.object_status) == ("done", "paid")
    client.answers["fetch_invoice"] = {"id": "in_1", "object": "invoice", "status": "open"}
    with pytest.raises(GatewayInvalidRequestError):
        await perform(client, PayInvoice(invoice_id=InvoiceId("in_1")))


async def test_a_tax_id_is_taken_back_if_the_contact_is_refused(client: Recorder) -> None:
    """The command as a whole has failed."""
    client.refused = {"update_customer"}
    command = SetBillingContact(
        customer_id=CUSTOMER, email="x", add_tax_ids=(TaxId(type="eu_vat", value="DE123456789"),)
    )
    with pytest.raises(GatewayInvalidRequestError):
        await perform(client, command)
    assert client.sent()[-1] == ("delete_tax_id", (CUSTOMER, "txi_9"), {})


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_default_that_cannot_be_set_everywhere_is_set_back(client: Recorder, attempt: int) -> None:
    """To what it was when it was decided: on a second attempt, after a crash, Stripe shows what the first one set."""
    shown = "pm_0" if attempt == 1 else "pm_1"
    client.answers["fetch_customer"] = {"id": CUSTOMER, "invoice_settings": {"default_payment_method": shown}}
    client.answers["fetch_subscription"] = {**SUBSCRIPTION_SHOWN, "default_payment_method": "pm_own"}
    first = attrs.evolve(OWN_DEFAULT, subscription_id=SubscriptionId("sub_0"))
    client.refused_ids = {SUBSCRIPTION}
    command = SetDefaultPaymentMethod(
        customer_id=CUSTOMER, payment_method_id="pm_1", former="pm_0", outranking=(first, OWN_DEFAULT)
    )
    with pytest.raises(GatewayInvalidRequestError) as refused:
        await perform(client, command)
    assert not refused.value.outcome_unknown
    assert client.sent()[3:] == [
        ("update_subscription", ("sub_0",), {"default_payment_method": "pm_own"}),
        ("update_customer", (CUSTOMER,), {"invoice_settings": {"default_payment_method": "pm_0"}}),
    ]


@pytest.mark.parametrize("attempt", [1, 2])
async def test_seats_are_set_back_if_their_change_cannot_be_scheduled_again(client: Recorder, attempt: int) -> None:
    """To what they were when it was decided: on a second attempt, Stripe shows what the first one set."""
    item = {"id": "si_1", "quantity": 5 if attempt == 1 else 6, "price": {"id": "price_1"}}
    client.answers["fetch_subscription"] = {**SUBSCRIPTION_SHOWN, "schedule": None, "items": {"data": [item]}}
    client.refused = {"create_schedule"}
    command = SetSeats(
        subscription_id=SUBSCRIPTION,
        item_id=ItemId("si_1"),
        quantity=6,
        former_quantity=5,
        reschedule=TO_SCHEDULE,
    )
    with pytest.raises(GatewayInvalidRequestError):
        await perform(client, command)
    operation, ids, params = client.sent()[-1]
    assert (operation, ids, params["items"]) == (
        "update_subscription",
        (SUBSCRIPTION,),
        [{"id": "si_1", "quantity": 5}],
    )


async def test_discounts_are_bounded(client: Recorder) -> None:
    """Stripe allows so many; a code that the subscription has is no further one."""
    discounts = [{"id": f"di_{number}", "promotion_code": f"promo_{number}"} for number in range(20)]
    client.answers["fetch_subscription"] = {**SUBSCRIPTION_SHOWN, "discounts": discounts}
    with pytest.raises(GatewayInvalidRequestError) as refused:
        await perform(client, ApplyPromotionCode(subscription_id=SUBSCRIPTION, promotion_code_id="promo_99"))
    assert refused.value.parameter == "discounts"
    await perform(client, ApplyPromotionCode(subscription_id=SUBSCRIPTION, promotion_code_id="promo_7"))
    assert client.written == []

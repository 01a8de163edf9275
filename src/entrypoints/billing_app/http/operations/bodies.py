"""The bodies of requests for operations, and how they are read: strictly, so that a misspelled field is an error."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError, transform_error

from billing_app.http.operations.problems import Problem
from billing_core.converters import decode
from billing_core.operations.commands import Address, Feedback, Proration, TaxId
from billing_core.operations.decisions.changing import When
from billing_core.operations.decisions.ending import CollectionPause, Scheduled
from billing_core.operations.payment_methods import PortalFlow
from billing_core.operations.subscriptions import Payment

B = TypeVar("B")

LONGEST_BODY: Final = 64 * 1024
"""Bytes. No request for an operation comes near it."""
LONGEST_TEXT: Final = 2000
"""Characters of a field."""
LONGEST_LIST: Final = 20
"""Members of a list: each is a call to the provider."""
_INT64: Final = 2**63


@attrs.frozen(kw_only=True)
class EmptyBody:
    """A request without choices. Its body is empty, or an empty object."""


@attrs.frozen(kw_only=True)
class PlanWanted:
    """A plan, and the terms on which it is wanted."""

    plan_code: str
    interval: str | None = None
    """`day`, `week`, `month` or `year`; needed where the plan has several."""
    interval_count: int | None = None
    currency: str | None = None
    seats: int | None = None
    addons: tuple[str, ...] = ()
    """Plan codes of add-ons."""
    """The fewest that the plan allows, if none are given."""
    trial: bool | None = None
    """True demands a trial, false declines one; by default the plan's, if the tenant had none yet."""
    promotion_code: str | None = None


@attrs.frozen(kw_only=True)
class StartBody(PlanWanted):
    """A subscription to start without a page of Stripe's."""

    payment: Payment = "confirm"
    """`confirm`: the browser confirms with the client secret. `on_file`, `off_session`: the saved method is charged."""
    email: str | None = attrs.field(default=None, repr=False)
    """Of the customer, if the tenant has none yet; so is the name."""
    name: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class ChangeWanted:
    """A change of plan, interval or seats. What is left out stays as it is."""

    plan_code: str | None = None
    interval: str | None = None
    interval_count: int | None = None
    currency: str | None = None
    seats: int | None = None
    when: When = "auto"
    """`auto`: at the end of the period if it costs less or is billed in shorter intervals, else now."""
    proration: Proration = "invoice_now"
    """`none` waives the difference in price: for operators only."""


@attrs.frozen(kw_only=True)
class ChangeBody(ChangeWanted):
    """A change to carry out."""

    preview_id: str | None = None
    """The preview that the customer confirmed: the change is refused if anything has moved since."""


@attrs.frozen(kw_only=True)
class SeatsWanted:
    """A number of seats, in absolute numbers."""

    seats: int
    proration: Proration = "next_invoice"
    """`none` waives the difference in price: for operators only."""


@attrs.frozen(kw_only=True)
class SeatsBody(SeatsWanted):
    """A number of seats to set."""

    preview_id: str | None = None


@attrs.frozen(kw_only=True)
class CancelBody:
    """An end, at once or with the period."""

    at: Literal["now", "period_end"] = "period_end"
    feedback: Feedback | None = None
    comment: str | None = None
    invoice_usage: bool = True
    """At once: whether metered usage until now is invoiced. Only operators may waive it."""
    credit_unused_time: bool = False
    """At once: whether the rest of the period is credited. For operators only."""


@attrs.frozen(kw_only=True)
class UndoBody:
    """The scheduled change to withdraw; without a kind, an end, a change of plan or an unpaid update, in this order."""

    kind: Scheduled | None = None


@attrs.frozen(kw_only=True)
class PauseBody:
    """A pause of a subscription and everything that it gives."""

    invoice_usage: bool = True
    """Only operators may waive it."""
    credit_unused_time: bool = True


@attrs.frozen(kw_only=True)
class ResumeBody:
    """The end of a pause."""

    period: Literal["new", "continued"] = "new"
    """Whether a new period begins, or the paused one goes on."""
    only_if_paid: bool = True


@attrs.frozen(kw_only=True)
class PauseCollectionBody:
    """A pause of payments; the subscription runs on."""

    behavior: CollectionPause = "keep_as_draft"
    resumes_at: datetime | None = None
    """Until collection is resumed, if no time is given."""


@attrs.frozen(kw_only=True)
class PromotionCodeBody:
    """A promotion code as the customer entered it."""

    code: str


@attrs.frozen(kw_only=True)
class CheckoutBody(PlanWanted):
    """A subscription to start on Stripe's page. It needs a `success_url`, or a `return_url` if the page is embedded."""

    success_url: str | None = None
    """May contain `{CHECKOUT_SESSION_ID}`."""
    cancel_url: str | None = None
    return_url: str | None = None
    allow_promotion_codes: bool = False
    payment_method: Literal["always", "if_required"] = "always"
    """Whether a payment method is collected where nothing is due yet."""
    automatic_tax: bool = False
    collect_tax_id: bool = False
    locale: str | None = None
    email: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class ConfirmBody:
    """The checkout that the customer came back from."""

    session_id: str


@attrs.frozen(kw_only=True)
class PortalBody:
    """A visit of Stripe's page on which a customer manages its billing."""

    return_url: str
    flow: PortalFlow | None = None
    """The page to open at once; the overview, if none is named."""
    subscription_id: str | None = None
    """Of a flow about a subscription."""


@attrs.frozen(kw_only=True)
class PayBody:
    """A retry of a payment."""

    payment_method_id: str | None = None
    """The default payment method, if none is named."""
    customer_present: bool = False
    """Whether the customer is there to confirm the payment."""


@attrs.frozen(kw_only=True)
class CreditBody:
    """Credit for metered usage."""

    amount: int
    """In the minor unit of the currency."""
    currency: str
    category: Literal["paid", "promotional"] = "promotional"
    expires_at: datetime | None = None
    name: str | None = None


@attrs.frozen(kw_only=True)
class ContactBody:
    """The receiver of invoices, and what is printed on them. What is left out stays; "" clears it."""

    email: str | None = attrs.field(default=None, repr=False)
    name: str | None = attrs.field(default=None, repr=False)
    phone: str | None = attrs.field(default=None, repr=False)
    address: Address | None = attrs.field(default=None, repr=False)
    """Replaces the whole address."""
    add_tax_ids: tuple[TaxId, ...] = ()
    remove_tax_ids: tuple[str, ...] = ()
    """Ids of tax ids (`txi_…`)."""


def read_body(raw: bytes, cls: type[B]) -> B:
    """Read the JSON of a body; an empty one has no fields. Raises Problem (400), naming every field at fault."""
    try:
        content = decode(raw) if raw else {}
    except ValueError:
        raise Problem(400, "bad_request", "The body is not JSON.") from None
    if not isinstance(content, dict):
        raise Problem(400, "bad_request", "The body must be a JSON object.")
    try:
        return _strict.structure(content, cls)
    except BaseValidationError as faults:
        detail = "; ".join(transform_error(faults, path="body", format_exception=_fault))
        raise Problem(400, "bad_request", f"{detail}.") from None


def _fault(exc: BaseException, kind: type | None) -> str:
    """Return a text for one field. It repeats no value: that may be a secret in the wrong place."""
    if isinstance(exc, KeyError):
        return "required field is missing"
    if isinstance(exc, ForbiddenExtraKeysError):
        return f"unknown fields {', '.join(sorted(field[:40] for field in exc.extra_fields))}"
    if isinstance(exc, _BadValueError):
        return str(exc)
    return "a value that cannot be used" if kind is None else f"not one of the allowed values of {_name(kind)}"


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)


class _BadValueError(ValueError):
    """A value of the wrong kind. Its text is for the caller."""


def _text(value: Any, _: object) -> str:
    if not isinstance(value, str):
        raise _BadValueError("not a text")
    if len(value) > LONGEST_TEXT:
        raise _BadValueError(f"longer than {LONGEST_TEXT} characters")
    if not value.isprintable():
        raise _BadValueError("characters that cannot be printed")
    return value


def _integer(value: Any, _: object) -> int:
    if type(value) is not int or not -_INT64 <= value < _INT64:
        raise _BadValueError("not a whole number")
    return value


def _number(value: Any, _: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise _BadValueError("not a number")
    return float(value)


def _boolean(value: Any, _: object) -> bool:
    if not isinstance(value, bool):
        raise _BadValueError("neither true nor false")
    return value


def _instant(value: Any, _: object) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _BadValueError("not a time in ISO 8601") from None
    if instant.tzinfo is None:
        raise _BadValueError("a time without a zone")
    return instant.astimezone(UTC)


def _list_hook(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    """Return the hook of a list, which takes nothing else: cattrs takes whatever can be iterated."""
    structure = converter.get_structure_hook(get_args(kind)[0])

    def read(value: Any, _: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _BadValueError("not a list")
        if len(value) > LONGEST_LIST:
            raise _BadValueError(f"more than {LONGEST_LIST} members")
        return tuple(structure(member, get_args(kind)[0]) for member in value)

    return read


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


_strict: Final = Converter(forbid_extra_keys=True)
_strict.register_structure_hook_factory(_is_list, _list_hook)
_strict.register_structure_hook(str, _text)
_strict.register_structure_hook(int, _integer)
_strict.register_structure_hook(float, _number)
_strict.register_structure_hook(bool, _boolean)
_strict.register_structure_hook(datetime, _instant)

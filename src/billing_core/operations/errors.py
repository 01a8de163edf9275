"""Errors of operations, each with a stable code and a text that a customer may read."""

from enum import Enum
from types import MappingProxyType
from typing import Final

import attrs

from billing_core.errors import BillingError


class Refusal(Enum):
    """The reasons for which we refuse an operation before the provider is asked. A closed set."""

    UNKNOWN_PLAN = "unknown_plan"
    NOT_AN_ADDON = "not_an_addon"
    UNKNOWN_PRICE = "unknown_price"
    PRICE_NOT_UNIQUE = "price_not_unique"
    ALREADY_SUBSCRIBED = "already_subscribed"
    NO_SUBSCRIPTION = "no_subscription"
    NO_CUSTOMER = "no_customer"
    NO_TRIAL = "no_trial"
    TRIAL_USED = "trial_used"
    NO_SEATS = "no_seats"
    SEATS_OUT_OF_BOUNDS = "seats_out_of_bounds"
    NOTHING_TO_CHANGE = "nothing_to_change"
    NOTHING_TO_UNDO = "nothing_to_undo"
    PREVIEW_OUTDATED = "preview_outdated"
    CANCELLATION_SCHEDULED = "cancellation_scheduled"
    CHANGE_PENDING = "change_pending"
    CHANGE_SCHEDULED = "change_scheduled"
    PAYMENT_PENDING = "payment_pending"
    NOT_PAUSABLE = "not_pausable"
    ALREADY_PAUSED = "already_paused"
    NOT_PAUSED = "not_paused"
    STATE_INCOMPLETE = "state_incomplete"
    UNKNOWN_INVOICE = "unknown_invoice"
    INVOICE_NOT_OPEN = "invoice_not_open"
    UNKNOWN_PAYMENT_METHOD = "unknown_payment_method"
    UNKNOWN_PROMOTION_CODE = "unknown_promotion_code"
    TOO_MANY_DISCOUNTS = "too_many_discounts"
    UNKNOWN_CHECKOUT = "unknown_checkout"
    PORTAL_NOT_CONFIGURED = "portal_not_configured"


REFUSAL_TEXTS: Final = MappingProxyType(
    {
        Refusal.UNKNOWN_PLAN: "There is no such plan.",
        Refusal.NOT_AN_ADDON: "This plan is no add-on. Start it by itself.",
        Refusal.UNKNOWN_PRICE: "The plan has no price for this interval and currency.",
        Refusal.PRICE_NOT_UNIQUE: "The plan has several prices. Name the interval and the currency.",
        Refusal.ALREADY_SUBSCRIBED: "There is a subscription already. Change its plan instead.",
        Refusal.NO_SUBSCRIPTION: "There is no such subscription, or it has ended.",
        Refusal.NO_CUSTOMER: "There is no billing account yet. Start a subscription first.",
        Refusal.NO_TRIAL: "The plan has no trial.",
        Refusal.TRIAL_USED: "The trial was used already. Start without one.",
        Refusal.NO_SEATS: "The plan has no seats.",
        Refusal.SEATS_OUT_OF_BOUNDS: "The plan does not allow this number of seats.",
        Refusal.NOTHING_TO_CHANGE: "The subscription is like this already.",
        Refusal.NOTHING_TO_UNDO: "No change is scheduled.",
        Refusal.PREVIEW_OUTDATED: "Something has changed since the preview. Look at a new one, then confirm it.",
        Refusal.CANCELLATION_SCHEDULED: "The subscription is going to end. Withdraw the cancellation first.",
        Refusal.CHANGE_PENDING: "An earlier change waits for its payment. Pay its invoice, or withdraw it first.",
        Refusal.CHANGE_SCHEDULED: "A change is scheduled. Withdraw it first.",
        Refusal.PAYMENT_PENDING: "A subscription waits for its first payment. Pay for it, or cancel it first.",
        Refusal.NOT_PAUSABLE: "The subscription cannot be paused.",
        Refusal.ALREADY_PAUSED: "The subscription is paused already.",
        Refusal.NOT_PAUSED: "The subscription is not paused.",
        Refusal.STATE_INCOMPLETE: "The subscription is still being loaded. Try again in a minute.",
        Refusal.UNKNOWN_INVOICE: "There is no such invoice.",
        Refusal.INVOICE_NOT_OPEN: "The invoice is not open, so it cannot be paid.",
        Refusal.UNKNOWN_PAYMENT_METHOD: "There is no such payment method.",
        Refusal.UNKNOWN_PROMOTION_CODE: "The promotion code is unknown or can no longer be used.",
        Refusal.TOO_MANY_DISCOUNTS: "The subscription has as many discounts as it can have.",
        Refusal.UNKNOWN_CHECKOUT: "There is no such checkout.",
        Refusal.PORTAL_NOT_CONFIGURED: "The billing portal is not set up yet. Contact support.",
    }
)


class OperationRefusedError(BillingError):
    """An operation that we refuse by what we know. Nothing was sent, and the request id stays free."""

    def __init__(self, refusal: Refusal, detail: str | None = None) -> None:
        """Refuse an operation.

        Args:
            refusal: the reason.
            detail: what a customer has to know beside it, such as the allowed numbers, as a sentence.
        """
        self.refusal = refusal
        self.code = refusal.value
        self.user_text = " ".join(text for text in (REFUSAL_TEXTS[refusal], detail) if text)
        super().__init__(self.user_text)
        self.retryable = refusal is Refusal.STATE_INCOMPLETE


class IdempotencyConflictError(BillingError):
    """The request id was used before, with other arguments. A new decision needs a new request id."""

    code = "idempotency_conflict"
    user_text = "The request was already made with other values. Start again."


class OperationInProgressError(BillingError):
    """Another operation about the same object is in progress, or this one is, in another process."""

    code, retryable = "conflict", True
    user_text = "Another change is in progress. Try again in a minute."


class LeaseLostError(BillingError):
    """An operation was taken over by another process while this one worked on it. Nothing was sent by this one."""

    code, retryable = "lease_lost", True
    user_text = "Another change is in progress. Try again in a minute."


@attrs.frozen(kw_only=True)
class OperationFailure:
    """The reason for which the provider refused a command, as it is stored."""

    code: str
    """Of the gateway's error."""
    user_text: str
    decline_code: str | None = None
    parameter: str | None = None
    request_id: str | None = None


GIVEN_UP: Final = OperationFailure(
    code="given_up",
    user_text="It is not known whether the request was carried out. Check what you have first.",
)
"""The answer to a request that an operator gave up."""


class OperationFailedError(BillingError):
    """The provider refused this very request before, or an operator gave it up: the stored answer.

    A new decision needs a new request id.
    """

    def __init__(self, failure: OperationFailure) -> None:
        self.failure = failure
        self.code = failure.code
        self.user_text = f"{failure.user_text} This request was answered before. Start a new one to try again."
        super().__init__(self.user_text)
        self.decline_code = failure.decline_code
        self.parameter = failure.parameter

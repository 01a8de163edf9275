"""The test cards: which payment methods Stripe offers for tests, and what happens when they are used.

Source: https://docs.stripe.com/testing
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from billing_stripe.testing.fake_stripe.errors import StripeError


@attrs.frozen(kw_only=True)
class TestCard:
    """One card for tests."""

    __test__ = False

    brand: str = "visa"
    last4: str = "4242"
    decline_code: str | None = None
    """The reason for which a charge is declined; None if it succeeds."""
    code: str = "card_declined"
    attaches: bool = True
    """False if the card cannot even be attached to a customer."""
    dispute: str | None = None
    """The status of the dispute that follows a payment; None if none does."""
    authentication: Literal["never", "unless_set_up", "always"] = "never"
    """When the customer has to authenticate: on every payment, or unless the card was set up for later payments."""


def _declined(last4: str, decline_code: str, code: str = "card_declined") -> TestCard:
    return TestCard(last4=last4, decline_code=decline_code, code=code, attaches=False)


BANK_ACCOUNTS: Final[Mapping[str, TestCard]] = {
    "sepa_debit": TestCard(last4="3201"),
    "sepa_debit_failing": TestCard(last4="3202", decline_code="generic_decline"),
}
"""Bank accounts by their behavior. The bank confirms or refuses a debit later."""

CARDS: Final[Mapping[str, TestCard]] = {
    **BANK_ACCOUNTS,
    "visa": TestCard(),
    "visa_debit": TestCard(last4="5556"),
    "mastercard": TestCard(brand="mastercard", last4="4444"),
    "mastercard_debit": TestCard(brand="mastercard", last4="8210"),
    "mastercard_prepaid": TestCard(brand="mastercard", last4="5100"),
    "amex": TestCard(brand="amex", last4="8431"),
    "discover": TestCard(brand="discover", last4="1117"),
    "diners": TestCard(brand="diners", last4="0004"),
    "jcb": TestCard(brand="jcb", last4="0505"),
    "unionpay": TestCard(brand="unionpay", last4="0005"),
    "us": TestCard(),
    "bypassPending": TestCard(last4="0077"),
    "createDispute": TestCard(last4="0259", dispute="needs_response"),
    "createDisputeInquiry": TestCard(last4="1976", dispute="warning_needs_response"),
    "refundFail": TestCard(last4="5126"),
    "pendingRefund": TestCard(last4="7726"),
    "chargeDeclined": _declined("0002", "generic_decline"),
    "visa_chargeDeclined": _declined("0002", "generic_decline"),
    "visa_chargeDeclinedInsufficientFunds": _declined("9995", "insufficient_funds"),
    "chargeDeclinedInsufficientFunds": _declined("9995", "insufficient_funds"),
    "visa_chargeDeclinedLostCard": _declined("9987", "lost_card"),
    "visa_chargeDeclinedStolenCard": _declined("9979", "stolen_card"),
    "chargeDeclinedExpiredCard": _declined("0069", "expired_card", "expired_card"),
    "chargeDeclinedIncorrectCvc": _declined("0127", "incorrect_cvc", "incorrect_cvc"),
    "chargeDeclinedProcessingError": _declined("0119", "processing_error", "processing_error"),
    "chargeDeclinedFraudulent": _declined("0019", "fraudulent"),
    "visa_chargeDeclinedVelocityLimitExceeded": _declined("6975", "card_velocity_exceeded"),
    "chargeCustomerFail": TestCard(last4="0341", decline_code="generic_decline"),
    "authenticationRequired": TestCard(last4="3184", authentication="always"),
    "authenticationRequiredOnSetup": TestCard(last4="3155", authentication="unless_set_up"),
    "authenticationRequiredSetupForOffSession": TestCard(last4="3155", authentication="unless_set_up"),
    "authenticationRequiredChargeDeclinedInsufficientFunds": TestCard(
        last4="8260", authentication="always", decline_code="insufficient_funds"
    ),
    "threeDSecure2Required": TestCard(last4="3220", authentication="always"),
    "threeDSecureOptional": TestCard(last4="3055"),
}
"""Cards by the rest of their names, such as `pm_card_visa` and `tok_visa`, and bank accounts."""

_FAILING_ACCOUNTS: Final = frozenset({"AT861904300235473202", "IT60X0542811101000000123456"})
_NUMBERS: Final = {
    "4242424242424242": "visa",
    "4000056655665556": "visa_debit",
    "5555555555554444": "mastercard",
    "378282246310005": "amex",
    "4000000000000002": "chargeDeclined",
    "4000000000009995": "chargeDeclinedInsufficientFunds",
    "4000000000000069": "chargeDeclinedExpiredCard",
    "4000000000000127": "chargeDeclinedIncorrectCvc",
    "4000000000000119": "chargeDeclinedProcessingError",
    "4000000000000341": "chargeCustomerFail",
    "4000002760003184": "authenticationRequired",
    "4000002500003155": "authenticationRequiredOnSetup",
    "4000008260003178": "authenticationRequiredChargeDeclinedInsufficientFunds",
    "4000000000003220": "threeDSecure2Required",
    "4000000000000259": "createDispute",
}
_MESSAGES: Final = {
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


def named(name: str) -> str | None:
    """Return the name in the table of a test payment method, token or number; None if there is none."""
    for prefix in ("pm_card_", "tok_"):
        rest = name.removeprefix(prefix)
        if rest != name and rest in CARDS and rest not in BANK_ACCOUNTS:
            return rest
    return _NUMBERS.get(name.replace(" ", ""))


def bank_account(iban: str) -> str:
    """Return the name of the bank account with this number."""
    return "sepa_debit_failing" if iban.replace(" ", "") in _FAILING_ACCOUNTS else "sepa_debit"


def declined(card: TestCard, **more: Any) -> StripeError:
    """Return the error of a declined card. What was done before it stays, such as the attempt of the payment."""
    return _card_error(card.code, card.decline_code, **more)


def needs_authentication(**more: Any) -> StripeError:
    """Return the error of a payment without the customer that needs the customer."""
    return _card_error("authentication_required", "authentication_required", **more)


def message_of(decline_code: str | None) -> str:
    """Return the text of a decline."""
    return _MESSAGES.get(decline_code or "", "Your card was declined.")


def _card_error(code: str, decline_code: str | None, **more: Any) -> StripeError:
    return StripeError(
        402,
        message_of(decline_code),
        type="card_error",
        code=code,
        decline_code=decline_code if code in ("card_declined", "authentication_required") else None,
        committed=True,
        **more,
    )

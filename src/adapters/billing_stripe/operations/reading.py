"""Reading from Stripe what is not part of a tenant's state."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from billing_core.errors import GatewayNotFoundError
from billing_core.model import CustomerId, InvoiceId, SubscriptionSnapshot, TenantId
from billing_core.operations.results import (
    BillingContact,
    Checkout,
    CreditBalance,
    CreditGrant,
    CustomerPaymentMethod,
    PromotionCode,
    StoredTaxId,
)
from billing_stripe.client import Json, StripeClient, StripeRequest, is_id
from billing_stripe.operations.answers import instant_in, reference_in, rows_in, subscription_in, text_in

_PAGE = 100
"""Stripe's maximum."""


class StripeBillingReader:
    """A `BillingReader`."""

    def __init__(self, client: StripeClient) -> None:
        self._client = client

    async def payment_methods(self, customer_id: CustomerId) -> Sequence[CustomerPaymentMethod]:
        """See BillingReader."""
        customer = await self._customer(customer_id)
        if customer is None:
            return ()
        default = reference_in(customer.get("invoice_settings") or {}, "default_payment_method")
        rows = [row async for row in self._client.each("list_payment_methods", params={"customer": customer_id})]
        methods = [_payment_method(row, default) for row in rows]
        return tuple(sorted(methods, key=lambda method: not method.default))

    async def billing_contact(self, customer_id: CustomerId) -> BillingContact | None:
        """See BillingReader."""
        customer = await self._customer(customer_id)
        if customer is None:
            return None
        tax_ids = tuple([_tax_id(row) async for row in self._client.each("list_tax_ids", customer_id)])
        return BillingContact(
            email=text_in(customer, "email"),
            name=text_in(customer, "name"),
            phone=text_in(customer, "phone"),
            address=customer.get("address"),
            tax_ids=tax_ids,
        )

    async def credit_balance(self, customer_id: CustomerId, currency: str) -> CreditBalance:
        """See BillingReader. The first page of grants is read; Stripe lists the newest first."""
        if not is_id("customer", customer_id):
            return CreditBalance(available=0, currency=currency)
        filter_ = {"type": "applicability_scope", "applicability_scope": {"price_type": "metered"}}
        summary = await self._client.get("fetch_credit_balance", params={"customer": customer_id, "filter": filter_})
        listed = await self._client.get("list_credit_grants", params={"customer": customer_id, "limit": _PAGE})
        balances = [_monetary(row.get("available_balance") or {}) for row in rows_in(summary or {}, "balances")]
        grants = [_grant(row) for row in rows_in(listed or {})]
        return CreditBalance(
            available=sum(value for value, unit in balances if unit == currency),
            currency=currency,
            grants=tuple(grant for grant in grants if grant.currency == currency),
        )

    async def promotion_code(self, code: str, customer_id: CustomerId | None) -> PromotionCode | None:
        """See BillingReader. Of several codes that read alike, which happens once the older are over, a usable one."""
        if not code:
            return None
        params = {"code": code, "limit": _PAGE, "expand": ["data.promotion.coupon"]}
        listed = await self._client.get("list_promotion_codes", params=params)
        codes = [_promotion_code(row, customer_id) for row in rows_in(listed or {})]
        return max(codes, key=lambda found: found.usable, default=None)

    async def open_checkout_sessions(self, customer_id: CustomerId, tenant_id: TenantId) -> Sequence[str]:
        """See BillingReader."""
        if not is_id("customer", customer_id):
            return ()
        params = {"customer": customer_id, "status": "open"}
        rows = self._client.each("list_checkout_sessions", params=params)
        own = (None, tenant_id)
        return tuple(
            [
                str(row["id"])
                async for row in rows
                if row.get("mode") == "subscription" and text_in(row.get("metadata") or {}, "tenant_id") in own
            ]
        )

    async def subscriptions_of(self, customer_id: CustomerId, tenant_id: TenantId) -> Sequence[SubscriptionSnapshot]:
        """See BillingReader."""
        if not is_id("customer", customer_id):
            return ()
        rows = self._client.each("list_subscriptions", params={"customer": customer_id, "status": "all"})
        own = (None, tenant_id)
        found = [subscription_in(row) async for row in rows if text_in(row.get("metadata") or {}, "tenant_id") in own]
        return tuple(each for each in found if each is not None)

    async def checkout(self, session_id: str) -> Checkout | None:
        """See BillingReader."""
        if not is_id("session", session_id):
            return None
        expanded = {"expand": ["subscription", "subscription.schedule"]}
        request = StripeRequest(operation="fetch_checkout_session", ids=(session_id,), params=expanded)
        try:
            answer = await self._client.call(request)
        except GatewayNotFoundError:
            return None
        shown, tenant = answer.data, text_in(answer.data.get("metadata") or {}, "tenant_id")
        customer, subscription = reference_in(shown, "customer"), shown.get("subscription")
        return Checkout(
            session_id=session_id,
            status=shown["status"],
            tenant_id=None if tenant is None else TenantId(tenant),
            customer_id=None if customer is None else CustomerId(customer),
            subscription=subscription_in(subscription) if isinstance(subscription, Mapping) else None,
            answered_at=answer.answered_at,
        )

    async def invoice_pdf(self, invoice_id: InvoiceId) -> str | None:
        """See BillingReader."""
        if not is_id("invoice", invoice_id):
            return None
        shown = await self._client.get("fetch_invoice", invoice_id)
        return None if shown is None else text_in(shown, "invoice_pdf")

    async def _customer(self, customer_id: CustomerId) -> Json | None:
        if not is_id("customer", customer_id):
            return None
        shown = await self._client.get("fetch_customer", customer_id)
        return None if shown is None or shown.get("deleted") else shown


def _payment_method(row: Json, default: str | None) -> CustomerPaymentMethod:
    """Read a payment method. What is known of it stands in a field of the type's name."""
    kind = str(row.get("type"))
    details = row.get(kind) or {}
    return CustomerPaymentMethod(
        payment_method_id=str(row["id"]),
        type=kind,
        brand=text_in(details, "brand"),
        last4=text_in(details, "last4"),
        exp_month=details.get("exp_month"),
        exp_year=details.get("exp_year"),
        default=row["id"] == default,
    )


def _tax_id(row: Json) -> StoredTaxId:
    return StoredTaxId(
        tax_id=str(row["id"]),
        type=str(row.get("type")),
        value=str(row.get("value")),
        verification=text_in(row.get("verification") or {}, "status"),
    )


def _grant(row: Json) -> CreditGrant:
    value, currency = _monetary(row.get("amount") or {})
    return CreditGrant(
        grant_id=str(row["id"]),
        amount=value,
        currency=currency,
        category=str(row.get("category")),
        name=text_in(row, "name"),
        expires_at=instant_in(row, "expires_at"),
        voided=row.get("voided_at") is not None,
    )


def _monetary(amount: Json) -> tuple[int, str]:
    shown = amount.get("monetary") or {}
    return shown.get("value") or 0, str(shown.get("currency"))


def _promotion_code(row: Json, customer_id: CustomerId | None) -> PromotionCode:
    """Read a promotion code. Its coupon stood at the top until 2025-09, and stands in `promotion` since."""
    coupon = row.get("coupon") or (row.get("promotion") or {}).get("coupon") or {}
    owner = reference_in(row, "customer")
    return PromotionCode(
        promotion_code_id=str(row["id"]),
        code=str(row.get("code")),
        percent_off=coupon.get("percent_off"),
        amount_off=coupon.get("amount_off"),
        currency=text_in(coupon, "currency"),
        duration=str(coupon.get("duration")),
        duration_in_months=coupon.get("duration_in_months"),
        usable=_is_usable(row, coupon) and owner in (None, customer_id),
    )


def _is_usable(row: Json, coupon: Json) -> bool:
    expires_at = instant_in(row, "expires_at")
    used, most = row.get("times_redeemed") or 0, row.get("max_redemptions")
    return (
        bool(row.get("active"))
        and coupon.get("valid", True)
        and (expires_at is None or expires_at > datetime.now(UTC))
        and (most is None or used < most)
    )

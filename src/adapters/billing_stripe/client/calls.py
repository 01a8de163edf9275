"""The closed set of calls that we make, by our name for them: the label of metrics, logs and errors."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import attrs

from billing_stripe.client.ids import check_id

Method = Literal["get", "post", "delete"]

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


@attrs.frozen
class Endpoint:
    """One endpoint of Stripe's API. All objects of one kind share it, and with it a rate limit."""

    method: Method
    template: str
    """The path, with the kind of each id in braces."""
    reads: bool = False
    """Whether the call changes nothing; without asking, every GET."""

    def __attrs_post_init__(self) -> None:
        if self.method == "get":
            object.__setattr__(self, "reads", True)

    @property
    def name(self) -> str:
        """The endpoint in the form `GET /v1/subscriptions/{subscription}`."""
        return f"{self.method.upper()} {self.template}"

    def path(self, ids: Sequence[str]) -> str:
        """Return the path with these ids, in order. Raises ValueError if one is missing, of another kind, or too many.

        Ids of the right form need no quoting.
        """
        kinds = _PLACEHOLDER.findall(self.template)
        if len(kinds) != len(ids):
            raise ValueError(f"{self.name} takes {len(kinds)} ids, not {len(ids)}")
        path = self.template
        for kind, each in zip(kinds, ids, strict=True):
            path = path.replace(f"{{{kind}}}", check_id(kind, each, where=self.name), 1)
        return path


CALLS: Final[Mapping[str, Endpoint]] = {
    # customers
    "create_customer": Endpoint("post", "/v1/customers"),
    "fetch_customer": Endpoint("get", "/v1/customers/{customer}"),
    "list_customers": Endpoint("get", "/v1/customers"),
    "update_customer": Endpoint("post", "/v1/customers/{customer}"),
    "create_tax_id": Endpoint("post", "/v1/customers/{customer}/tax_ids"),
    "delete_tax_id": Endpoint("delete", "/v1/customers/{customer}/tax_ids/{tax_id}"),
    "list_tax_ids": Endpoint("get", "/v1/customers/{customer}/tax_ids"),
    "fetch_entitlements": Endpoint("get", "/v1/entitlements/active_entitlements"),
    # subscriptions
    "create_subscription": Endpoint("post", "/v1/subscriptions"),
    "fetch_subscription": Endpoint("get", "/v1/subscriptions/{subscription}"),
    "fetch_subscription_items": Endpoint("get", "/v1/subscription_items"),
    "list_subscriptions": Endpoint("get", "/v1/subscriptions"),
    "update_subscription": Endpoint("post", "/v1/subscriptions/{subscription}"),
    "cancel_subscription": Endpoint("delete", "/v1/subscriptions/{subscription}"),
    "pause_subscription": Endpoint("post", "/v1/subscriptions/{subscription}/pause"),
    "resume_subscription": Endpoint("post", "/v1/subscriptions/{subscription}/resume"),
    # schedules
    "create_schedule": Endpoint("post", "/v1/subscription_schedules"),
    "fetch_schedule": Endpoint("get", "/v1/subscription_schedules/{schedule}"),
    "list_schedules": Endpoint("get", "/v1/subscription_schedules"),
    "update_schedule": Endpoint("post", "/v1/subscription_schedules/{schedule}"),
    "release_schedule": Endpoint("post", "/v1/subscription_schedules/{schedule}/release"),
    # invoices
    "fetch_invoice": Endpoint("get", "/v1/invoices/{invoice}"),
    "fetch_invoice_lines": Endpoint("get", "/v1/invoices/{invoice}/lines"),
    "list_invoices": Endpoint("get", "/v1/invoices"),
    "list_invoice_payments": Endpoint("get", "/v1/invoice_payments"),
    "pay_invoice": Endpoint("post", "/v1/invoices/{invoice}/pay"),
    "void_invoice": Endpoint("post", "/v1/invoices/{invoice}/void"),
    "preview_invoice": Endpoint("post", "/v1/invoices/create_preview", reads=True),
    # checkout and portal
    "create_checkout_session": Endpoint("post", "/v1/checkout/sessions"),
    "expire_checkout_session": Endpoint("post", "/v1/checkout/sessions/{session}/expire"),
    "fetch_checkout_session": Endpoint("get", "/v1/checkout/sessions/{session}"),
    "list_checkout_sessions": Endpoint("get", "/v1/checkout/sessions"),
    "create_portal_configuration": Endpoint("post", "/v1/billing_portal/configurations"),
    "list_portal_configurations": Endpoint("get", "/v1/billing_portal/configurations"),
    "create_portal_session": Endpoint("post", "/v1/billing_portal/sessions"),
    "update_portal_configuration": Endpoint("post", "/v1/billing_portal/configurations/{configuration}"),
    # payment methods
    "create_setup_intent": Endpoint("post", "/v1/setup_intents"),
    "fetch_setup_intent": Endpoint("get", "/v1/setup_intents/{setup_intent}"),
    "list_setup_intents": Endpoint("get", "/v1/setup_intents"),
    "detach_payment_method": Endpoint("post", "/v1/payment_methods/{payment_method}/detach"),
    "fetch_payment_method": Endpoint("get", "/v1/payment_methods/{payment_method}"),
    "list_payment_methods": Endpoint("get", "/v1/payment_methods"),
    # credits and codes
    "create_credit_grant": Endpoint("post", "/v1/billing/credit_grants"),
    "fetch_credit_grant": Endpoint("get", "/v1/billing/credit_grants/{credit_grant}"),
    "fetch_credit_balance": Endpoint("get", "/v1/billing/credit_balance_summary"),
    "list_credit_grants": Endpoint("get", "/v1/billing/credit_grants"),
    "list_promotion_codes": Endpoint("get", "/v1/promotion_codes"),
    # catalog
    "create_price": Endpoint("post", "/v1/prices"),
    "fetch_price": Endpoint("get", "/v1/prices/{price}"),
    "list_prices": Endpoint("get", "/v1/prices"),
    "update_price": Endpoint("post", "/v1/prices/{price}"),
    "create_product": Endpoint("post", "/v1/products"),
    "list_products": Endpoint("get", "/v1/products"),
    "update_product": Endpoint("post", "/v1/products/{product}"),
    "attach_feature": Endpoint("post", "/v1/products/{product}/features"),
    "list_product_features": Endpoint("get", "/v1/products/{product}/features"),
    "create_feature": Endpoint("post", "/v1/entitlements/features"),
    "list_features": Endpoint("get", "/v1/entitlements/features"),
    "update_feature": Endpoint("post", "/v1/entitlements/features/{feature}"),
    "create_meter": Endpoint("post", "/v1/billing/meters"),
    "list_meters": Endpoint("get", "/v1/billing/meters"),
    "reactivate_meter": Endpoint("post", "/v1/billing/meters/{meter}/reactivate"),
    # the account and its webhooks
    "fetch_account": Endpoint("get", "/v1/account"),
    "create_webhook_endpoint": Endpoint("post", "/v1/webhook_endpoints"),
    "list_event_destinations": Endpoint("get", "/v2/core/event_destinations"),
    "list_webhook_endpoints": Endpoint("get", "/v1/webhook_endpoints"),
    "update_webhook_endpoint": Endpoint("post", "/v1/webhook_endpoints/{webhook_endpoint}"),
    # events
    "fetch_event": Endpoint("get", "/v2/core/events/{event}"),
    "fetch_snapshot_event": Endpoint("get", "/v1/events/{event}"),
    "list_events": Endpoint("get", "/v1/events"),
}

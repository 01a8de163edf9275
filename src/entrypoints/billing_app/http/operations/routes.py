"""The routes of operations: /api/v1/billing/plans and /api/v1/billing/tenants/{tenant_id}/…"""

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from billing_app.http.operations import bodies, handlers
from billing_app.http.operations.answers import LinkAnswer, PaymentMethodsAnswer, PlansAnswer, UpcomingAnswer
from billing_app.http.operations.calling import OperationRoute
from billing_core.operations.checkouts import ConfirmedCheckout
from billing_core.operations.previews import ChangePreview
from billing_core.operations.results import BillingContact, CommandPreview, CreditBalance, PromotionCode

BASE: Final = "/api/v1/billing"
TENANT: Final = f"{BASE}/tenants/{{tenant_id}}"
_ONE: Final = f"{TENANT}/subscriptions/{{subscription_id}}"
_METHOD: Final = f"{TENANT}/payment-methods/{{payment_method_id}}"


def routes() -> Iterable[web.RouteDef]:
    """Return the routes for the application."""
    return [web.route(route.method, _pattern(route.path), route.serve) for route in ROUTES]


def _pattern(path: str) -> str:
    return path.replace("}", ":[^/]+}")  # aiohttp's default pattern excludes braces


ROUTES: Final[tuple[OperationRoute, ...]] = (
    OperationRoute(
        method="GET",
        path=f"{BASE}/plans",
        operation_id="listPlans",
        summary="The plans that are sold, with prices and features.",
        handle=handlers.list_plans,
        access="read",
        answer=PlansAnswer,
    ),
    OperationRoute(
        path=f"{TENANT}/subscriptions/preview",
        operation_id="previewStart",
        summary="What a new subscription would cost. The tenant needs a customer.",
        handle=handlers.preview_start,
        body=bodies.PlanWanted,
        answer=CommandPreview,
        preview=True,
    ),
    OperationRoute(
        path=f"{TENANT}/subscriptions",
        operation_id="startSubscription",
        summary="Start a subscription.",
        handle=handlers.start,
        body=bodies.StartBody,
    ),
    OperationRoute(
        method="GET",
        path=f"{_ONE}/upcoming-invoice",
        operation_id="readUpcomingInvoice",
        summary="The next invoice as things stand, with metered usage so far.",
        handle=handlers.upcoming_invoice,
        access="read",
        answer=UpcomingAnswer,
    ),
    OperationRoute(
        path=f"{_ONE}/change/preview",
        operation_id="previewChange",
        summary="What another plan, interval or number of seats would cost, with an id to confirm it by.",
        handle=handlers.preview_change,
        body=bodies.ChangeWanted,
        answer=ChangePreview,
        preview=True,
    ),
    OperationRoute(
        path=f"{_ONE}/change",
        operation_id="changeSubscription",
        summary="Change plan, interval or seats: now, or at the end of the period.",
        handle=handlers.change_plan,
        body=bodies.ChangeBody,
    ),
    OperationRoute(
        path=f"{_ONE}/seats/preview",
        operation_id="previewSeats",
        summary="What another number of seats would cost.",
        handle=handlers.preview_seats,
        body=bodies.SeatsWanted,
        answer=ChangePreview,
        preview=True,
    ),
    OperationRoute(
        path=f"{_ONE}/seats",
        operation_id="setSeats",
        summary="Set the number of seats.",
        handle=handlers.set_seats,
        body=bodies.SeatsBody,
    ),
    OperationRoute(
        path=f"{_ONE}/cancel",
        operation_id="cancelSubscription",
        summary="End it at once or with the period.",
        handle=handlers.cancel,
        body=bodies.CancelBody,
    ),
    OperationRoute(
        path=f"{_ONE}/undo",
        operation_id="undoScheduledChange",
        summary="Withdraw what is scheduled.",
        handle=handlers.undo,
        body=bodies.UndoBody,
    ),
    OperationRoute(
        path=f"{_ONE}/pause",
        operation_id="pauseSubscription",
        summary="Pause it, and everything that it gives.",
        handle=handlers.pause,
        body=bodies.PauseBody,
    ),
    OperationRoute(
        path=f"{_ONE}/resume",
        operation_id="resumeSubscription",
        summary="End a pause.",
        handle=handlers.resume,
        body=bodies.ResumeBody,
    ),
    OperationRoute(
        path=f"{_ONE}/pause-collection",
        operation_id="pauseCollection",
        summary="Stop collecting payments; the subscription runs on. For operators only.",
        access="operate",
        handle=handlers.pause_collection,
        body=bodies.PauseCollectionBody,
    ),
    OperationRoute(
        path=f"{_ONE}/resume-collection",
        operation_id="resumeCollection",
        summary="Collect payments again.",
        handle=handlers.resume_collection,
        body=bodies.EmptyBody,
    ),
    OperationRoute(
        path=f"{_ONE}/promotion-code",
        operation_id="applyPromotionCode",
        summary="Apply a promotion code to a subscription.",
        handle=handlers.apply_promotion_code,
        body=bodies.PromotionCodeBody,
    ),
    OperationRoute(
        path=f"{TENANT}/checkout",
        operation_id="createCheckout",
        summary="Open Stripe's page on which a subscription is started. An earlier open one is closed.",
        handle=handlers.create_checkout,
        body=bodies.CheckoutBody,
    ),
    OperationRoute(
        path=f"{TENANT}/checkout/confirm",
        operation_id="confirmCheckout",
        summary="Show the subscription of a checkout that the customer came back from. May be repeated.",
        handle=handlers.confirm_checkout,
        body=bodies.ConfirmBody,
        answer=ConfirmedCheckout,
        preview=True,
    ),
    OperationRoute(
        path=f"{TENANT}/checkout/{{session_id}}/expire",
        operation_id="expireCheckout",
        summary="Close an open checkout.",
        handle=handlers.expire_checkout,
        body=bodies.EmptyBody,
    ),
    OperationRoute(
        path=f"{TENANT}/portal",
        operation_id="openPortal",
        summary="Open Stripe's page on which a customer manages its billing.",
        handle=handlers.open_portal,
        body=bodies.PortalBody,
    ),
    OperationRoute(
        method="GET",
        path=f"{TENANT}/payment-methods",
        operation_id="listPaymentMethods",
        summary="The saved payment methods.",
        handle=handlers.list_payment_methods,
        access="read",
        answer=PaymentMethodsAnswer,
    ),
    OperationRoute(
        path=f"{TENANT}/setup-intent",
        operation_id="createSetupIntent",
        summary="Prepare that the browser adds a payment method.",
        handle=handlers.create_setup_intent,
        body=bodies.EmptyBody,
    ),
    OperationRoute(
        path=f"{_METHOD}/default",
        operation_id="setDefaultPaymentMethod",
        summary="Charge a method from now on.",
        handle=handlers.set_default,
        body=bodies.EmptyBody,
    ),
    OperationRoute(
        method="DELETE",
        path=_METHOD,
        operation_id="detachPaymentMethod",
        summary="Remove a payment method for good.",
        handle=handlers.detach,
    ),
    OperationRoute(
        method="GET",
        path=f"{TENANT}/invoices/{{invoice_id}}/pdf",
        operation_id="readInvoicePdf",
        summary="A link to the PDF.",
        handle=handlers.invoice_pdf,
        access="read",
        answer=LinkAnswer,
    ),
    OperationRoute(
        path=f"{TENANT}/invoices/{{invoice_id}}/pay",
        operation_id="payInvoice",
        summary="Try a payment again.",
        handle=handlers.pay_invoice,
        body=bodies.PayBody,
    ),
    OperationRoute(
        method="GET",
        path=f"{TENANT}/credit",
        operation_id="readCredit",
        summary="The credit for metered usage, in one currency.",
        handle=handlers.credit_balance,
        access="read",
        answer=CreditBalance,
        query=("currency",),
    ),
    OperationRoute(
        path=f"{TENANT}/credit",
        operation_id="giveCredit",
        summary="Give credit for metered usage. For operators only.",
        access="operate",
        handle=handlers.give_credit,
        body=bodies.CreditBody,
    ),
    OperationRoute(
        method="GET",
        path=f"{TENANT}/promotion-codes/{{code}}",
        operation_id="readPromotionCode",
        summary="The discount that a promotion code gives.",
        handle=handlers.promotion_code,
        access="read",
        answer=PromotionCode,
    ),
    OperationRoute(
        method="GET",
        path=f"{TENANT}/billing-contact",
        operation_id="readBillingContact",
        summary="The receiver of invoices.",
        handle=handlers.contact,
        access="read",
        answer=BillingContact,
    ),
    OperationRoute(
        path=f"{TENANT}/billing-contact",
        operation_id="setBillingContact",
        summary="Set who receives invoices and what is printed on them.",
        handle=handlers.set_contact,
        body=bodies.ContactBody,
    ),
)

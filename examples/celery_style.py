"""Billing in synchronous code: tasks of Celery, WSGI applications, scripts. Try it: python celery_style.py acme

With Celery, put @app.task above each function: every child process opens billing at its first call.
"""

import sys

from billing_app import open_billing_sync
from billing_core import BillingEventPayload

billing = open_billing_sync(application_name="shop-tasks")


@billing.on("subscription.*", consumer="accounting")
def book(message: BillingEventPayload) -> None:
    """Runs in the process that `python celery_style.py worker` starts."""
    print(f"book for {message.tenant_id}: {message.summary}", flush=True)


def nightly_export(tenant_id: str) -> str:
    verdict = billing.allows(tenant_id, "exports")
    return f"exported {tenant_id}" if verdict else f"not exported: {verdict.reason.value}"


def describe(tenant_id: str) -> str:
    state = billing.state(tenant_id)
    plans = ", ".join(f"{each.plan_code} ({each.status})" for each in state.subscriptions) or "no plan"
    return f"{tenant_id}: {plans}, access {state.access.state}, {state.sequence} messages"


def send_to_checkout(tenant_id: str) -> str:
    page = billing.operations.start_checkout(tenant_id, "pro", success_url="https://shop.example/billing")
    return page.result.url or ""


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        billing.run_worker()
    else:
        for tenant in sys.argv[1:]:
            print(describe(tenant), nightly_export(tenant), sep="\n")

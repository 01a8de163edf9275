"""A customer who changes a subscription through the API while everything else happens: each operation once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp

from billing_demo.catalog import BUSINESS, PLANS, TEAM, DemoPlan
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import DeliveryPolicy, FakeStripe, fake_stripe

GIVE_UP_AFTER: Final = 60.0
"""Seconds in which an operation has to succeed: longer than a restart of the server takes."""
_PAUSE: Final = 0.25
_DELIVERY: Final = DeliveryPolicy(copies=2, parallel=4, waits=(timedelta(seconds=0.5),) * 60)
"""Retries for half a minute: the server may be restarting."""
_TRY_AGAIN: Final = frozenset({409, 500, 502, 503})


class OperationFailedError(Exception):
    """An operation was refused for good; the text is the server's."""


@asynccontextmanager
async def open_stripe(secret_key: str) -> AsyncIterator[FakeStripe]:
    """Run a fake Stripe that sells the plans of the demo, and delivers as Stripe does: twice, and out of order."""
    async with fake_stripe(secret_key=secret_key, delivery=_DELIVERY) as fake:
        for plan in PLANS:
            for price in _prices(plan):
                fake.put(objects.Product(product_id=price.product_id, name=price.nickname or price.product_id), price)
        yield fake


def _prices(plan: DemoPlan) -> list[objects.Price]:
    return [*plan.base.values(), *([plan.seat] if plan.seat else []), *plan.metered.values()]


class DemoCustomer:
    """Starts with the team plan, buys seats, upgrades, cancels and stays."""

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession,
        base_url: str,
        tenant_id: str,
        token: Callable[[str], str],
        stripe: FakeStripe,
    ) -> None:
        self.tenant_id = tenant_id
        self.operations = 0
        """Operations that were carried out."""
        self._session = session
        self._base = f"{base_url}/api/v1/billing/tenants/{tenant_id}"
        self._token = token
        self._stripe = stripe
        self._differences: list[str] = []

    async def visit(self) -> None:
        """Do everything; a failure becomes a difference."""
        try:
            await self._visit()
        except (OperationFailedError, TimeoutError) as failed:
            self._differences.append(f"{self.tenant_id} operation {self.operations + 1}: {failed or 'out of time'}")

    async def _visit(self) -> None:
        await self._ask("setup-intent")
        await self._ask(f"payment-methods/{await self._save_card()}/default")
        started = await self._ask("subscriptions", plan_code=TEAM.code, seats=3, payment="on_file")
        one = f"subscriptions/{started['object_id']}"
        await self._ask(f"{one}/seats", seats=5)
        upgrade = {"plan_code": BUSINESS.code, "when": "now"}
        preview = await self._ask(f"{one}/change/preview", **upgrade)
        await self._ask(f"{one}/change", **upgrade, preview_id=preview["preview_id"])
        await self._ask(f"{one}/cancel", feedback="too_expensive")
        await self._ask(f"{one}/undo")

    async def differences(self) -> list[str]:
        """Return what the tenant sees otherwise than Stripe has it; wait for the last webhook."""
        await self._stripe.delivered()
        if self._differences:
            return self._differences
        seen = (await self._read(f"{self._base}/subscriptions"))["subscriptions"]
        have = [
            (each["subscription_id"], each["status"], each["plan_code"], each["seat_count"], each["auto_renew"])
            for each in seen
        ]
        (there,) = (await self._at_stripe("GET", f"/v1/subscriptions?customer={await self._customer_id()}"))["data"]
        wanted = [(there["id"], "active", BUSINESS.code, 5, True)]
        return [] if have == wanted else [f"{self.tenant_id} sees {have}, Stripe has {wanted}"]

    async def _save_card(self) -> str:
        """Add a card, as the browser does with the client secret; return its id."""
        attach = "/v1/payment_methods/pm_card_visa/attach"
        card = await self._at_stripe("POST", attach, customer=await self._customer_id())
        return str(card["id"])

    async def _customer_id(self) -> str:
        """Return this customer's id at Stripe, which may also know one of a killed demo: its operation was finished."""
        found = (await self._at_stripe("GET", "/v1/customers"))["data"]
        (own,) = (each["id"] for each in found if each["metadata"].get("tenant_id") == self.tenant_id)
        return str(own)

    async def _ask(self, path: str, **body: Any) -> dict[str, Any]:
        """Ask for an operation until there is an answer, always with the same key: it is carried out once."""
        headers = {
            "Authorization": f"Bearer {self._token(self.tenant_id)}",
            "Idempotency-Key": f"{self.tenant_id}-{self.operations}",
        }
        async with asyncio.timeout(GIVE_UP_AFTER):
            while True:
                try:
                    async with self._session.post(f"{self._base}/{path}", json=body, headers=headers) as answer:
                        content: dict[str, Any] = await answer.json(content_type=None)
                        if answer.status == 200:
                            self.operations += 1
                            return content
                        if answer.status not in _TRY_AGAIN or not content.get("retryable", answer.status != 409):
                            raise OperationFailedError(f"{path} {content}")
                except (aiohttp.ClientError, ValueError):
                    pass  # the server is restarting
                await asyncio.sleep(_PAUSE)

    async def _read(self, url: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token(self.tenant_id)}"}
        async with self._session.get(url, headers=headers, raise_for_status=True) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def _at_stripe(self, method: str, path: str, **form: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._stripe.secret_key}"}
        url = f"{self._stripe.url}{path}"
        async with self._session.request(method, url, headers=headers, data=form or None) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found

"""docs/billing/operations-api.md: its requests run as printed, and it has one for every route."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from tests.unit.core.operations.test_operations_page import PLANS, Provider
from tests.unit.http.conftest import SETTINGS, MakeWorld, World

from billing_app.http.operations.problems import FAILED, REFUSED
from billing_app.http.operations.routes import ROUTES
from billing_app.settings import CatalogSettings
from billing_core.model import SubscriptionInvoice
from billing_core.operations.results import PromotionCode
from billing_core.state.ports import Changes
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, provenance

PAGE = (Path(__file__).parents[3] / "docs/billing/operations-api.md").read_text(encoding="utf-8")
REQUESTS = re.findall(r"^```http\n(GET|POST|DELETE) (\S+)\n(?:\n(.*?)\n)?```", PAGE, re.DOTALL | re.MULTILINE)
ID = re.compile(r"\b(sub|cs|pm|in|pv)_(\d)\b")


class Reader:
    """A reader of the page, who puts the ids of earlier answers in place of the printed ones."""

    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self._world = world
        self._http = http
        self._ids: dict[str, list[str]] = {}
        self._requests = 0

    def knows(self, *ids: str) -> None:
        """Remember ids of objects, the newest last."""
        for id_ in ids:
            known = self._ids.setdefault(id_.partition("_")[0], [])
            if id_ not in known:
                known.append(id_)

    def with_ids(self, text: str) -> str:
        """Return a text with real ids."""
        return ID.sub(lambda found: self._ids[found[1]][int(found[2]) - 1], text)

    async def send(self, method: str, path: str, body: str) -> Any:
        """Send a request as printed, and return the answer."""
        self._requests += 1
        role = "operator" if path.endswith(("/credit", "/pause-collection")) else "admin"
        headers = {**self._world.bearer(role=role), "Idempotency-Key": f"decision-{self._requests}"}
        data = self.with_ids(body).encode() if body else None
        url = self._world.url + self.with_ids(path)
        async with self._http.request(method, url, headers=headers, data=data) as answer:
            content = await answer.json(content_type=None)
            assert answer.status == 200, (method, path, content)
            return content


async def test_the_requests_run_as_printed(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """One after the other, each with success."""
    tokens = attrs.evolve(SETTINGS.tokens, operator_roles=("operator",))
    world = make_world(catalog=CatalogSettings(plans=PLANS), tokens=tokens)
    provider = Provider(world.clock)
    for plan in PLANS:
        for each in plan.prices:
            provider.add_price(each.price_id or "", unit_amount=each.amount or 0)
    provider.add_promotion_code(
        PromotionCode(promotion_code_id="promo_1", code="WELCOME", percent_off=10, duration="once", usable=True)
    )
    world.replace(operation_gateway=provider, preview_gateway=provider, billing_reader=provider)
    async with world.serving():
        reader = Reader(world, http)
        for method, path, body in REQUESTS:
            if "/invoices/" in path:
                await show_an_open_invoice(world, provider, reader)
            content = await reader.send(method, path, body)
            if path.endswith("/payment-methods"):
                reader.knows(*(each["payment_method_id"] for each in content["payment_methods"]))
            reader.knows(*(id_ for name in ("object_id", "preview_id") if (id_ := content.get(name))))


async def show_an_open_invoice(world: World, provider: Provider, reader: Reader) -> None:
    """Let the tenant see an invoice of the provider as open, as before its payment was reported."""
    found = next(iter(provider.invoices.values()))
    seen = SubscriptionInvoice(
        tenant_id=ACME, snapshot=attrs.evolve(found, status="open", paid_at=None), provenance=provenance()
    )
    await save(world.container.unit_of_work(), Changes(invoices=[seen]), tenants=[ACME])
    reader.knows(found.invoice_id)


def test_every_route_has_a_request() -> None:
    """A new one is documented with it."""
    printed = [(method, path.partition("?")[0]) for method, path, _ in REQUESTS]
    missing = [
        route.operation_id
        for route in ROUTES
        if not any(
            method == route.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), path)
            for method, path in printed
        )
    ]
    assert missing == []


def test_the_statuses_are_those_of_the_table() -> None:
    """Each code stands in the row of its status."""
    rows = dict(re.findall(r"^\| ([45]\d\d)(?:, 403)? \| (.+) \|$", PAGE.partition("## HTTP")[2], re.MULTILINE))
    wrong = [
        code
        for code, status in [*FAILED.items(), *((refusal.value, status) for refusal, status in REFUSED.items())]
        if f"`{code}`" not in rows[str(status)] and not code.startswith("unknown_")
    ]
    assert wrong == []

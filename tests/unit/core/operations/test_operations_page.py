"""docs/billing/operations-api.md: its examples run as printed, and it lists every refusal."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import CodeType

import attrs

from billing_app.container import Container, memory_adapters
from billing_app.settings import CatalogSettings, Settings
from billing_core.model import Plan, PlanPrice, PriceId, SeatBounds
from billing_core.operations.commands import Command, CreateCustomer
from billing_core.operations.errors import REFUSAL_TEXTS
from billing_core.operations.facade import Operations
from billing_core.operations.results import Performed
from billing_core.testing.builders import AT
from billing_memory.clock import ManualClock
from billing_memory.operations.fake_gateway import FakeGateway

PAGE = (Path(__file__).parents[4] / "docs/billing/operations-api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def price(plan_code: str, amount: int, **fields: object) -> PlanPrice:
    """Return the monthly price of a plan."""
    price_id = PriceId(f"price_{plan_code}")
    return PlanPrice(price_id=price_id, interval="month", amount=amount, currency="usd", **fields)  # type: ignore[arg-type]


PLANS = (
    Plan(plan_code="basic", group="main", prices=(price("basic", 900),)),
    Plan(plan_code="pro", group="main", prices=(price("pro", 4900),)),
    Plan(plan_code="team", group="main", seats=SeatBounds(minimum=2, maximum=50), prices=(price("team", 1200),)),
    Plan(plan_code="support", prices=(price("support", 500),)),
)


class Provider(FakeGateway):
    """A provider whose customers come with two cards, since no browser adds any."""

    async def perform(self, command: Command, key: str) -> Performed:
        first = key not in self.keys
        performed = await super().perform(command, key)
        if isinstance(command, CreateCustomer) and first and performed.snapshot is not None:
            for default in (True, False):
                self.add_payment_method(performed.snapshot.customer_id, default=default)  # type: ignore[arg-type]
        return performed


def operations() -> Operations:
    """Return the operations of a process in memory."""
    provider = Provider(ManualClock(AT))
    for plan in PLANS:
        for each in plan.prices:
            provider.add_price(each.price_id or "", unit_amount=each.amount or 0)
    settings = Settings(catalog=CatalogSettings(plans=PLANS))
    found = Container(
        settings=settings,
        **memory_adapters(settings, clock=ManualClock(AT)),
        operation_gateway=provider,
        preview_gateway=provider,
        billing_reader=provider,
    ).operations()
    assert isinstance(found, Operations)
    return found


async def test_the_examples_run_as_printed() -> None:
    """One after the other, with what the ones before defined."""
    names: dict[str, object] = {"operations": operations()}
    for number, example in enumerate(EXAMPLES, start=1):
        code = compile(example, f"example {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        await run(code, names)
    assert len(EXAMPLES) > 12


async def run(code: CodeType, names: dict[str, object]) -> None:
    """Run one example; a function that awaits at its top level returns a coroutine."""
    result = eval(code, names)
    if inspect.iscoroutine(result):
        await result


def test_every_part_of_the_facade_has_an_example() -> None:
    """A new operation is documented with it."""
    facade = operations()
    parts = {field.name: type(getattr(facade, field.name)) for field in attrs.fields(Operations)}
    missing = [
        f"{name}.{method}"
        for name, part in parts.items()
        for method, _ in inspect.getmembers(part, inspect.iscoroutinefunction)
        if not method.startswith("_") and method not in PAGE
    ]
    assert missing == []


def test_every_refusal_is_listed_with_its_text() -> None:
    """As customers read it."""
    listed = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.partition("| Code of a refusal")[2], re.MULTILINE))
    assert listed == {refusal.value: text for refusal, text in REFUSAL_TEXTS.items()}

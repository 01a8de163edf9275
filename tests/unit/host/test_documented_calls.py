"""The calls of an application that README, embedding.md, entitlements.md and operations-api.md show."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import attrs
import pytest
from tests.documented import blocks
from tests.patience import PATIENCE
from tests.unit.host.conftest import PLANS, signed, subscription_event

from billing_app import Billing, Settings, open_billing
from billing_core import Entitlements, FeatureReason, Operations, TenantId


def shown(page: str, part: str) -> str:
    """Return the code of a page that contains a text."""
    (found,) = [
        each.text for each in blocks() if each.page == page and each.language in ("py", "python") and part in each.text
    ]
    return found


async def run(code: str, names: dict[str, Any]) -> None:
    """Run code that may await at its top level."""
    result = eval(compile(code, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(result):
        await result


@attrs.frozen
class Request:
    """A request of the event with this number, as FastAPI's."""

    number: int

    @property
    def headers(self) -> dict[str, str]:
        return {"stripe-signature": signed(subscription_event(self.number))[1]}

    async def stream(self) -> AsyncIterator[bytes]:
        yield subscription_event(self.number)


CALLING_STRIPE = {"STRIPE_SECRET_KEY": "sk_test_documented", "STRIPE_FETCH": "true"}


class App:
    """Routes by their path."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[Request], Any]] = {}

    def post(self, path: str) -> Callable[[Callable[[Request], Any]], Any]:
        return lambda handler: self.routes.setdefault(path, handler)


async def until_a_message(task: asyncio.Task[None], names: dict[str, Any], billing: Billing) -> None:
    """Send events until the code has received a message from its stream."""
    async with asyncio.timeout(PATIENCE):
        number = 1
        while "message" not in names:
            assert not task.done(), task.exception()
            await billing.receive(*signed(subscription_event(number)))
            await billing.process_due()
            await asyncio.sleep(0)
            number += 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_calls_of_the_readme(billing: Billing) -> None:
    """A webhook is answered, a feature is asked for, and a message comes."""
    app = App()
    names = {"open_billing": lambda: billing, "app": app, "Request": Request, "tenant": "acme"}
    names["Response"] = lambda content, status, headers: status
    task = asyncio.create_task(run(shown("README.md", "answer_webhook"), names))
    await until_a_message(task, names, billing)
    assert await app.routes["/webhooks/stripe"](Request(number=1000)) == 202


async def test_a_stream_in_the_process(billing: Billing, capsys: pytest.CaptureFixture[str]) -> None:
    """As embedding.md shows it: the state, then what comes after it."""
    names: dict[str, Any] = {"billing": billing}
    task = asyncio.create_task(run(shown("docs/embedding.md", "after=state.position"), names))
    await until_a_message(task, names, billing)
    assert capsys.readouterr().out.split()[1].startswith("subscription.")


def test_a_worker_of_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """As embedding.md shows it: the module of the application has `billing`, and its worker runs until SIGTERM."""
    ran = []

    class Application(ModuleType):
        class billing:  # noqa: N801 - the name that the page imports
            @staticmethod
            async def run_worker() -> None:
                ran.append("worker")

    assert inspect.iscoroutinefunction(Billing.run_worker)
    monkeypatch.setitem(sys.modules, "shop", Application("shop"))
    exec(shown("docs/embedding.md", "from shop import billing"), {})
    assert ran == ["worker"]


async def test_the_operations_of_an_application() -> None:
    """As operations-api.md shows it."""
    names: dict[str, Any] = {"open_billing": lambda: open_billing(Settings.for_tests({**PLANS, **CALLING_STRIPE}))}
    await run(shown("docs/billing/operations-api.md", "open_billing()"), names)
    assert isinstance(names["operations"], Operations)


async def test_a_question_about_a_feature() -> None:
    """As entitlements.md shows it: a refusal has its reason and its limit."""

    class UpgradeNeeded(Exception):  # noqa: N818 - the name on the page
        def __init__(self, reason: FeatureReason, *, limit: int | None) -> None:
            super().__init__(reason, limit)

    async with open_billing(Settings.for_tests(PLANS)) as billing:
        names: dict[str, Any] = {"TenantId": TenantId, "project_count": 3, "UpgradeNeeded": UpgradeNeeded}
        names["entitlements"] = billing._container.entitlements()
        assert isinstance(names["entitlements"], Entitlements)
        with pytest.raises(UpgradeNeeded) as refused:
            await run(shown("docs/billing/entitlements.md", "UpgradeNeeded"), names)
    assert refused.value.args == (FeatureReason.UNKNOWN_FEATURE, None)

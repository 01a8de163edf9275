"""The handlers of docs/billing/consumers.md, run as they are printed there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.host.conftest import PLANS, VERSION, signed

from billing_app import Settings, open_billing
from billing_memory.consumers.queue import NoTransaction
from billing_stripe.testing import builders, encode, event, samples

PAGE = (Path(__file__).parents[3] / "docs" / "billing" / "consumers.md").read_text(encoding="utf-8")


def arrived(event_type: str, shown: dict[str, Any]) -> tuple[bytes, str]:
    """Return the webhook of an event about the customer of the samples."""
    body = event(
        event_type, shown, created=samples.AT, api_version=VERSION, event_id=f"evt_{event_type.replace('.', '_')}"
    )
    return signed(encode(body))


class Mailer:
    """Records mails as (tenant, text, key)."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []

    async def send(self, tenant_id: str, text: str, *, key: str) -> None:
        """Record a mail."""
        self.sent.append((tenant_id, text, key))


async def test_the_handlers_of_the_page_handle_their_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each at its first attempt: the effect of a mail has the key of its message, and the ledger gets the invoice."""
    written: list[tuple[Any, ...]] = []

    async def execute(_self: NoTransaction, statement: str, *values: str) -> None:
        written.append((statement, *values))

    monkeypatch.setattr(NoTransaction, "execute", execute, raising=False)
    billing, mailer = open_billing(Settings.for_tests(PLANS)), Mailer()
    handlers = [code for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S) if "@billing.on" in code]
    assert len(handlers) == 2
    for code in handlers:
        exec(
            compile(code, "docs/billing/consumers.md", "exec", dont_inherit=True),
            {"billing": billing, "mailer": mailer},
        )
    async with billing:
        started = builders.subscription(samples.SUBSCRIPTION, VERSION)
        await billing.receive(*arrived("customer.subscription.created", started))
        await billing.receive(*arrived("invoice.paid", builders.invoice(samples.PAID, VERSION)))
        await billing.process_due()
    keys = [(tenant_id, key) for tenant_id, _, key in mailer.sent]
    assert keys == [("acme", "memory1:acme:1"), ("acme", "memory1:acme:3")]  # 2 is about the invoice
    assert "started" in mailer.sent[0][1]
    assert written == [("INSERT INTO ledger (tenant, invoice) VALUES ($1, $2)", "acme", samples.PAID.invoice_id)]

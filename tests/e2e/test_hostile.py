"""Text from customers or Stripe stays text: it runs no code, breaks no layout and forges no message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Site, Visiting

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

HOSTILE = {
    "html": '<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b>',
    "attribute": "\"'><svg/onload=alert(3)>{{7*7}}${7*7}",
    "frame": "a\r\n\r\nevent: reset\r\ndata: {}\r\n\r\nid: 99",
    "direction": "\u202egnp.eciovni\u202c \u2066\u200f\u05e2\u05d1\u05e8\u05d9\u05ea",
    "control": "bell\x07 escape\x1b[31m delete\x7f next\x85line\u2028para\u2029graph",
    "long": "W" * 10_000,
    "address": "javascript:alert(4)",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_string_stays_text(site: Site, visit: Visiting, name: str) -> None:
    """As a plan, a feature, an invoice number or an email address, it is shown unchanged, live and after a reload."""
    text = HOSTILE[name]
    account = site.account(f"hostile-{name}")
    opened = await visit(account, viewport={"width": 390, "height": 844})
    page = opened.page
    page.on("dialog", lambda dialog: opened.faults.append(f"dialog: {dialog.message}"))
    metered = account.price(f"use of {text}", metered=True)
    account.metered = (metered,)
    await account.subscribe(seats=1, plan=text)
    await account.bill(text, amounts=[(metered, 7, 700)], customer_email=f"{text}@example.com", customer_name=text)
    await opened.shows(2)
    history = await account.history()
    for reload in (False, True):
        if reload:
            await page.reload()
            await opened.live()
        await opened.shows(history[-1]["sequence"])
        assert await opened.numbers() == [message["sequence"] for message in reversed(history)]
        plan = await page.locator(".subscription h3 .foreign").text_content()
        assert plan == history[0]["subscription"]["plan_code"]
        number = history[-1]["invoice"]["number"]
        assert await page.locator(".invoices .foreign").text_content() == number
        assert number == text[: len(number)]  # translation keeps the first 5,000 characters
        feature = history[-1]["usage"][0]["feature_key"].replace("_", " ")
        assert await page.locator(".features h3").text_content() == feature[:1].upper() + feature[1:]
        texts = await page.locator("#feed > article > p").all_text_contents()
        assert all(text.startswith((plan, number)) for text in texts)
        assert await page.locator("main :is(img, script, iframe, .foreign *)").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert (
            await page.locator(".main > section").evaluate_all(
                "parts => parts.filter((part) => part.offsetHeight > 700)"
            )
            == []
        )


@pytest.mark.parametrize(
    ("address", "linked"),
    [
        ("https://invoice.stripe.com/i/acct_1/test_1?s=ap", True),
        ("http://invoice.stripe.com/i/1", False),
        ("https://stripe.com.evil.example/i/1", False),
        ("https://evilstripe.com/i/1", False),
        ("https://user:secret@invoice.stripe.com/i/1", False),
        ("javascript:alert(1)//stripe.com", False),
        ("data:text/html,<script>alert(1)</script>", False),
    ],
)
async def test_only_pages_at_stripe_are_linked(site: Site, visit: Visiting, address: str, linked: bool) -> None:
    """An invoice is linked if its page is at Stripe and served over https; other URLs are left out."""
    opened = await visit()
    found = await opened.page.evaluate(
        """async (address) => {
          const { toStripe } = await import("/assets/dom.js");
          const link = toStripe("Pay", address);
          return link === "Pay" ? null : [link.href, link.rel, link.protocol];
        }""",
        address,
    )
    assert found == ([address, "noopener noreferrer", "https:"] if linked else None)


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (1999, "usd", "US$19.99"),
        (1999, "jpy", "JP¥1,999"),
        (1999, "bhd", "BHD\xa01.999"),
        (-150, "eur", "-€1.50"),
        (500, "ugx", "UGX\xa05.00"),
        (1234567890, "isk", "ISK\xa012,345,678.90"),
        (5, "xx", "0.05 xx"),
    ],
)
async def test_amounts_are_in_their_currency(visit: Visiting, amount: int, currency: str, shown: str) -> None:
    """Stripe's minor units place the decimal point: none for yen, three for dinars, two if Intl knows none."""
    opened = await visit()
    call = 'async ([amount, currency]) => (await import("/assets/format.js")).money(amount, currency)'
    assert await opened.page.evaluate(call, [amount, currency]) == shown

"""The Billing Activity page shows every change once and in order, whatever fails between Stripe and the screen."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Route, expect

if TYPE_CHECKING:
    from tests.e2e.conftest import Account, Site, Visit, Visiting

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


async def feed_is_history(visit: Visit, account: Account, *, seats: int) -> None:
    """Once the page shows that many seats, its feed has each number of the server's history, newest first.

    Their count is not fixed: a change that a later one has overtaken makes no message.
    """
    await expect(visit.page.locator(".facts dd").first).to_have_text(re.compile(rf"^{seats}(\D|$)"), timeout=30_000)
    history = await account.history()
    assert [message["sequence"] for message in history] == list(range(1, len(history) + 1))
    assert history[-1]["subscription"]["seat_count"] == seats
    await visit.shows(len(history))
    assert await visit.numbers() == list(range(len(history), 0, -1))
    texts = await visit.page.locator("#feed > article > p").all_text_contents()
    counted = [
        (text, f"{message['subscription']['seat_count']} seats.")
        for text, message in zip(texts, reversed(history), strict=True)
        if message["event_type"] == "subscription.seats_changed"
    ]
    assert counted
    assert all(text == expected for text, expected in counted)


async def test_a_change_is_on_the_screen_soon_after_its_webhook(
    site: Site, visit: Visiting, seconds_to_screen: list[float]
) -> None:
    """Every change reaches an open page; the time it took is printed at the end of the run."""
    account = site.account("soon")
    await account.subscribe(seats=1)
    opened = await visit(account)
    await opened.shows(1)
    for seats in range(2, 12):
        began = time.time()
        await account.subscribe(seats=seats)
        seconds_to_screen.append(await opened.shows(seats) - began)
        await expect(opened.page.locator(".facts dd").first).to_have_text(re.compile(rf"^{seats}(\D|$)"))
    await feed_is_history(opened, account, seats=11)


async def test_the_page_survives_a_killed_server(site: Site, visit: Visiting) -> None:
    """After SIGKILL and a restart the page reconnects by itself and has every message once."""
    account = site.account("restart")
    await account.subscribe(seats=1)
    opened = await visit(account)
    opened.connection_may_be_lost = True
    for seats in range(2, 6):
        await account.subscribe(seats=seats)
    site.kill_server()
    await expect(opened.page.locator("#connection")).to_contain_text("Disconnected")
    site.start_server()
    await site.ready()
    for seats in range(6, 9):
        await account.subscribe(seats=seats)
    await opened.live()
    await account.subscribe(seats=9)
    await feed_is_history(opened, account, seats=9)


async def test_the_page_works_without_redis(site: Site, visit: Visiting) -> None:
    """Messages arrive while Redis is down, and after it came back empty."""
    account = site.account("redis")
    await account.subscribe(seats=1)
    opened = await visit(account)
    await opened.shows(1)
    site.kill_valkey()
    try:
        for seats in range(2, 5):
            await account.subscribe(seats=seats)
        await feed_is_history(opened, account, seats=4)
    finally:
        site.start_valkey()
    for seats in range(5, 8):
        await account.subscribe(seats=seats)
    await feed_is_history(opened, account, seats=7)
    await site.ready()


async def test_the_page_catches_up_after_the_browser_was_offline(site: Site, visit: Visiting) -> None:
    """The page shows that it is offline; back online it catches up at once, without a gap or a repetition."""
    account = site.account("offline")
    await account.subscribe(seats=1)
    opened = await visit(account)
    opened.connection_may_be_lost = True
    for first in (2, 6):
        await opened.context.set_offline(True)
        await expect(opened.page.locator("#connection")).to_contain_text("Offline")
        for seats in range(first, first + 3):
            await account.subscribe(seats=seats)
        await opened.context.set_offline(False)
        await feed_is_history(opened, account, seats=first + 2)
        await opened.live()
        await account.subscribe(seats=first + 3)
        await feed_is_history(opened, account, seats=first + 3)


async def test_access_that_ends_at_a_time_is_loaded_again(site: Site, visit: Visiting) -> None:
    """No message announces the end of a grace period; the page loads the state then, or a day later at the latest."""
    account = site.account("grace")
    missed = datetime.now(UTC) - timedelta(days=6, hours=12)
    await account.bill("A-1", amounts=[(account.price("pro"), 1, 1900)], status="open", due_at=missed)
    await account.history(at_least=1)
    await account.subscribe(seats=1, status="past_due")
    opened = await visit(account, clock=True)
    page = opened.page
    await expect(page.locator(".verdict")).to_contain_text("Full access until")

    async def later(route: Route) -> None:
        state = await (await route.fetch()).json()
        await route.fulfill(
            json=state | {"access": {"state": "read_only", "reason": "past_due_grace_over", "until": None}}
        )

    await page.route("**/state", later)
    await page.clock.fast_forward("13:00:00")
    await expect(page.locator(".verdict")).to_have_text("Read-only")
    await expect(page.locator(".reason")).to_contain_text("the time to make it is over")


async def test_a_burst_is_shown_completely_and_announced_in_few_sentences(site: Site, visit: Visiting) -> None:
    """Many changes at once get a row each, but a screen reader does not announce a sentence each."""
    account = site.account("burst")
    await account.subscribe(seats=1)
    opened = await visit(account)
    announced: list[str] = []

    def announce(text: str) -> None:  # Playwright takes no built-in
        announced.append(text)

    await opened.page.expose_function("announce", announce)
    await opened.page.evaluate(
        """() => {
          const news = document.getElementById("activity").shadowRoot.getElementById("news");
          const observer = new MutationObserver(() => announce(news.textContent));
          observer.observe(news, { childList: true, characterData: true, subtree: true });
        }"""
    )
    for start in range(2, 102, 20):
        await asyncio.gather(*(account.subscribe(seats=seats) for seats in range(start, start + 20)))
    await feed_is_history(opened, account, seats=101)
    await expect(opened.page.locator("#news")).not_to_be_empty()
    assert len(announced) < 10


async def test_older_invoices_are_a_button_away(site: Site, visit: Visiting) -> None:
    """The page begins with the open ones and the newest; the button shows all, also those that were not loaded."""
    account = site.account("many-invoices")
    await account.subscribe(seats=1)
    for number in range(60):
        await account.bill(f"N-{number:02}", amounts=[(account.price("pro"), 1, 1900)])
    await account.history(at_least=61)
    page = (await visit(account)).page
    await expect(page.locator(".invoices tbody tr")).to_have_count(5)
    await page.get_by_role("button", name="Show more").click()
    await expect(page.locator(".invoices tbody tr")).to_have_count(60)

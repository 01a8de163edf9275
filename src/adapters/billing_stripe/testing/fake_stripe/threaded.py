"""A fake Stripe in a thread of its own, for tests that are not asynchronous."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.faults import Fault, Point
from billing_stripe.testing.fake_stripe.server import FakeStripe, fake_stripe

T = TypeVar("T")

_SECONDS_TO_START = 10.0


class ThreadedFakeStripe:
    """A running fake that another thread serves. Its methods are those of `FakeStripe`; `run` does all the rest."""

    def __init__(self, fake: FakeStripe, loop: asyncio.AbstractEventLoop) -> None:
        self.url = fake.url
        self.secret_key = fake.secret_key
        self._fake = fake
        self._loop = loop

    def run(self, action: Callable[[FakeStripe], T]) -> T:
        """Call a function with the fake in its thread, and return what it returns."""

        async def act() -> T:
            return action(self._fake)

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result()

    def put(self, *added: Any) -> None:
        """Add or replace objects without events."""
        self.run(lambda fake: fake.put(*added))

    def fail(self, path: str, fault: Fault, *, times: int = 1, at: Point = "before", method: str = "*") -> None:
        """Inject a fault into the next requests for a path."""
        self.run(lambda fake: fake.fail(path, fault, times=times, at=at, method=method))

    def advance(self, by: timedelta) -> None:
        """Move the clock forward and do what is due until then."""
        self.run(lambda fake: fake.advance(by))

    def authenticate(self, intent_id: str, *, succeed: bool = True) -> None:
        """Do what the owner of a card does when an intent asks for it."""
        self.run(lambda fake: fake.authenticate(intent_id, succeed=succeed))

    def add_webhook_endpoint(self, url: str, **options: Any) -> objects.WebhookEndpoint:
        """Send events to a URL."""
        return self.run(lambda fake: fake.add_webhook_endpoint(url, **options))

    def delivered(self) -> None:
        """Wait until all webhooks that are not held back were accepted or given up."""
        asyncio.run_coroutine_threadsafe(self._fake.delivered(), self._loop).result()


@contextmanager
def fake_stripe_in_thread(**options: Any) -> Iterator[ThreadedFakeStripe]:
    """Run a fake Stripe in a thread until the end of the block; `options` are those of `fake_stripe`."""
    started: list[ThreadedFakeStripe] = []
    ready, failures = threading.Event(), list[BaseException]()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(done.set))
        async with fake_stripe(**options) as fake:
            started.append(ThreadedFakeStripe(fake, loop))
            ready.set()
            await done.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as exc:
            failures.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="fake-stripe", daemon=True)
    thread.start()
    ready.wait(_SECONDS_TO_START)
    if not started:
        raise RuntimeError("the fake Stripe did not start") from (failures[0] if failures else None)
    try:
        yield started[0]
    finally:
        stop[0]()
        thread.join(_SECONDS_TO_START)

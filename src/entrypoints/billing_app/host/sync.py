"""Billing for code without an event loop: tasks of Celery, WSGI applications, scripts.

A thread runs the event loop that the pools are bound to; each call waits for its answer from there.
"""

import asyncio
import atexit
import concurrent.futures
import functools
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Concatenate, Final, Literal, ParamSpec, Self, TypeVar

from billing_app.host.billing import Billing
from billing_app.host.hooks import Function, Hooks
from billing_app.settings import Settings
from billing_core.consumers.values import Start
from billing_core.operations.facade import Operations
from billing_core.operations.in_short import OperationsInShort
from billing_core.payloads import BillingEventPayload

P = ParamSpec("P")
T = TypeVar("T")

_FORKED: Final[list[object]] = []
"""Threads of a parent process, whose sockets a child must not touch, not even by collecting them as garbage."""


def _blocking(
    method: Callable[Concatenate[Billing, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["SyncBilling", P], T]:
    """Return a method that waits for the answer of an asynchronous one."""

    @functools.wraps(method)
    def call(self: "SyncBilling", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(lambda billing: method(billing, *args, **kwargs))

    return call


def _operation(
    method: Callable[Concatenate[OperationsInShort, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["SyncOperations", P], T]:
    @functools.wraps(method)
    def call(self: "SyncOperations", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(lambda operations: method(operations, *args, **kwargs))

    return call


class SyncBilling:
    """`Billing` with calls that wait. It opens in each process at its first call, and closes when the process ends.

    So a module can hold it, also where processes are forked, as by Celery and Gunicorn: each child opens its own.
    """

    def __init__(self, settings: Settings | None = None, *, application_name: str = "billing-host") -> None:
        """Name what is opened later; see `Billing`."""
        self._hooks = Hooks()
        self._make = partial(Billing, settings, application_name=application_name, hooks=self._hooks)
        self._lock = threading.RLock()
        self._thread: _Thread | None = None
        if hasattr(os, "register_at_fork"):
            ours = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forget_parent(ours()))

    receive = _blocking(Billing.receive)
    answer_webhook = _blocking(Billing.answer_webhook)
    state = _blocking(Billing.state)
    access = _blocking(Billing.access)
    allows = _blocking(Billing.allows)
    remaining = _blocking(Billing.remaining)
    entitlements = _blocking(Billing.entitlements)
    ready = _blocking(Billing.ready)
    process_due = _blocking(Billing.process_due)

    def on(
        self,
        *event_types: str,
        consumer: str,
        start: Start = "now",
        on_dead: Literal["hold", "skip"] = "hold",
        attempts: int = 12,
        timeout: timedelta = timedelta(seconds=30),
    ) -> Callable[[Function], Function]:
        """Return a decorator that keeps a function as a hook of `run_worker`; see `Billing.on`."""
        return self._hooks.on(
            *event_types, consumer=consumer, start=start, on_dead=on_dead, attempts=attempts, timeout=timeout
        )

    @property
    def operations(self) -> "SyncOperations":
        """The operations that most applications need; `run` reaches all of them."""
        return SyncOperations(self)

    def stream(self, tenant_id: str, *, after: str | None = None) -> Iterator[BillingEventPayload]:
        """Yield a tenant's messages; each step waits for the next one. See `Billing.stream`.

        The stream ends when billing is closed, also if it is opened again.
        """
        thread = self._opened()

        async def begin(billing: Billing) -> Any:
            return billing.stream(tenant_id, after=after)

        messages = thread.run(begin)

        async def following(_billing: Billing) -> BillingEventPayload | None:
            return await anext(messages, None)

        async def end(_billing: Billing) -> None:
            await messages.aclose()

        try:
            while thread is self._thread and (message := thread.run(following)) is not None:
                yield message
        finally:
            if thread is self._thread:  # otherwise closed, or of a parent process
                thread.run(end)

    def run(self, ask: Callable[[Billing], Coroutine[Any, Any, T]]) -> T:
        """Call a function with the opened `Billing` in its event loop, and wait for what its coroutine returns.

        Raises RuntimeError in asynchronous code, which would stand still: it has `open_billing`.
        """
        return self._opened().run(ask)

    def run_worker(self, *, concurrency: int = 1) -> None:
        """Be a worker, in this thread, until SIGTERM or SIGINT. See `Billing.run_worker`."""
        asyncio.run(self._make().run_worker(concurrency=concurrency))

    def open(self) -> None:
        """Open now, so that a fault shows at the start of the process. Raises as `Billing.__aenter__`."""
        self._opened()

    def close(self) -> None:
        """Close, if it is open; a later call opens again."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> "_Thread":
        _refuse_event_loop()
        with self._lock:
            if self._thread is None:
                self._thread = _Thread(self._make())
                atexit.register(self._thread.close)
            return self._thread

    def _forget(self) -> None:
        """Leave what the parent process has opened alone."""
        self._lock = threading.RLock()  # another thread may have held it
        if self._thread is not None:
            atexit.unregister(self._thread.close)
            _FORKED.append(self._thread)
            self._thread = None


class SyncOperations:
    """`Operations` in short, with calls that wait."""

    def __init__(self, billing: SyncBilling) -> None:
        self._billing = billing

    start_checkout = _operation(OperationsInShort.start_checkout)
    open_portal = _operation(OperationsInShort.open_portal)
    change_plan = _operation(OperationsInShort.change_plan)
    set_seats = _operation(OperationsInShort.set_seats)
    cancel = _operation(OperationsInShort.cancel)
    keep = _operation(OperationsInShort.keep)

    def run(self, ask: Callable[[Operations], Coroutine[Any, Any, T]]) -> T:
        """Call a function with all operations, and wait for what its coroutine returns."""
        return self._billing.run(lambda billing: ask(billing.operations))


class _Thread:
    """A thread that holds an opened `Billing`."""

    def __init__(self, billing: Billing) -> None:
        """Start the thread and wait until billing is open. Raises what opening it raises."""
        self._billing = billing
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._serve, name="billing", daemon=True)
        self._thread.start()
        try:
            self._ready.result()
        except Exception:
            self._thread.join()
            raise

    def run(self, ask: Callable[[Billing], Coroutine[Any, Any, T]]) -> T:
        answer = asyncio.run_coroutine_threadsafe(_asked(ask, self._billing), self._loop)
        try:
            return answer.result()
        except BaseException:
            answer.cancel()
            raise

    def close(self) -> None:
        """Close billing, and wait for the end of the thread. Closing again does nothing."""
        atexit.unregister(self.close)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._hold())

    async def _hold(self) -> None:
        try:
            async with self._billing:
                self._ready.set_result(None)
                await self._stop.wait()
        except BaseException as exc:
            if self._ready.done():
                raise
            self._ready.set_exception(exc)


async def _asked(ask: Callable[[Billing], Coroutine[Any, Any, T]], billing: Billing) -> T:
    """Call the function in the event loop as well, where it may create tasks."""
    return await ask(billing)


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("this call would stop the event loop: asynchronous code uses open_billing in place of it")


def _forget_parent(billing: SyncBilling | None) -> None:
    if billing is not None:
        billing._forget()


def open_billing_sync(settings: Settings | None = None, *, application_name: str = "billing-host") -> SyncBilling:
    """Return billing for code without an event loop; it opens at its first call. See `SyncBilling`."""
    return SyncBilling(settings, application_name=application_name)

"""Code of an application that runs when billing changes: consumers with a function of the application as handler."""

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Literal, TypeVar, get_type_hints

import attrs

from billing_core.consumers.handlers import read_handler
from billing_core.consumers.runner import ConsumerRunner
from billing_core.consumers.values import Consumer, ConsumerMessage, ConsumerName, OnDead, Start, unknown_types
from billing_core.events import BillingEventType

Function = TypeVar("Function", bound=Callable[..., Any])

_TYPES = tuple(sorted(each.value for each in BillingEventType))


@attrs.frozen(kw_only=True)
class Hook:
    """A consumer with its handler."""

    consumer: Consumer
    handler: Callable[..., Any]


class Hooks:
    """The hooks of an application, by the name of their consumer."""

    def __init__(self) -> None:
        self._hooks: dict[ConsumerName, Hook] = {}

    def on(
        self,
        *event_types: str,
        consumer: str,
        start: Start = "now",
        on_dead: Literal["hold", "skip"] = "hold",
        attempts: int = 12,
        timeout: timedelta = timedelta(seconds=30),
        added: Callable[[Hook], None] = lambda _: None,
    ) -> Callable[[Function], Function]:
        """Return a decorator that keeps a function as a hook; see `Billing.on`."""
        unknown = unknown_types(event_types, _TYPES)
        if unknown:
            raise ValueError(f"no message has the type {unknown[0]!r}; the types are {', '.join(_TYPES)}")
        described = Consumer(
            name=ConsumerName(consumer),
            event_types=event_types or ("*",),
            start=start,
            on_dead=OnDead(on_dead),
            attempts=attempts,
            timeout=timeout,
        )

        def keep(function: Function) -> Function:
            if described.name in self._hooks:
                raise ValueError(f"consumer {described.name} has a hook already: give each hook a name of its own")
            hook = Hook(consumer=described, handler=by_payload(function))
            self._hooks[described.name] = hook
            added(hook)
            return function

        return keep

    async def attach(self, runner: ConsumerRunner) -> None:
        """Subscribe all hooks, and register those that are new: messages that are numbered afterwards are theirs.

        Raises StoreUnavailableError.
        """
        for hook in self._hooks.values():
            runner.subscribe(hook.consumer, hook.handler)
        await runner.register()


def by_payload(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler that gives a function the payload of the message.

    A function whose first parameter is annotated `ConsumerMessage` gets the message itself. Raises TypeError for a
    function that is no handler.
    """
    wanted = read_handler(function)
    if _wants_message(function):
        return function
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)):

        @functools.wraps(function)
        def call(message: ConsumerMessage) -> None:
            function(message.payload)

        return call

    if wanted.transactional:

        @functools.wraps(function)
        async def call_within(message: ConsumerMessage, transaction: Any) -> None:
            await function(message.payload, transaction)

        return call_within

    @functools.wraps(function)
    async def call_and_wait(message: ConsumerMessage) -> None:
        await function(message.payload)

    return call_and_wait


def _wants_message(function: Callable[..., Any]) -> bool:
    """Return whether the first parameter is annotated `ConsumerMessage`.

    The other annotations are not read: they may name types that are imported for type checking only. If the first one
    does, too, its name decides.
    """
    annotation = next(iter(inspect.signature(function).parameters.values())).annotation
    hints = SimpleNamespace(__annotations__={"message": annotation})
    try:
        return get_type_hints(hints, _globals(function))["message"] is ConsumerMessage
    except (AttributeError, NameError, SyntaxError, TypeError):
        return str(annotation).strip("\"'").rpartition(".")[2] == ConsumerMessage.__name__


def _globals(function: Any) -> dict[str, Any]:
    """Return the names that are known where a function, or the class of an object that is called, was written."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__globals__"):
        function = type(function).__call__
    found: dict[str, Any] = getattr(function, "__globals__", {})
    return found

"""Handlers: functions of one message, or of a message and the transaction in which its position is stored."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs

from billing_core.consumers.values import ConsumerMessage

Handler: TypeAlias = (
    Callable[[ConsumerMessage], Awaitable[None]]
    | Callable[[ConsumerMessage, Any], Awaitable[None]]
    | Callable[[ConsumerMessage], None]
)
"""See `read_handler` for the three forms."""

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@attrs.frozen
class ReadHandler:
    """A handler, and what it wants."""

    function: Callable[..., Any]
    transactional: bool
    """Whether it takes the transaction in which its position is stored."""
    in_thread: bool
    """Whether it is a plain function, which may block."""


def read_handler(function: Callable[..., Any]) -> ReadHandler:
    """Find out what a handler wants. Raises TypeError, saying which forms there are.

    An async function of one parameter gets the message. One of two parameters gets the connection of a transaction as
    well. A plain function gets the message in a thread; it is not interrupted when its time is over.
    """
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
    parameters = inspect.signature(function).parameters.values()
    required = [each for each in parameters if each.default is each.empty]
    positional = [each for each in required if each.kind in _POSITIONAL]
    if len(positional) in (1, 2) and not any(each.kind is each.KEYWORD_ONLY for each in required):
        transactional = len(positional) == 2
        if is_async or not transactional:
            return ReadHandler(function, transactional, in_thread=not is_async)
    name = getattr(function, "__qualname__", repr(function))
    raise TypeError(
        f"{name} is no handler: use `async def {name}(message)`, `async def {name}(message, transaction)`, or "
        f"`def {name}(message)`, which runs in a thread"
    )

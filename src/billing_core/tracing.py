"""Tracing: spans around the work on batches; none by default. See docs/adr/0046-traces-over-processes.md."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, runtime_checkable

from billing_core.events import Claim

__all__ = ["NOT_TRACED", "Tracer"]


@runtime_checkable
class Tracer(Protocol):
    """Opens spans. No call waits or fails, and an error inside a span passes through it."""

    def context(self) -> str | None:
        """Return the context of the current span in the form of the header `traceparent`; None without a span."""
        ...

    def processing(self, claims: Sequence[Claim]) -> AbstractContextManager[None]:
        """Open a span around an attempt at these events.

        It continues the trace in which a single event was stored, and links to the traces of several.
        """
        ...

    def publishing(self, contexts: Sequence[str | None]) -> AbstractContextManager[None]:
        """Open a span around sending messages to the bus, given the context in which each was committed.

        It continues their trace, or links to several.
        """
        ...


class _NotTraced:
    """A tracer without spans."""

    def context(self) -> str | None:
        return None

    def processing(self, claims: Sequence[Claim]) -> AbstractContextManager[None]:
        return _NO_SPAN

    def publishing(self, contexts: Sequence[str | None]) -> AbstractContextManager[None]:
        return _NO_SPAN


_NO_SPAN: Final = nullcontext()
NOT_TRACED: Final[Tracer] = _NotTraced()

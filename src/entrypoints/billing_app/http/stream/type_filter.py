"""`?types=`: a stream of certain event types only. Its ids, and resuming by them, are those of the whole stream."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import attrs

from billing_app.http.responses import RefusalError
from billing_app.http.stream.frames import Frame, without_message
from billing_app.http.stream.sinks import Sink
from billing_core.events import BillingEventType

_TYPES: Final = tuple(sorted(each.value for each in BillingEventType))
GLOB: Final = "[a-z_.*?]{1,64}"
MAX_GLOBS: Final = 64
_is_glob: Final = re.compile(GLOB).fullmatch


def wanted_types(text: str | None) -> frozenset[str] | None:
    """Return the types that a comma-separated list of globs matches; None for all. Raises RefusalError (400)."""
    if text is None:
        return None
    globs = [each.strip() for each in text.split(",")]
    if len(globs) > MAX_GLOBS:
        raise RefusalError(400, "bad_parameter", f"types: at most {MAX_GLOBS} names are allowed.")
    wanted: set[str] = set()
    for glob in globs:
        found = {each for each in _TYPES if fnmatchcase(each, glob)} if _is_glob(glob) else set()
        if not found:
            known = ", ".join(_TYPES)
            raise RefusalError(400, "bad_parameter", f"types: unknown event type. Known types: {known}.")
        wanted |= found
    return frozenset(wanted)


@attrs.frozen
class FilteredSink:
    """A Sink that passes on wanted messages, and only the ids of the others, so that a client resumes after them."""

    sink: Sink
    wanted: frozenset[str]

    def send(self, frame: Frame) -> bool:
        """See Sink."""
        return self.sink.send(self._shown(frame))

    async def write(self, frames: Sequence[Frame]) -> None:
        """See Sink. A run of unwanted messages is reduced to the last id."""
        shown: list[Frame] = []
        for frame in map(self._shown, frames):
            if shown and not frame.event_type and frame.sequence and not shown[-1].event_type and shown[-1].sequence:
                shown[-1] = frame
            else:
                shown.append(frame)
        await self.sink.write(shown)

    def abort(self) -> None:
        """See Sink."""
        self.sink.abort()

    @property
    def gone(self) -> bool:
        """See Sink."""
        return self.sink.gone

    def _shown(self, frame: Frame) -> Frame:
        return frame if not frame.event_type or frame.event_type in self.wanted else without_message(frame)

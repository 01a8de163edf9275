"""Server-sent events on the wire. Every frame is encoded once, whatever number of clients it goes to.

Only our own numbers and words, and JSON that has no line breaks, ever stand behind a field name: nothing a provider or
a tenant wrote can begin another field.
"""

from datetime import timedelta
from typing import Final

import attrs

from billing_core.events import BillingEvent
from billing_core.model.epoch import Epoch


@attrs.frozen
class Frame:
    """One event or comment, as plain bytes and as a chunk of a chunked HTTP/1.1 body."""

    plain: bytes
    chunk: bytes = attrs.field(init=False)
    sequence: int = 0
    """The number of the message it carries; 0 for a frame without one."""
    event_type: str = ""
    """The type of that message."""
    position: str = ""
    """Its place in the tenant's stream, as clients resume from it."""

    @chunk.default
    def _chunked(self) -> bytes:
        return b"%x\r\n%s\r\n" % (len(self.plain), self.plain)


KEEP_ALIVE: Final = Frame(b":\n\n")


def message_frame(event: BillingEvent, epoch: Epoch) -> Frame:
    """A billing event: its place is the id to resume from. Its type is from a closed set of ours."""
    position = epoch.position(event.sequence)
    text = f"id: {position}\nevent: {event.event_type}\ndata: {event.payload}\n\n"
    return Frame(text.encode(), sequence=event.sequence, event_type=event.event_type, position=position)


def without_message(frame: Frame) -> Frame:
    """In place of a message that a client did not ask for: no event, but the id to resume from moves on."""
    return Frame(f"id: {frame.position}\n\n".encode(), sequence=frame.sequence, position=frame.position)


def opening_frame(position: str, retry: timedelta) -> Frame:
    """The first frame: a client that loses the connection before its first event still resumes from here."""
    return Frame(f"retry: {_milliseconds(retry)}\nid: {position}\n\n".encode())


def reset_frame(sequence: int, position: str) -> Frame:
    """The client has numbers that this history does not: it shall load the state again and go on from `sequence`."""
    return Frame(f'id: {position}\nevent: reset\ndata: {{"sequence":{sequence}}}\n\n'.encode())


def reconnect_frame(reason: str, retry: timedelta) -> Frame:
    """The last frame of a stream that we end; the client shall connect again after `retry`."""
    return Frame(f'retry: {_milliseconds(retry)}\nevent: reconnect\ndata: {{"reason":"{reason}"}}\n\n'.encode())


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)

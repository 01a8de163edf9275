"""Server-sent events on the wire. A message is encoded once, whatever the number of clients it goes to.

A field's value is one of our own numbers or words, or JSON without line breaks: nothing that a provider or a tenant
wrote can begin another field.
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
    """The position in the tenant's stream from which clients resume: of the message, or of a reset."""

    @chunk.default
    def _chunked(self) -> bytes:
        return b"%x\r\n%s\r\n" % (len(self.plain), self.plain)


KEEP_ALIVE: Final = Frame(b":\n\n")


def message_frame(event: BillingEvent, epoch: Epoch) -> Frame:
    """Encode a billing event, with its position as the id to resume from."""
    position = epoch.position(event.sequence)
    text = f"id: {position}\nevent: {event.event_type}\ndata: {event.payload}\n\n"
    return Frame(text.encode(), sequence=event.sequence, event_type=event.event_type, position=position)


def message_of(frame: Frame) -> bytes:
    """Return the JSON of the message that a frame carries."""
    return frame.plain.partition(b"\ndata: ")[2].rstrip(b"\n")


def without_message(frame: Frame) -> Frame:
    """Replace a message that a client filtered out: no event, but the id to resume from advances."""
    return Frame(f"id: {frame.position}\n\n".encode(), sequence=frame.sequence, position=frame.position)


def opening_frame(position: str, retry: timedelta) -> Frame:
    """Encode the first frame: a client that loses the connection before its first event still resumes from here."""
    return Frame(f"retry: {_milliseconds(retry)}\nid: {position}\n\n".encode())


def opening_of_feed(retry: timedelta) -> Frame:
    """Encode the first frame of a stream without positions."""
    return Frame(f"retry: {_milliseconds(retry)}\n\n".encode())


def data_frame(name: str, data: str) -> Frame:
    """Encode an event of this name with one line of JSON."""
    return Frame(f"event: {name}\ndata: {data}\n\n".encode())


def reset_frame(sequence: int, position: str) -> Frame:
    """Tell a client that knows numbers which this history lacks to load the state again, then continue."""
    return Frame(f'id: {position}\nevent: reset\ndata: {{"sequence":{sequence}}}\n\n'.encode(), position=position)


def reconnect_frame(reason: str, retry: timedelta) -> Frame:
    """Encode the last frame of a stream that the server ends; the client should reconnect after `retry`."""
    return Frame(f'retry: {_milliseconds(retry)}\nevent: reconnect\ndata: {{"reason":"{reason}"}}\n\n'.encode())


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)

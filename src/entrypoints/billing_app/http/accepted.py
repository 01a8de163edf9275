"""The answer to a stored webhook, written in one piece."""

from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11

from billing_app.http.webhook_answers import HEADERS

_STATUS: Final = 202
_HEAD: Final = "HTTP/1.1 202 Accepted\r\n" + "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())


class AcceptedResponse(web.StreamResponse):
    """A response that the library does not have to build, which takes 7 % of the server's time per webhook.

    For clients of HTTP/1.1 whose connections stay open.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(status=_STATUS)
        self._content = body

    @property
    def keep_alive(self) -> bool:
        """See StreamResponse."""
        return True

    @property
    def body_length(self) -> int:
        """See StreamResponse."""
        return len(self._content)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write all of it. Raises ConnectionResetError if the client has left."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        head = f"{_HEAD}Content-Length: {len(self._content)}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
        transport.write(head.encode() + self._content)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written it."""


def accept(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Return the answer 202 to a webhook, as that client needs it."""
    if request.version == HttpVersion11 and request.keep_alive:
        return AcceptedResponse(body)
    return web.Response(status=_STATUS, body=body, headers=HEADERS)

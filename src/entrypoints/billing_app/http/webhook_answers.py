"""The bodies that answer a webhook, whatever server sends them."""

import json
import re
from typing import Final

from billing_app.http.responses import SAFE_HEADERS
from billing_core.events import Receipt

HEADERS: Final = {**SAFE_HEADERS, "Content-Type": "application/json; charset=utf-8"}
BAD_WEBHOOK: Final = b'{"error":{"code":"bad_webhook","message":"The signature or the event is not valid."}}'
"""One answer for every fault of signature or content: a forger learns nothing from it."""

TOO_LARGE: Final = ("too_large", "The body is too large.")
READ_TIMEOUT: Final = ("read_timeout", "The body did not arrive in time.")
NOT_STORED: Final = ("store_unavailable", "The event was not stored. Send it again.")
"""Codes and texts for `failure`, and for the errors of our own server."""
RETRY_AFTER: Final = {"Retry-After": "2"}
"""Beside `NOT_STORED`."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_]+").fullmatch


def accepted(receipt: Receipt) -> bytes:
    """Return the body that says that an event is stored, now or before."""
    event_id = receipt.event_id if _PLAIN(receipt.event_id) else json.dumps(receipt.event_id)[1:-1]
    return f'{{"status": "{receipt.status.value}", "event_id": "{event_id}"}}'.encode()


def failure(code: str, message: str) -> bytes:
    """Return the body of any other answer."""
    return json.dumps({"error": {"code": code, "message": message}}, separators=(",", ":")).encode()

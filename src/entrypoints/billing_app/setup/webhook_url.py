"""The address of the webhook endpoint, as Stripe has to reach it."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from billing_app.errors import OperatorError
from billing_app.troubleshooting import SetupTrouble

PATH: Final = "/webhooks/stripe"
_PRIVATE_NAMES: Final = ("localhost", ".localhost", ".local", ".internal")


def read_webhook_url(text: str, *, local: bool) -> str:
    """Return the URL of the endpoint: an address with the path of our route, which may be left out.

    Args:
        text: as given.
        local: whether addresses of this machine are allowed, as for a fake Stripe on it.

    Raises: OperatorError.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise _unusable(text, "it is not a plain URL")
    if not local and parts.scheme != "https":
        raise _unusable(text, "it does not begin with https://")
    if not local and _is_private(parts.hostname):
        raise _unusable(text, "it is not a public address")
    if parts.path not in ("", "/", PATH):
        raise _unusable(text, f"the route for webhooks is {PATH}")
    return f"{parts.scheme}://{parts.netloc}{PATH}"


def public_url(url: str) -> str:
    """Return the public address of the server with this endpoint."""
    return url.removesuffix(PATH)


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host.endswith(_PRIVATE_NAMES) or "." not in host


def _unusable(text: str, why: str) -> OperatorError:
    return OperatorError(
        f"Stripe cannot reach {text}: {why}. Give the public address, such as https://billing.example.com{PATH}. On a "
        f"development machine leave --webhook-url out. See {SetupTrouble.WEBHOOK_URL_IS_UNUSABLE}."
    )

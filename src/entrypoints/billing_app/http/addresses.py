"""Determine the address of a client behind trusted proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp import web

from billing_app.settings.parsers import Network

UNKNOWN: Final = "unknown"
"""The address of peers without an IP address, such as those on a Unix socket."""
_SITE_BITS: Final = 64
"""One IPv6 client usually owns a whole /64, so a limit per single address would not limit it."""


def client_address(request: web.BaseRequest, trusted: Sequence[Network]) -> str:
    """Return the address of the client, or of its /64 network under IPv6.

    `X-Forwarded-For` is used only if a proxy in a `trusted` network sent it. Its entries are read from the right, and
    the first one that is not a trusted proxy is the client: the client can invent everything further left.
    """
    address = _parsed(request.remote or "")
    if address is not None and _is_in(address, trusted):
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
        for entry in reversed(forwarded):
            hop = _parsed(entry.strip())
            if hop is None:
                break  # the last known proxy stands for everything behind it
            address = hop
            if not _is_in(hop, trusted):
                break
    return UNKNOWN if address is None else _site(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _site(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _SITE_BITS), strict=False))

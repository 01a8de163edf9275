"""The addresses that webhooks may be sent to: public ones, and private networks that an operator allows.

A URL is written by people, and its host resolves to whatever the owner of the domain wants at that moment. Without
this check a URL could reach the metadata service of a cloud, a database or an admin page inside our own network.
Source: https://owasp.org/www-community/attacks/Server_Side_Request_Forgery
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import attrs

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a NAT64, which networks without IPv4 use for every receiver. Source: RFC 6052."""
_OF_THE_CLOUD: Final = (ip_network("168.63.129.16/32"), ip_network("192.0.0.0/24"))
"""Services of the machine's own cloud that are not in a private range: Azure's, and Oracle's metadata.

Python releases disagree about the second one. Sources:
https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16, RFC 6890
"""


class AddressRefusedError(OSError):
    """An address that must not be connected to. An OSError, so that HTTP clients treat it as a failed connection."""


@attrs.frozen(kw_only=True)
class AddressPolicy:
    """Decides which addresses may be connected to."""

    allowed: Sequence[Network] = ()
    """Networks that may be reached although they are not public."""
    public: bool = True
    """Whether public addresses may be reached. False for connections without TLS."""

    def fault_of(self, text: str) -> str | None:
        """Return why an address must not be connected to, as the end of a sentence about it; None if it may be.

        Raises: ValueError for a text that is no address.
        """
        address = _meant(ip_address(text))
        if any(address.version == network.version and address in network for network in self.allowed):
            return None
        if not _is_public(address):
            return "is not a public address"
        return None if self.public else "is public and takes https"

    def check(self, text: str) -> None:
        """Raise AddressRefusedError for an address that must not be connected to."""
        if (fault := self.fault_of(text)) is not None:
            raise AddressRefusedError(f"{text} {fault}")


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for; any other address as it is."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _TRANSLATED else address


def _is_public(address: Address) -> bool:
    if any(address in network for network in _OF_THE_CLOUD if network.version == address.version):
        return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return True
    # 6to4 and Teredo carry IPv4 addresses of any kind, and the ranges beside global unicast have no hosts.
    return address in _GLOBAL_UNICAST and address.sixtofour is None and address.teredo is None

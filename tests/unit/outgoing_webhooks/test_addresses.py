"""The addresses that outgoing webhooks may reach."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from billing_webhooks.addresses import AddressPolicy, AddressRefusedError

PRIVATE = [
    "127.0.0.1",  # this machine
    "0.0.0.0",
    "10.0.0.8",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # metadata of AWS, Azure and Google
    "100.100.100.200",  # metadata of Alibaba, in the range of carriers
    "168.63.129.16",  # Azure's own services, in a public range
    "192.0.0.192",  # metadata of Oracle
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::7f00:1",  # IPv4-compatible
    "64:ff9b::a9fe:a9fe",  # 169.254.169.254 behind a NAT64
    "64:ff9b:1::1",  # a NAT64 of one's own
    "2002:7f00:1::1",  # 6to4 of 127.0.0.1
    "2001:0:53aa:64c:0:fbfc:80ff:fffe",  # Teredo
    "fc00::1",
    "fd00:ec2::254",  # metadata of AWS
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
]
PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    """In every notation that stands for them."""
    with pytest.raises(AddressRefusedError, match="is not a public address"):
        AddressPolicy().check(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    """Also IPv4 addresses that a NAT64 or a mapped notation carries."""
    AddressPolicy().check(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::7"])
def test_an_allowed_network_is_permitted_in_every_notation(address: str) -> None:
    """An operator who allows 10.0.0.0/8 means its addresses however they are written."""
    AddressPolicy(allowed=(ip_network("10.0.0.0/8"), ip_network("fd12::/16"))).check(address)


def test_an_allowed_network_permits_nothing_else() -> None:
    """Its neighbors stay refused."""
    with pytest.raises(AddressRefusedError):
        AddressPolicy(allowed=(ip_network("10.0.0.0/24"),)).check("10.0.1.1")


def test_without_tls_only_allowed_networks_are_permitted() -> None:
    """A message that crosses the internet must be encrypted."""
    policy = AddressPolicy(allowed=(ip_network("10.0.0.0/8"),), public=False)
    policy.check("10.0.0.8")
    with pytest.raises(AddressRefusedError, match=r"8\.8\.8\.8 is public and takes https"):
        policy.check("8.8.8.8")

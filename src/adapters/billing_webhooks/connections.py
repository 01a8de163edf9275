"""Connections to checked addresses: each address is checked when it is resolved, and again when its socket is made.

The second check is the one that counts. It sees the address that is connected to, so that neither a host that is an
address already, nor a name whose answers change from one lookup to the next, goes around it.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from billing_webhooks.addresses import AddressPolicy, AddressRefusedError

_LOOKUPS: Final = 8
"""Name lookups at a time. They are threads of their own: a receiver's slow name server must delay nothing else."""


class SystemResolver(AbstractResolver):
    """Resolves names as the operating system does."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="webhook-lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Let lookups in progress end on their own."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class CheckedResolver(AbstractResolver):
    """Resolves names to those of their addresses that may be connected to."""

    def __init__(self, inner: AbstractResolver, policy: AddressPolicy) -> None:
        self._inner = inner
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses that may be connected to. Raises OSError; AddressRefusedError if there is no other."""
        found = await self._inner.resolve(host, port, family)
        if not found:
            raise OSError("it has no address")
        permitted = [each for each in found if self._policy.fault_of(each["host"]) is None]
        if not permitted:
            address = found[0]["host"]
            raise AddressRefusedError(f"{host} has the address {address}, which {self._policy.fault_of(address)}")
        return permitted

    async def close(self) -> None:
        """Leave the inner resolver open: it is shared."""


def open_connector(
    resolver: AbstractResolver, policy: AddressPolicy, *, limit: int, tls: ssl.SSLContext | None
) -> aiohttp.TCPConnector:
    """Return a connector that reaches only what a policy permits.

    Args:
        resolver: resolves names; it is not closed with the connector.
        policy: the addresses that may be connected to.
        limit: most connections at a time.
        tls: verifies receivers; None for the authorities that this machine trusts.
    """

    def connecting_socket(info: Sequence[Any]) -> socket.socket:
        family, kind, protocol, _, address = info
        policy.check(address[0])
        return socket.socket(family=family, type=kind, proto=protocol)

    return aiohttp.TCPConnector(
        resolver=CheckedResolver(resolver, policy),
        use_dns_cache=False,
        socket_factory=connecting_socket,
        limit=limit,
        ssl=True if tls is None else tls,
    )

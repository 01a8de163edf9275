"""The ports of a group: one that all of its servers share, and one for the metrics of each."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs

from billing_app.listening import cannot_listen
from billing_app.settings import ServerSettings
from billing_core.errors import ConfigurationError

_HIGHEST: Final = 65535


@contextmanager
def shared_port(server: ServerSettings) -> Iterator[ServerSettings]:
    """Hold the port of the servers of a group for the length of the block, and yield settings that name it.

    It stays the group's while its processes come and go, and none of them has to choose a free one. Connections go only
    to sockets that listen, which this one does not.

    Raises: ConfigurationError if another program listens on it.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Another group would share the port silently: without the option, the system refuses it.
        with _bound(family, address):
            pass
        held = _bound(family, address, shared=True)
    except OSError as exc:
        raise cannot_listen(server.host, server.port, "BILLING_PORT", exc) from exc
    with held:
        yield attrs.evolve(server, port=held.getsockname()[1])


def _bound(family: int, address: Any, *, shared: bool = False) -> socket.socket:
    """Return a socket that is bound to an address and does not listen."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # As a server does: the ends of earlier connections do not hold the port.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def own_metrics_port(server: ServerSettings, index: int) -> ServerSettings:
    """Return the settings of the process with an index, from 0 on: the first has the port that is set, and so on."""
    if not server.metrics_port:
        return server  # none, or any free one
    return attrs.evolve(server, metrics_port=server.metrics_port + index)


def check_metrics_ports(server: ServerSettings, processes: int) -> None:
    """Return if each process of a group has a port for metrics. Raises ConfigurationError."""
    if server.metrics_port is not None and server.metrics_port + processes - 1 > _HIGHEST:
        raise ConfigurationError(
            f"BILLING_METRICS_PORT is {server.metrics_port}, and {processes} processes need as many ports from there "
            f"on: set it to {_HIGHEST - processes + 1} or lower"
        )

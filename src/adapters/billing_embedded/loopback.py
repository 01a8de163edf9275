"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import secrets
import socket

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the range of outgoing connections, so that a port is still free at the next start.

Within that range, a client that asks again and again for a server that does not listen yet is at some time given the
server's own port, and connected to itself.
"""


def free_port() -> int:
    """Return a port that could be bound a moment ago. Another process may take it first, so be ready to retry."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """Return the first of `count` neighboring ports that are free; as above, not for certain."""
    while True:
        first = secrets.choice(PORTS)  # tests seed `random`: processes beside each other would choose the same
        if all(map(is_free, range(first, first + count))):
            return first


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port."""
    with socket.socket() as probe:
        # As servers do: connections of the last run that are still in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True

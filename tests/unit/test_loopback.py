"""Ports for servers on the loopback interface."""

import socket
from contextlib import ExitStack

import pytest

from billing_embedded.loopback import LOOPBACK, PORTS, free_ports, is_free


@pytest.mark.parametrize("count", [1, 3])
def test_servers_can_listen_on_the_ports(count: int) -> None:
    """All of them at a time, and then none of them is free."""
    first = free_ports(count)
    with ExitStack() as stack:
        for port in range(first, first + count):
            stack.enter_context(socket.create_server((LOOPBACK, port)))
            assert not is_free(port)


def test_no_port_is_one_that_outgoing_connections_are_given() -> None:
    """A client that asks for a server before it listens could be connected to itself."""
    with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname()[:2]) as client:
        for given in (server, client):
            assert given.getsockname()[1] not in PORTS
    assert free_ports(1) in PORTS

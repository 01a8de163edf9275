"""Commands for Redis as they are sent."""

import pytest
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from billing_redis.packing import packing_in_c


@pytest.mark.parametrize("kind", [Connection, SSLConnection, UnixDomainSocketConnection])
def test_a_command_is_packed_as_the_library_packs_it(kind: type[AbstractConnection]) -> None:
    """Byte for byte, whatever the types of its arguments, and in more than one part or not."""
    commands = [
        ("EVALSHA", "abc", 1, "billing:{0}:live", 10_000, b"evt_1", "café".encode(), "x" * 10_000, b""),
        ("SCRIPT LOAD", "return 1"),
        ("XADD", "log", "MAXLEN", "~", 5, "1-0", "payload", 1.5),
    ]
    packed = b"".join(packing_in_c(kind)().pack_commands(commands))
    assert packed == b"".join(kind().pack_commands(commands))

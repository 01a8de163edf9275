"""A TCP port that nobody uses right now."""

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """A port that could be bound a moment ago; somebody else may be quicker, so be ready to ask again."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port

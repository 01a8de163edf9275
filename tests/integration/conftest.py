"""A Valkey of one test's own, for tests that flush, kill or misconfigure it."""

import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from billing_app.embedded.binaries import find_valkey


class Valkey:
    """A server of one test's own, which the test may flush, kill and start again. It keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def launch(self) -> None:
        settings = {"port": str(self._port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        command = [str(find_valkey().server_program), *(part for k, v in settings.items() for part in (f"--{k}", v))]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)

    async def start(self) -> None:
        self.launch()
        retry = Retry(ConstantBackoff(0.05), 400)
        async with Redis.from_url(self.url, retry=retry) as client:
            await client.ping()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it answer nothing until `thaw`; connections stay open."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    async def call(self, *command: str) -> Any:
        async with Redis.from_url(self.url, decode_responses=True) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    server = Valkey(tmp_path)
    await server.start()
    yield server
    server.kill()

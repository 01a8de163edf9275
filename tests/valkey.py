"""Valkey servers that a test may flush, kill, freeze and restart."""

import asyncio
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from billing_embedded.binaries import find_valkey
from billing_embedded.loopback import free_port

SLOTS = 16384


class Valkey:
    """One server without persistence."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        settings = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", **self._settings}
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
        """Stop it from answering until `thaw`; connections stay open."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    async def call(self, *command: str) -> Any:
        async with Redis.from_url(self.url, decode_responses=True) as client:
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]


class Sentinel(Valkey):
    """One sentinel, enough of a majority to replace the master of one server group."""

    def __init__(self, folder: Path, master: Valkey) -> None:
        super().__init__(folder)
        self._file = folder / "sentinel.conf"
        self._file.write_text(
            f"port {self.port}\nbind 127.0.0.1\n"
            f"sentinel monitor billing 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds billing 500\nsentinel failover-timeout billing 5000\n"
        )

    def launch(self) -> None:
        command = [str(find_valkey().server_program), str(self._file), "--sentinel"]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)

    async def master_port(self) -> int:
        _, port = await self.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "billing")
        return int(port)

    async def replicas(self) -> int:
        """Return how many replicas it knows that it could promote."""
        return len(await self.call("SENTINEL", "REPLICAS", "billing"))


class ValkeyCluster:
    """Masters without replicas: while one is down, its keys are unavailable."""

    def __init__(self, folder: Path, *, masters: int = 3) -> None:
        self.nodes: Sequence[Valkey] = [
            Valkey(
                folder,
                **{
                    "cluster-enabled": "yes",
                    "cluster-config-file": f"nodes-{number}.conf",
                    "cluster-port": str(free_port()),
                    "cluster-node-timeout": "1000",
                    # As in a cluster of an operator: with one master less, the others continue.
                    "cluster-require-full-coverage": "no",
                },
            )
            for number in range(masters)
        ]
        self.url = self.nodes[0].url

    async def start(self) -> None:
        for node in self.nodes:
            await node.start()
        share = -(-SLOTS // len(self.nodes))
        for number, node in enumerate(self.nodes):
            last = min(share * (number + 1), SLOTS) - 1
            await node.call("CLUSTER", "ADDSLOTSRANGE", str(share * number), str(last))
        for node in self.nodes[1:]:
            bus_port = node._settings["cluster-port"]
            await self.nodes[0].call("CLUSTER", "MEET", "127.0.0.1", str(node.port), bus_port)
        await self.whole()

    async def whole(self) -> None:
        """Return once every node knows all the others and sees all slots served."""
        for node in self.nodes:
            while not await self._complete(node):  # noqa: ASYNC110 - nodes gossip, and do not report when they are done
                await asyncio.sleep(0.05)

    async def _complete(self, node: Valkey) -> bool:
        state = await node.call("CLUSTER", "INFO")
        fields = state if isinstance(state, dict) else dict(line.split(":", 1) for line in state.split("\r\n") if line)
        return bool(fields["cluster_state"] == "ok" and int(fields["cluster_slots_ok"]) == SLOTS)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

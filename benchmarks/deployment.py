"""The servers under test, run as an operator runs them, and the resources that a process uses.

BENCH_PYTHON names the interpreter of the server under test. Take one without development tools to measure the
memory of a deployment: the container's library loads some megabytes of them where they are installed.
"""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp import web

from billing_embedded import ServerUrls
from billing_embedded.loopback import free_port, free_ports

Worker = Literal["nowhere", "inside", "beside"]
"""Process that applies events: none, the server's, or one of its own."""
WEBHOOK_SECRET = "whsec_" + secrets.token_hex(16)
JWT_SECRET = secrets.token_hex(32)


@contextmanager
def folder() -> Iterator[Path]:
    """Create a folder for the servers' data; they may run as another user."""
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def settings_for(urls: ServerUrls) -> dict[str, str]:
    """Return the settings that all our processes share."""
    assert urls.redis_url is not None
    return {
        "DATABASE_URL": urls.database_url,
        "REDIS_URL": urls.redis_url,
        "ENABLE_BILLING": "true",
        "STRIPE_SECRET_KEY": "sk_test_benchmark",
        "STRIPE_FETCH": "false",
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "BILLING_JWT_SECRET": JWT_SECRET,
        "BILLING_LOG_LEVEL": "warning",
    }


async def migrate(urls: ServerUrls) -> None:
    """Migrate the database to the newest schema."""
    environment = {"DATABASE_URL": urls.database_url}
    migration = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "billing_app", "migrate", env={**os.environ, **environment}, stdout=sys.stderr
    )
    if await migration.wait() != 0:
        raise RuntimeError("the migration failed")


@asynccontextmanager
async def billing_server(
    urls: ServerUrls, *, worker: Worker, processes: int = 1, settings: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[int, int]]:
    """Run `billing serve` as an operator does, with or without a `billing worker`; yield its port and process id."""
    port, worker_port, metrics = free_port(), free_port(), free_ports(processes)
    environment = {
        **settings_for(urls),
        "ENABLE_BILLING_RETRY_WORKER": str(worker == "inside").lower(),
        "BILLING_PORT": str(port),
        **(settings or {}),
    }
    billing = [os.environ.get("BENCH_PYTHON", sys.executable), "-m", "billing_app"]
    async with AsyncExitStack() as stack:
        if worker == "beside":
            beside = process(
                [*billing, "worker", "--metrics-port", str(worker_port)],
                environment,
                f"http://127.0.0.1:{worker_port}/readyz",
            )
            await stack.enter_async_context(beside)
        serving = [*billing, "serve", "--processes", str(processes), "--metrics-port", str(metrics)]
        # The last process: of several, the first serves before the others start.
        ready = f"http://127.0.0.1:{metrics + processes - 1}/readyz"
        pid = await stack.enter_async_context(process(serving, environment, ready))
        yield port, pid


@asynccontextmanager
async def process(
    command: list[str], environment: Mapping[str, str], ready_url: str, *, ready_status: int = 200
) -> AsyncIterator[int]:
    """Run a process that is ready once `ready_url` answers, yield its id, and stop it at the end."""
    started = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment})
    try:
        await _answers(ready_url, started, ready_status)
        yield started.pid
    finally:
        if started.returncode is None:
            started.terminate()
        await started.wait()


async def _answers(url: str, process: asyncio.subprocess.Process, status: int) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(1200):  # a busy machine takes its time
            if process.returncode is not None:
                raise RuntimeError(f"the server ended with status {process.returncode}")
            try:
                async with session.get(url) as response:
                    if response.status == status:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def resident_mb(pid: int, *, peak: bool = True) -> float:
    """Return the resident set of a process, its peak or now. Raises FileNotFoundError where there is no /proc."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    name = "VmHWM" if peak else "VmRSS"
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) / 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far. Raises FileNotFoundError where there is no /proc."""
    return sum(_stat(pid)[11:13]) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_children() -> float:
    """Return the CPU time so far of everything this process started: our processes, Postgres and Valkey, not itself.

    Raises FileNotFoundError where there is no /proc.
    """
    children: dict[int, list[int]] = {}
    spent: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                stat = _stat(pid := int(entry.name))
                children.setdefault(stat[1], []).append(pid)
                spent[pid] = sum(stat[11:15])  # its own, and that of its children that have ended
    family = [os.getpid()]
    for member in family:
        family += children.get(member, ())
    running, ended = sum(map(spent.__getitem__, family[1:])) / os.sysconf("SC_CLK_TCK"), os.times()
    return running + ended.children_user + ended.children_system


def _stat(pid: int) -> list[int]:
    """Return the numbers that the kernel keeps of a process, from its state (as 0) on."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of this machine, and yield its URL."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()

"""What the benchmarks measure: the servers, as an operator runs them, and what the system says of a process.

BENCH_PYTHON names the interpreter of the server on trial: one without development tools, of which the container's
library loads some megabytes where it finds them, shows the memory that a deployment takes.
"""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

import aiohttp

from billing_embedded import ServerUrls
from billing_embedded.loopback import free_port

Worker = Literal["nowhere", "inside", "beside"]
"""Where events are applied: not at all, in the server's process, or in one of its own."""
WEBHOOK_SECRET = "whsec_" + secrets.token_hex(16)
JWT_SECRET = secrets.token_hex(32)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for the servers' data; they may run as another user."""
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def settings_for(urls: ServerUrls) -> dict[str, str]:
    """What every process of ours is told, beside what is its own."""
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
    """Bring the database to the newest schema."""
    environment = {"DATABASE_URL": urls.database_url}
    migration = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "billing_app", "migrate", env={**os.environ, **environment}, stdout=sys.stderr
    )
    if await migration.wait() != 0:
        raise RuntimeError("the migration failed")


@asynccontextmanager
async def billing_server(
    urls: ServerUrls, *, worker: Worker, settings: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[int, int]]:
    """`billing serve` as an operator runs it, with a `billing worker` beside it or none; its port and process id."""
    port, worker_port = free_port(), free_port()
    environment = {
        **settings_for(urls),
        "ENABLE_BILLING_RETRY_WORKER": str(worker == "inside").lower(),
        "BILLING_PORT": str(port),
        "BILLING_WORKER_PORT": str(worker_port),
        **(settings or {}),
    }
    billing = [os.environ.get("BENCH_PYTHON", sys.executable), "-m", "billing_app"]
    async with AsyncExitStack() as stack:
        if worker == "beside":
            beside = process([*billing, "worker"], environment, f"http://127.0.0.1:{worker_port}/readyz")
            await stack.enter_async_context(beside)
        pid = await stack.enter_async_context(
            process([*billing, "serve"], environment, f"http://127.0.0.1:{port}/readyz")
        )
        yield port, pid


@asynccontextmanager
async def process(command: list[str], environment: Mapping[str, str], ready_url: str) -> AsyncIterator[int]:
    """A process that is up once `ready_url` answers 200, and is ended afterwards; its id."""
    started = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment})
    try:
        await _answers(ready_url, started)
        yield started.pid
    finally:
        if started.returncode is None:
            started.terminate()
        await started.wait()


async def _answers(url: str, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            if process.returncode is not None:
                raise RuntimeError(f"the server ended with status {process.returncode}")
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def resident_mb(pid: int, *, peak: bool = True) -> float:
    """The resident set of a process, the highest so far or now. Raises FileNotFoundError where there is no /proc."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    name = "VmHWM" if peak else "VmRSS"
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) / 1024


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors so far. Raises FileNotFoundError where there is no /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

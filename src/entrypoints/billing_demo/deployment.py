"""The system under test: local servers and `billing serve`, which also processes events, as a user would run them."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import attrs

from billing_app.errors import OperatorError
from billing_demo.catalog import price_map
from billing_demo.credentials import Credentials
from billing_demo.looking import write_settings
from billing_embedded import EmbeddedInUseError, ServerUrls, embedded_servers
from billing_embedded.loopback import LOOPBACK, free_port, is_free
from billing_embedded.server_process import stop_with_parent, tail

_READY_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 12.0
_RESTART_PAUSE: Final = 0.3
_FOREIGN: Final = ("BILLING_", "STRIPE_", "ENABLE_BILLING", "DATABASE_", "REDIS_URL")

Log = Callable[[str], None]


class DemoError(OperatorError):
    """The demo cannot continue; the message says why."""


class FolderInUseError(OperatorError):
    """Another process, most likely another demo, uses the data directory."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        super().__init__(
            f"{data_dir} is in use by process {pid}, probably another demo. Stop that one first (Ctrl-C), "
            "or run this one in another folder: billing demo --data-dir FOLDER"
        )


@attrs.frozen(kw_only=True)
class DemoDeployment:
    """A running server and its addresses."""

    base_url: str
    metrics_url: str
    server: "SupervisedProcess"


class SupervisedProcess:
    """A long-running `billing` process that is restarted when it exits, as an orchestrator does in production."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], folder: Path, log: Log) -> None:
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        self._log_file = folder / "logs" / f"{arguments[0]}.log"
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self.restarts = 0

    @asynccontextmanager
    async def running(self, ready_url: str) -> AsyncIterator[None]:
        """Run the process for the length of the block. Raises DemoError if it does not become ready."""
        await self._start()
        restarting: asyncio.Task[None] | None = None
        try:
            await self._wait_until_ready(ready_url)
            restarting = asyncio.create_task(self._restart(), name=f"restart {self._arguments[0]}")
            yield
        finally:
            self._stopping.set()
            await self._stop()
            if restarting is not None:
                await restarting
                await self._stop()  # it may have been about to restart the process

    async def _start(self) -> None:
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *_billing(*self._arguments),
                env=self._environment,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only the demo, which stops its processes in order
                preexec_fn=stop_with_parent(signal.SIGTERM),
            )
        self._log(f"billing {self._arguments[0]} is running as process {self._process.pid}")

    async def _wait_until_ready(self, url: str) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            for _ in range(int(_READY_SECONDS / 0.1)):
                if self._process is None or self._process.returncode is not None:
                    break
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url) as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise self._failure("did not become ready")

    async def _restart(self) -> None:
        """Restart the process whenever it exits. If that never helps, the webhook sender gives up."""
        while self._process is not None and not self._stopping.is_set():
            status = await self._process.wait()
            if self._stopping.is_set():
                return
            self.restarts += 1
            self._log(f"billing {self._arguments[0]} exited with status {status}; restarting it")
            await asyncio.sleep(_RESTART_PAUSE)
            await self._start()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _failure(self, what: str) -> DemoError:
        return DemoError(f"billing {self._arguments[0]} {what}. The end of {self._log_file}:\n{tail(self._log_file)}")


@asynccontextmanager
async def open_deployment(
    data_dir: Path, *, port: int, credentials: Credentials, stripe_url: str, log: Log
) -> AsyncIterator[DemoDeployment]:
    """Start the servers, and stop them at the end of the block.

    Raises: FolderInUseError if another demo uses the folder; EmbeddedErrors; DemoError.
    """
    async with AsyncExitStack() as stack:
        try:
            urls = await stack.enter_async_context(embedded_servers(data_dir))
        except EmbeddedInUseError as exc:
            raise FolderInUseError(exc.data_dir, exc.pid) from exc
        chosen = choose_port(port)  # once the local servers listen: theirs are from the same range
        if port not in (0, chosen):
            log(f"port {port} is in use; using {chosen}")
        metrics_port = free_port()
        environment = environment_of(urls, credentials, chosen, stripe_url, metrics_port=metrics_port)
        write_settings(data_dir, environment)
        await _migrate(environment, data_dir)
        server = SupervisedProcess("serve", environment=environment, folder=data_dir, log=log)
        base_url = f"http://{LOOPBACK}:{chosen}"
        async with server.running(f"{base_url}/readyz"):
            metrics_url = f"http://{LOOPBACK}:{metrics_port}/metrics"
            yield DemoDeployment(base_url=base_url, metrics_url=metrics_url, server=server)


def choose_port(wanted: int) -> int:
    """Return the wanted port if it is free, otherwise a free one; 0 asks for any."""
    return wanted if wanted and is_free(wanted) else free_port()


async def _migrate(environment: Mapping[str, str], folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *_billing("migrate"),
        env=environment,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=stop_with_parent(signal.SIGTERM),
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise DemoError(f"billing migrate failed:\n{output.decode(errors='replace').strip()}")


def _billing(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "billing_app", *arguments]


def environment_of(
    urls: ServerUrls, credentials: Credentials, port: int, stripe_url: str, *, metrics_port: int
) -> dict[str, str]:
    """Return the environment of the processes, without the user's settings for a real deployment.

    Waits are short, so that a killed process costs seconds. The fake Stripe knows only the customer of the operations:
    all other tenants exist in events alone.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **inherited,
        "ENABLE_BILLING": "true",
        "DATABASE_URL": urls.database_url,
        "REDIS_URL": urls.redis_url or "",
        "STRIPE_SECRET_KEY": credentials.api_key.reveal(),
        "STRIPE_WEBHOOK_SECRET": credentials.webhook.reveal(),
        "STRIPE_PRODUCT_PRICE_MAP": price_map(),
        "STRIPE_API_BASE": stripe_url,
        "STRIPE_FETCH": "true",
        "BILLING_JWT_SECRET": credentials.jwt.reveal(),
        "BILLING_DEMO_TICKET_SECRET": credentials.ticket.reveal(),
        "BILLING_HOST": LOOPBACK,
        "BILLING_PORT": str(port),
        "BILLING_METRICS_HOST": LOOPBACK,
        "BILLING_METRICS_PORT": str(metrics_port),
        "BILLING_DISPATCH_LEASE_SECONDS": "5",
        "STRIPE_OPERATION_TIMEOUT_SECONDS": "4",
        "BILLING_DISPATCH_BACKOFF_BASE_SECONDS": "0.2",
        "BILLING_DISPATCH_BACKOFF_CAP_SECONDS": "2",
        "BILLING_STREAM_KEEPALIVE_SECONDS": "5",
        "BILLING_STREAM_RETRY_MILLISECONDS": "500",
        "BILLING_LOG_FORMAT": "json",
    }

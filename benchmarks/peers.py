"""Other programs that keep Stripe's objects in Postgres, from their registries, run as their documentation shows."""

import asyncio
import json
import os
import shutil
import sys
import venv
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
from aiohttp import web
from deployment import WEBHOOK_SECRET, process, served
from ingest import Traffic

from billing_embedded.loopback import free_port

HERE: Final = Path(__file__).parent


class LeftOutError(Exception):
    """A program cannot be measured here. The message says which and why."""


@attrs.frozen(kw_only=True)
class Peer:
    """An installed program."""

    name: str
    version: str
    applies: str
    """Work per event, for the table."""
    path: str
    """Path of its webhooks."""
    database_url: str
    written: str
    """Query for the number of events whose subscription was written since a moment, $1."""
    serving: Callable[[Traffic], AbstractAsyncContextManager[int]]
    """Runs it and yields its port."""


async def stripe_sync_engine(environments: Path, database_url: str) -> Peer:
    """Install stripe-sync-engine from npm. Raises LeftOutError."""
    home = environments / "stripe-sync-engine"
    package = "@supabase/stripe-sync-engine"
    if shutil.which("npm") is None:
        raise LeftOutError("stripe-sync-engine: there is no npm")
    if not home.exists():
        home.mkdir(parents=True)
        (home / "package.json").write_text('{"private": true}', encoding="utf-8")
        await _install("stripe-sync-engine", ["npm", "install", "--no-audit", "--no-fund", package, "stripe"], home)
    shutil.copy(HERE / "stripe_sync_engine.cjs", home)
    manifest = json.loads((home / "node_modules" / package / "package.json").read_text(encoding="utf-8"))

    @asynccontextmanager
    async def serving(_traffic: Traffic) -> AsyncIterator[int]:
        port = free_port()
        environment = {
            "DATABASE_URL": database_url,
            "PEER_PORT": str(port),
            "PEER_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "NODE_ENV": "production",
        }
        command = ["node", str(home / "stripe_sync_engine.cjs")]
        async with process(command, environment, f"http://127.0.0.1:{port}/"):
            yield port

    return Peer(
        name="stripe-sync-engine",
        version=manifest["version"],
        applies="one process of Node: writes the newest object; keeps no events, no history and no messages",
        path="/",
        database_url=database_url,
        written="SELECT count(*) FROM stripe.subscriptions WHERE updated_at >= $1",
        serving=serving,
    )


async def dj_stripe(environments: Path, database_url: str) -> Peer:
    """Install dj-stripe from PyPI, with gunicorn, and create its tables. Raises LeftOutError."""
    home = environments / "dj-stripe"
    python = home / "bin/python"
    if not home.exists():
        await asyncio.to_thread(venv.create, home, with_pip=True)
        packages = ["dj-stripe", "psycopg[binary]", "gunicorn"]
        await _install("dj-stripe", [str(python), "-m", "pip", "install", "--quiet", *packages], home)
    shutil.copy(HERE / "dj_stripe_site.py", home)
    ask = "from importlib.metadata import version; print(version('dj-stripe'))"
    version = await _output([str(python), "-c", ask], home, {})

    environment = {"DATABASE_URL": database_url, "PEER_WEBHOOK_SECRET": WEBHOOK_SECRET, "PYTHONPATH": str(home)}
    path = await _output([str(python), str(home / "dj_stripe_site.py")], home, environment)

    @asynccontextmanager
    async def serving(traffic: Traffic) -> AsyncIterator[int]:
        port = free_port()
        gunicorn = ["-m", "gunicorn", "--workers", str(os.cpu_count()), "--threads", "8", "--log-level", "warning"]
        command = [str(python), *gunicorn, "--bind", f"127.0.0.1:{port}", "dj_stripe_site:application"]
        async with _stripe(traffic) as stripe:
            own = {**environment, "PEER_STRIPE": stripe}
            async with process(command, own, f"http://127.0.0.1:{port}/", ready_status=404):
                yield port

    return Peer(
        name="dj-stripe",
        version=version,
        applies="gunicorn with a process per core: stores the event, fetches its object from Stripe, and writes it",
        path=path,
        database_url=database_url,
        written="SELECT least((SELECT count(*) FROM djstripe_subscription WHERE djstripe_updated >= $1),"
        " (SELECT count(*) FROM djstripe_event WHERE djstripe_created >= $1))",
        serving=serving,
    )


@asynccontextmanager
async def _stripe(traffic: Traffic) -> AsyncIterator[str]:
    """Serve Stripe's API for the objects of events in this process, whose processor time does not count."""
    objects = {each["id"]: each for each in traffic.objects()}

    async def retrieve(request: web.Request) -> web.Response:
        object_id, kind = request.match_info["id"], request.match_info["kind"].removesuffix("s")
        return web.json_response(objects.get(object_id) or _plain(kind, object_id))

    async def account(_: web.Request) -> web.Response:
        return web.json_response(_plain("account", "acct_benchmark"))

    async def none(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [], "has_more": False})

    app = web.Application()
    app.router.add_get("/v1/account", account)
    app.router.add_get("/v1/products/{id}/features", none)
    app.router.add_get("/v1/{kind}/{id}", retrieve)
    async with served(app) as url:
        yield url


def _plain(kind: str, object_id: str) -> Mapping[str, Any]:
    """Return the least that an object which the events name has to consist of."""
    return {"id": object_id, "object": kind, "created": 1_700_000_000, "livemode": False, "metadata": {}}


async def _install(name: str, command: list[str], home: Path) -> None:
    print(f"installing {name}", file=sys.stderr)
    installing = await asyncio.create_subprocess_exec(
        *command, cwd=home, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await installing.communicate()
    if installing.returncode:
        shutil.rmtree(home)
        lines = errors.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise LeftOutError(f"{name} cannot be installed: {lines[-1]}")


async def _output(command: list[str], home: Path, environment: Mapping[str, str]) -> str:
    """Return the last line that a command prints. Raises RuntimeError if it fails."""
    running = await asyncio.create_subprocess_exec(
        *command, cwd=home, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await running.communicate()
    if running.returncode:
        raise RuntimeError(f"{command} ended with status {running.returncode}")
    return output.decode().strip().splitlines()[-1]

"""Applications that embed billing, from examples/, run from the built wheel in an environment of their own."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
from tests.patience import PATIENCE
from uv import find_uv_bin

ROOT: Final = Path(__file__).parents[1]
EXAMPLES: Final = ROOT / "examples"
FRAMEWORKS: Final = ("fastapi>=0.115,<1", "uvicorn>=0.30,<1", "django>=5.2,<6")
_BIN: Final = "Scripts" if sys.platform == "win32" else "bin"
_UV: Final = find_uv_bin()


@attrs.frozen
class HostEnvironment:
    """A virtual environment with the wheel, its extra `host` and web frameworks, and a folder with the examples."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "venv" / _BIN / "python"

    @property
    def wheel(self) -> Path:
        """The wheel, for other environments."""
        (wheel,) = (self.folder / "dist").glob("*.whl")
        return wheel

    @property
    def examples(self) -> Path:
        """The copies of the examples, with nothing of this repository beside them."""
        return self.folder / "examples"

    def run(self, code: str, environment: Mapping[str, str], *arguments: str) -> str:
        """Run Python code to its end and return its output."""
        return self._run(environment, "-c", code, *arguments)

    def ask(self, example: str, environment: Mapping[str, str], *arguments: str) -> str:
        """Run an example to its end and return its output."""
        return self._run(environment, example, *arguments)

    def _run(self, environment: Mapping[str, str], *command: str) -> str:
        done = subprocess.run(
            [str(self.python), *command],
            capture_output=True,
            text=True,
            check=False,
            env=alone(environment),
            cwd=self.examples,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def alone(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which nothing points to this repository."""
    return {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def build_host_environment(folder: Path) -> HostEnvironment:
    """Build the wheel, and install it with frameworks."""
    built = HostEnvironment(folder)
    _run(_UV, "build", "--wheel", "--out-dir", folder / "dist", ROOT)
    make_environment(folder / "venv", f"{built.wheel}[host]", *FRAMEWORKS)
    shutil.copytree(EXAMPLES, built.examples)
    return built


def make_environment(folder: Path, *requirements: str) -> Path:
    """Make a virtual environment that has these requirements and nothing else, and return its interpreter."""
    python = folder / _BIN / "python"
    _run(_UV, "venv", "--python", sys.executable, folder)
    _run(_UV, "pip", "install", "--python", python, *requirements)
    return python


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, check=False, env=alone(os.environ)
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


@attrs.define
class RunningHost:
    """An application that serves at `url`, and what it has written."""

    url: str
    process: asyncio.subprocess.Process
    lines: list[str] = attrs.field(factory=list)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def written(self, text: str) -> None:
        """Wait for a line that begins with a text."""
        async with asyncio.timeout(PATIENCE):
            while not any(line.startswith(text) for line in self.lines):
                self._news.clear()
                await self._news.wait()

    async def stop(self) -> float:
        """Ask it to end as an orchestrator does; return the seconds that it took."""
        begun = time.monotonic()
        self.process.terminate()
        async with asyncio.timeout(PATIENCE):
            await self.process.wait()
        return time.monotonic() - begun

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip())
            self._news.set()


@asynccontextmanager
async def running_host(
    built: HostEnvironment, *command: str, environment: Mapping[str, str], url: str = "", ready: str | None = None
) -> AsyncIterator[RunningHost]:
    """Run an application until the end of the block, from when it answers at a path of its URL."""
    process = await asyncio.create_subprocess_exec(
        str(built.python),
        *command,
        env=alone(environment),
        cwd=built.examples,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    host = RunningHost(url, process)
    reading = asyncio.create_task(host._read())
    try:
        if ready is not None:
            await _until_it_answers(host, f"{url}{ready}")
        yield host
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _until_it_answers(host: RunningHost, address: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
        while True:
            assert host.process.returncode is None, "\n".join(host.lines)
            try:
                async with session.get(address, headers={"X-Tenant": "acme"}):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)


async def first_event(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the fields of the first server-sent event that has a name."""
    async with asyncio.timeout(PATIENCE), session.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for raw in response.content:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                return fields
            else:
                fields = {}
    raise AssertionError("the stream ended")

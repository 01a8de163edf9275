"""The demo end to end: real servers, signatures and streams, and killed processes."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from billing_app.setup.env_local import read_variables
from billing_demo.folder import temporary_folder
from billing_embedded.data_directory import DataDirectory
from billing_embedded.loopback import free_port
from billing_embedded.urls import POSTGRES

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(240)]

_ACCEPTED = re.compile(r'^stripe_webhook_events_total\{.*result="accepted".*\} (\S+)$', re.MULTILINE)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory that is removed after the test, wherever the servers keep their files."""
    with temporary_folder(tmp_path / "demo", keep=False):
        yield tmp_path / "demo"


class Demo:
    """A running `billing demo` and its output so far."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self._process = subprocess.Popen(
            [sys.executable, "-m", "billing_app", "demo", "--data-dir", str(data_dir), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._outcome: tuple[int, str] | None = None
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process id of the demo itself."""
        return self._process.pid

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match in its output; fail if it ends without one."""
        with self._said:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                if self._process.poll() is not None and not self._listener.is_alive():
                    pytest.fail("\n".join([f"the demo ended without printing {pattern}:", *self.lines]))
                self._said.wait(0.2)

    def base_url(self) -> str:
        """Return the address of its server, once it is ready."""
        return self.wait_for(r"activity page of \S+: (http://[^/]+)")[1]

    def server_pid(self) -> int:
        """Return the process id of its server."""
        return int(self.wait_for(r"billing serve is running as process (\d+)")[1])

    def wait_until_accepted(self, count: int) -> None:
        """Wait until the server has accepted this many events."""
        while self._accepted() < count:
            time.sleep(0.02)

    def _accepted(self) -> float:
        self.base_url()  # it is ready
        port = read_variables(self.data_dir / ".env.local")["BILLING_METRICS_PORT"]
        with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            return sum(float(value) for value in _ACCEPTED.findall(page.read().decode()))

    def signal(self, number: signal.Signals) -> None:
        """Send the demo a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for its end; return the exit status and the standard output."""
        if self._outcome is None:
            assert self._process.stdout is not None
            with self._process.stdout as printed:
                output = printed.read()
            self._outcome = (self._process.wait(), output)
            self._listener.join()
        return self._outcome

    def summary(self) -> dict[str, Any]:
        """Wait for its end and return the summary; fail if there is none."""
        status, output = self.end()
        if status not in (0, 1) or not output:
            pytest.fail("\n".join([f"the demo ended with status {status}:", *self.lines]))
        found: dict[str, Any] = json.loads(output)
        assert (status == 0) == (found["differences"] == 0)
        return found

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            for line in said:
                with self._said:
                    self.lines.append(line.rstrip())
                    self._said.notify_all()
        with self._said:
            self._said.notify_all()


@contextmanager
def running(data_dir: Path, *options: str) -> Iterator[Demo]:
    """Run a demo on a free port, and end it whatever the test does."""
    demo = Demo(data_dir, "--port", str(free_port()), *options)
    try:
        yield demo
    finally:
        demo.signal(signal.SIGTERM)
        demo.end()


def processes() -> dict[tuple[int, str], int]:
    """Map all processes, by id and start time, to the ids of their parents."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if status[0] != "Z":
            found[int(entry.name), status[19]] = int(status[1])
    return found


def family_of(pid: int) -> set[tuple[int, str]]:
    """Return a process and all its descendants."""
    everything = processes()
    family = {process for process in everything if process[0] == pid}
    while (
        more := {process for process, parent in everything.items() if parent in {number for number, _ in family}}
        - family
    ):
        family |= more
    return family


@pytest.mark.parametrize("options", [[], ["--shuffle", "--duplicates", "0.3"]], ids=["as Stripe delivers", "shuffled"])
def test_every_tenant_ends_in_the_expected_state(data_dir: Path, options: list[str]) -> None:
    """All events are accepted and applied, and state, history and streams are as expected."""
    with running(data_dir, "--events", "400", "--json", "--seed", "1", *options) as demo:
        summary = demo.summary()
    assert summary["first_differences"] == [], "\n".join(summary["first_differences"])
    assert (summary["events"], summary["accepted"], summary["operations"]) == (400, 400, 8)
    assert summary["applied"] > 400  # those that follow from the operations are applied, too
    assert summary["duplicates"] == summary["posted"] - 400 > 0
    assert summary["messages"] > 100  # about 200; how many events arrive late and are stale is random


@pytest.mark.faults
def test_a_server_killed_in_the_middle_costs_nothing(data_dir: Path) -> None:
    """SIGKILL while webhooks arrive: the server is restarted, and in the end nothing is missing or duplicated."""
    with running(data_dir, "--events", "600", "--json", "--seed", "2") as demo:
        demo.base_url()
        demo.wait_until_accepted(200)
        os.kill(demo.server_pid(), signal.SIGKILL)
        summary = demo.summary()
    assert summary["first_differences"] == [], "\n".join(summary["first_differences"])
    assert (summary["restarts"], summary["operations"]) == (1, 8)
    assert summary["accepted"] + summary["duplicates"] >= 600


@pytest.mark.faults
def test_a_killed_demo_leaves_no_process(data_dir: Path) -> None:
    """All processes of a killed demo end, and the next demo works in the same folder."""
    with running(data_dir, "--rate", "200") as demo:
        demo.base_url()
        demo.wait_until_accepted(50)
        family = family_of(demo.pid)
        demo.signal(signal.SIGKILL)
        demo.end()
        while processes().keys() & family:  # the test's own time limit is the deadline
            time.sleep(0.05)
    with running(data_dir, "--events", "100", "--json") as demo:
        status, output = demo.end()
    assert status == 0, "\n".join([output, *demo.lines])


def test_a_taken_port_and_a_used_seed_are_reported(data_dir: Path) -> None:
    """A port in use is replaced and the new one named, also one of the demo's own servers; a used seed is rejected."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = str(holder.getsockname()[1])
        with running(data_dir, "--events", "60", "--json", "--seed", "s", "--port", taken) as first:
            used = first.wait_for(rf"port {taken} is in use; using (\d+)")
            assert first.base_url().endswith(f":{used[1]}")
            assert first.end()[0] == 0
    taken = str(DataDirectory(data_dir).endpoint(POSTGRES).port)
    with running(data_dir, "--events", "60", "--json", "--seed", "s", "--port", taken) as second:
        assert second.end()[0] == 2, "\n".join(second.lines)
        second.wait_for(f"port {taken} is in use")
        second.wait_for("already contains a run with seed s")


@pytest.mark.faults
def test_an_endless_demo_can_be_used_as_it_says_until_ctrl_c(data_dir: Path) -> None:
    """Link, commands and stream work as printed, a second demo names the first; Ctrl-C leaves totals and no process."""
    with running(data_dir, "--rate", "100") as demo:
        demo.wait_until_accepted(20)
        with urlopen(demo.wait_for(r"activity page of \S+: (http\S+)")[1]) as page:
            assert page.status == 200
        follow_the_stream(demo)
        assert len(events_listed(demo)) >= 20
        with running(data_dir) as second:
            assert second.end()[0] == 2
            second.wait_for(rf"in use by process {demo.pid}, probably another demo\..*--data-dir")
        family = family_of(demo.pid)
        assert len(family) >= 5  # the demo, the server, the supervisor, Postgres, Valkey
        demo.signal(signal.SIGINT)
        status, output = demo.end()
        assert processes().keys() & family == set()
    assert status == 0
    totals, following, *commands = output.splitlines()
    assert re.match(r"\d+ events of \d+ tenants in .* accepted, .* not compared$", totals)
    assert (following, len(commands)) == ("Next:", 3)
    assert any(line.endswith("events list") for line in commands)


def follow_the_stream(demo: Demo) -> None:
    """Open the stream as the printed command of curl does, and read a message."""
    _, _, _, file, url = shlex.split(demo.wait_for(r"stream of \S+: (curl .+)")[1])
    lines = Path(file.removeprefix("@")).read_text(encoding="utf-8").splitlines()
    with urlopen(Request(url, headers=dict(line.split(": ", 1) for line in lines))) as stream:
        while not stream.readline().startswith(b"data: "):
            pass


def events_listed(demo: Demo) -> list[dict[str, Any]]:
    """Run the printed command, which lists the events of the demo, whatever servers the environment names."""
    nowhere = "postgresql://127.0.0.1:1/none"
    elsewhere = {**os.environ, "DATABASE_URL": nowhere, "DATABASE_DIRECT_URL": nowhere}
    look = demo.wait_for(r"look into it: \S+ (--data-dir .+ events list)")[1]
    command = [sys.executable, "-m", "billing_app", *shlex.split(look), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=elsewhere)
    listed: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return listed


def test_the_port_and_the_folder_of_the_settings_are_used(tmp_path: Path) -> None:
    """BILLING_PORT is the server's, and the data is in a folder of its own in BILLING_DATA_DIR."""
    port = str(free_port())
    environment = {**os.environ, "BILLING_PORT": port, "BILLING_DATA_DIR": str(tmp_path / "local")}
    command = [sys.executable, "-m", "billing_app", "demo", "--events", "30", "--seed", "s", "--keep"]
    with temporary_folder(tmp_path / "local" / "demo", keep=False):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert f"data in {tmp_path / 'local' / 'demo'}" in done.stderr
        assert f"http://127.0.0.1:{port}/" in done.stderr
        assert ", 0 differences\nNext:\n" in done.stdout

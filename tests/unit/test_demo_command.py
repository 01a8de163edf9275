"""The demo as a command: invalid options, the environment of its processes, its output and its data directory."""

import io
import json
import re
import socket
import stat
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner
from rich.console import Console

from billing_app.exit_status import errors_end_the_program
from billing_app.http.sign_in import read_ticket
from billing_app.settings import Settings
from billing_app.settings.price_map import parse_price_map
from billing_demo import deployment
from billing_demo.account import AccountEvent
from billing_demo.catalog import PLANS, PRICE_ROLES, price_map
from billing_demo.command import demo
from billing_demo.convergence import ConvergenceCheck
from billing_demo.credentials import Credentials
from billing_demo.delivery import DeliveryCounts
from billing_demo.deployment import DemoError
from billing_demo.expected_state import ExpectedState
from billing_demo.folder import temporary_folder
from billing_demo.looking import write_settings
from billing_demo.progress import Progress, Summary
from billing_demo.screen import LiveScreen, PlainScreen, TenantAccess
from billing_demo.stream_followers import StreamFollowers
from billing_demo.tenant_api import TenantApi
from billing_embedded import ServerUrls
from billing_embedded.data_directory import DataDirectory
from billing_stripe.testing import objects

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PROGRESS = Progress(
    deliveries=DeliveryCounts(events=12, posted=15, accepted=12, duplicates=1, failed=2),
    simulated_until=NOW,
    applied=11,
    messages=9,
    clients=3,
    violations=0,
    statuses=Counter({"active": 2, "past_due": 1}),
    backlog_seconds=1.25,
    unpublished_seconds=None,
    restarts=0,
    seconds=4.0,
)
SUMMARY = Summary(
    tenant_id="acme",
    seed="1",
    events=100,
    tenants=3,
    posted=110,
    accepted=100,
    duplicates=8,
    failed=2,
    applied=100,
    messages=70,
    operations=8,
    restarts=0,
    settle_seconds=0.5,
    seconds=4.0,
    differences=(),
)


def access(credentials: Credentials) -> TenantAccess:
    """Access to the data of acme."""
    return TenantAccess(
        tenant_id="acme",
        base_url="http://127.0.0.1:8080",
        sign_in_path=lambda: credentials.sign_in_path("acme"),
        stream_command=lambda: "curl -N -H @.billing/demo/headers http://127.0.0.1:8080/api/v1/billing/stream",
        look="billing --data-dir .billing/demo events list",
    )


def test_json_requires_a_finite_run() -> None:
    """Without --events there is no summary to print: that is a usage error, and nothing is started."""
    result = CliRunner().invoke(demo, ["--json"])
    assert result.exit_code == 2
    assert "--json requires --events" in result.output


@pytest.mark.parametrize("options", [["--tenants", "0"], ["--events", "0"], ["--duplicates", "2"], ["--rate", "0"]])
def test_numbers_out_of_range_are_rejected(options: list[str]) -> None:
    """Every number has a range."""
    assert CliRunner().invoke(demo, options).exit_code == 2


def test_a_demo_that_cannot_go_on_has_an_exit_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not that of differences; and it says why."""

    def fail(*_: object) -> None:
        raise DemoError("billing serve did not become ready")

    monkeypatch.setattr("billing_demo.command._run", fail)
    with pytest.raises(SystemExit) as ended, errors_end_the_program():
        demo(["--events", "1"], standalone_mode=False)
    assert ended.value.code == 2
    assert "billing serve did not become ready" in capsys.readouterr().err


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    """The wanted port is used only if no other process listens on it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert deployment.choose_port(taken) != taken
    assert deployment.choose_port(taken) == taken


def test_the_processes_get_only_the_settings_of_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's settings for a real deployment do not leak in, and the result is a valid configuration."""
    monkeypatch.setenv("STRIPE_ACCOUNT_ID", "acct_real")
    monkeypatch.setenv("BILLING_METRICS_TOKEN", "a-real-metrics-token")
    monkeypatch.setenv("DATABASE_DIRECT_URL", "postgresql://real.example.com/billing")
    monkeypatch.setenv("UNRELATED", "kept")
    urls = ServerUrls(database_url="postgresql://u:p@127.0.0.1/b", redis_url="redis://127.0.0.1/0")
    environment = deployment.environment_of(urls, Credentials(), 8123, "http://127.0.0.1:12111", metrics_port=8124)
    settings = Settings.load(environment, env_file=Path("does-not-exist"))
    assert environment["UNRELATED"] == "kept"
    assert (settings.stripe.account_id, settings.server.metrics_token, settings.database.direct_url) == (None,) * 3
    assert (settings.switches.billing, settings.stripe.livemode, settings.server.port) == (True, False, 8123)
    assert settings.stripe.api_base == "http://127.0.0.1:12111"
    assert settings.warnings == ()


def test_every_price_of_the_demo_is_in_its_price_map() -> None:
    """The server knows every price that a tenant can be billed for."""
    plans = parse_price_map(price_map())
    assert {plan.plan_code for plan in plans} == {plan.code for plan in PLANS}
    assert {price_id for plan in plans for price_id in plan.price_ids} == PRICE_ROLES.keys()


def test_credentials_are_not_shown_and_give_access_to_one_tenant() -> None:
    """No repr contains a secret, and the ticket of the sign-in link is for its tenant."""
    credentials = Credentials()
    for secret in (credentials.webhook, credentials.jwt, credentials.ticket, credentials.api_key):
        assert secret.reveal() not in repr(credentials)
    assert "ticket" not in repr(access(credentials))
    ticket = credentials.sign_in_path("acme").removeprefix("/demo/sign-in?ticket=")
    assert read_ticket(credentials.ticket, ticket, now=datetime.now(UTC)) == "acme"


@pytest.mark.parametrize("keep", [True, False])
def test_the_folder_is_removed_unless_it_is_to_be_kept(tmp_path: Path, keep: bool) -> None:
    """The data of a demo is removed by default, after an error as well."""
    folder = tmp_path / "demo"

    def failing_run() -> None:
        DataDirectory.at(folder)
        (folder / "data").write_text("x")
        raise RuntimeError("over")

    with pytest.raises(RuntimeError), temporary_folder(folder, keep=keep):
        failing_run()
    assert folder.exists() is keep


def test_the_folder_of_another_process_is_not_removed(tmp_path: Path) -> None:
    """A demo that cannot start because another one is running does not remove that one's data."""
    directory = DataDirectory.at(tmp_path / "demo")
    assert directory.take()
    with temporary_folder(directory.path, keep=False):
        pass
    assert directory.path.exists()


def test_plain_lines_show_the_progress() -> None:
    """Without a terminal the output is lines, with figures only every few seconds."""
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.log("starting")
    screen.show_access(access(Credentials()))
    screen.update(PROGRESS)
    screen.update(attrs.evolve(PROGRESS, messages=10))
    lines = out.getvalue().splitlines()
    assert lines[0] == "starting"
    assert lines[1].startswith("activity page of acme: http://127.0.0.1:8080/demo/sign-in?ticket=")
    assert lines[2].startswith("stream of acme: curl -N -H @.billing/demo/headers http")
    assert lines[3] == "look into it: billing --data-dir .billing/demo events list"
    assert lines[4:] == [
        "4 s: 12 events accepted, 11 applied, 1 duplicates, 2 retries, "
        "9 messages streamed; tenants: 2 active, 1 past_due"
    ]


def test_the_live_panel_fits_a_small_terminal() -> None:
    """Everything is inside it, and no frame breaks the link or the commands, so that they can be copied."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system=None)
    statuses = Counter({f"status_{number}": 9 for number in range(12)})
    with LiveScreen(console) as screen:
        screen.show_access(access(Credentials()))
        for number in range(9):
            screen.log(f"billing serve is running as process {number}")
        out.truncate(0)
        screen.update(attrs.evolve(PROGRESS, statuses=statuses))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).strip("\n\x00\r")
    panel, *_ = re.split(r"(?<=Ctrl-C stops everything) ─+", text)
    lines = [line.rstrip() for line in panel.splitlines()]
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    link = next(number for number, line in enumerate(lines) if line.startswith("http://127.0.0.1:8080/demo/sign-in"))
    assert len(lines[link] + lines[link + 1]) < 100
    assert "curl -N -H @.billing/demo/headers http://127.0.0.1:8080/api/v1/billing/stream" in lines
    assert "billing --data-dir .billing/demo events list" in lines
    assert "as process 8" in panel


def test_the_live_panel_shows_figures_statuses_and_the_link() -> None:
    """The terminal shows all figures; the last line is drawn although nothing draws the panel again."""
    out = io.StringIO()
    with LiveScreen(Console(file=out, force_terminal=True, width=110, height=40, color_system=None)) as screen:
        screen.show_access(access(Credentials()))
        screen.log("billing serve is running as process 1")
        screen.update(PROGRESS)
        screen.log("stopping")
    text = out.getvalue()
    assert "stopping" in text
    for shown in ("12 (3/s)", "9 by 3 clients", "1.2 s", "unknown", "past_due", "22 November 2026", "as process 1"):
        assert shown in text
    assert "http://127.0.0.1:8080/demo/sign-in?ticket=" in text
    assert any(line.strip().endswith("/api/v1/billing/stream") for line in text.splitlines())


def test_the_settings_of_a_run_are_those_of_its_server(tmp_path: Path) -> None:
    """For commands that look into it: they read the file, and find the local servers by the folder."""
    urls = ServerUrls(database_url="postgresql://u:p@127.0.0.1/b", redis_url="redis://127.0.0.1/0")
    environment = deployment.environment_of(urls, Credentials(), 8123, "http://127.0.0.1:12111", metrics_port=8124)
    write_settings(tmp_path, environment)
    file = tmp_path / ".env.local"
    settings = Settings.load({}, env_file=file)
    assert (settings.database.url, settings.redis.url, settings.embedded.data_dir) == (None, None, tmp_path)
    assert (settings.switches.billing, settings.server.port, settings.warnings) == (True, 8123, ())
    assert settings.catalog == Settings.load(environment, env_file=Path("does-not-exist")).catalog
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_summary_counts_the_differences() -> None:
    """The JSON has the number of differences and the first of them; a run without differences passed."""
    failed = attrs.evolve(SUMMARY, differences=[f"line {number}" for number in range(80)])
    assert (SUMMARY.passed, failed.passed) == (True, False)
    document = json.loads(json.dumps(failed.to_json()))
    assert (document["differences"], len(document["first_differences"])) == (80, 50)
    assert document["events_per_second"] == 25.0


class Api:
    """The HTTP API and stream of one tenant whose history is complete from the n-th request on."""

    def __init__(self, *, complete_from: int | None) -> None:
        self._complete_from = complete_from
        self.requests = 0

    def application(self) -> web.Application:
        """The routes that the check and the stream clients use."""
        app = web.Application()
        app.router.add_get("/api/v1/billing/tenants/{tenant_id}/{resource}", self._read)
        app.router.add_get("/stream", self._stream)
        return app

    async def _read(self, request: web.Request) -> web.Response:
        resource = request.match_info["resource"]
        if resource == "state":
            self.requests += 1
            return web.json_response({"sequence": 1, "subscriptions": [], "invoices": []})
        if resource == "events":
            complete = self._complete_from is not None and self.requests >= self._complete_from
            events = [{"sequence": 1}] if complete else []
            return web.json_response({"events": events, "next_after": None})
        return web.json_response({resource: []})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        message = {"sequence": 1, "tenant_id": "acme", "subscription": None}
        if request.headers["Last-Event-ID"] == "0":
            await response.write(f"id: 1\nevent: x\ndata: {json.dumps(message)}\n\n".encode())
        return response


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session, closed after the test."""
    async with aiohttp.ClientSession() as opened:
        yield opened


async def remaining_differences(api: Api, session: aiohttp.ClientSession) -> list[str]:
    """Check a tenant that has a customer and nothing else."""
    expected = ExpectedState()
    customer = objects.Customer(customer_id="cus_1", created_at=NOW, metadata={"tenant_id": "acme"})
    expected.record(AccountEvent(tenant_id="acme", type="customer.created", at=NOW, subject=customer))
    async with TestServer(api.application()) as server:
        base_url = str(server.make_url("")).rstrip("/")
        streams = StreamFollowers(session=session, url=f"{base_url}/stream", token=str)
        streams.connect("acme")
        client = TenantApi(session=session, base_url=base_url, token=str)
        found = await ConvergenceCheck(expected=expected, api=client, streams=streams, give_up_after=0.2).wait()
        await streams.close()
        return found


async def test_the_check_waits_for_events_that_are_still_being_processed(session: aiohttp.ClientSession) -> None:
    """A state that converges has no differences, however often it has to be read."""
    api = Api(complete_from=2)
    assert await remaining_differences(api, session) == []
    assert api.requests >= 2


async def test_the_check_gives_up_when_nothing_changes_any_more(session: aiohttp.ClientSession) -> None:
    """A remaining difference is reported: here a history without the message that the state counts."""
    found = await remaining_differences(Api(complete_from=None), session)
    assert found == ["acme history has 0 messages, expected 1 to 1 without a gap"]

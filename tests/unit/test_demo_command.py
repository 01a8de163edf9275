"""The demo as a command: what it refuses, what it tells its processes, what it shows and what it leaves behind."""

import io
import json
import socket
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

from billing_app.http.sign_in import read_ticket
from billing_app.settings import Settings
from billing_app.settings.price_map import parse_price_map
from billing_demo import site
from billing_demo.account import Happening
from billing_demo.catalog import PLACES, PLANS, price_map
from billing_demo.command import demo
from billing_demo.credentials import Credentials
from billing_demo.delivery import Tally
from billing_demo.figures import Figures, Summary
from billing_demo.folder import removed_afterwards
from billing_demo.listener import Audience
from billing_demo.reader import Reader
from billing_demo.screen import Invitation, LiveScreen, PlainScreen
from billing_demo.truth import Truth
from billing_demo.verdict import Judge
from billing_embedded import ServerUrls
from billing_embedded.home import Home
from billing_stripe.testing import objects

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FIGURES = Figures(
    tally=Tally(events=12, posted=15, accepted=12, duplicates=1, failed=2),
    played_until=NOW,
    applied=11,
    messages=9,
    listeners=3,
    violations=0,
    statuses=Counter({"active": 2, "past_due": 1}),
    backlog_seconds=1.25,
    unpublished_seconds=None,
    restarts=0,
    seconds=4.0,
)
SUMMARY = Summary(
    seed="1",
    events=100,
    tenants=3,
    posted=110,
    accepted=100,
    duplicates=8,
    failed=2,
    applied=100,
    messages=70,
    restarts=0,
    settle_seconds=0.5,
    seconds=4.0,
    differences=(),
)


def invitation(credentials: Credentials) -> Invitation:
    """An invitation to look in as acme."""
    return Invitation(
        tenant_id="acme",
        base_url="http://127.0.0.1:8080",
        sign_in_path=lambda: credentials.sign_in_path("acme"),
        token=lambda: credentials.token("acme"),
    )


def test_json_needs_an_end() -> None:
    """Without --events there is no outcome to print: that is a wrong use, and nothing is started."""
    result = CliRunner().invoke(demo, ["--json"])
    assert result.exit_code == 2
    assert "--json needs --events" in result.output


@pytest.mark.parametrize("options", [["--tenants", "0"], ["--events", "0"], ["--duplicates", "2"], ["--rate", "0"]])
def test_senseless_numbers_are_refused(options: list[str]) -> None:
    """Every number has a range."""
    assert CliRunner().invoke(demo, options).exit_code == 2


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    """The wanted port is used when nobody listens on it, and only then."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert site.choose_port(taken) != taken
    assert site.choose_port(taken) == taken


def test_the_processes_get_the_demos_settings_and_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user has set for a real deployment does not leak in; the result is a configuration without a fault."""
    monkeypatch.setenv("STRIPE_ACCOUNT_ID", "acct_real")
    monkeypatch.setenv("BILLING_METRICS_TOKEN", "a-real-metrics-token")
    monkeypatch.setenv("UNRELATED", "kept")
    urls = ServerUrls(database_url="postgresql://u:p@127.0.0.1/b", redis_url="redis://127.0.0.1/0")
    environment = site.environment_of(urls, Credentials(), 8123)
    settings = Settings.load(environment, env_file=Path("does-not-exist"))
    assert environment["UNRELATED"] == "kept"
    assert (settings.stripe.account_id, settings.server.metrics_token) == (None, None)
    assert (settings.switches.billing, settings.stripe.livemode, settings.server.port) == (True, False, 8123)
    assert settings.warnings == ()


def test_every_price_of_the_demo_is_in_its_map() -> None:
    """The map that the server gets knows every price that a tenant can be billed for."""
    plans = parse_price_map(price_map())
    assert {plan.plan_code for plan in plans} == {plan.code for plan in PLANS}
    assert {price_id for plan in plans for price_id in plan.price_ids} == PLACES.keys()


def test_credentials_show_nothing_and_open_the_right_door() -> None:
    """No secret in a repr; the sign-in link's ticket is for its tenant."""
    credentials = Credentials()
    for secret in (credentials.webhook, credentials.jwt, credentials.ticket, credentials.api_key):
        assert secret.reveal() not in repr(credentials)
    assert credentials.token("acme") not in repr(invitation(credentials))
    ticket = credentials.sign_in_path("acme").removeprefix("/demo/sign-in?ticket=")
    assert read_ticket(credentials.ticket, ticket, now=datetime.now(UTC)) == "acme"


@pytest.mark.parametrize("keep", [True, False])
def test_the_folder_is_removed_unless_it_is_to_be_kept(tmp_path: Path, keep: bool) -> None:
    """Nobody needs the data of a demo afterwards, unless they say so; an error changes nothing about that."""
    folder = tmp_path / "demo"

    def failing_run() -> None:
        Home.at(folder)
        (folder / "data").write_text("x")
        raise RuntimeError("over")

    with pytest.raises(RuntimeError), removed_afterwards(folder, unless=keep):
        failing_run()
    assert folder.exists() is keep


def test_the_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A demo that was refused because another one runs does not remove that one's data."""
    home = Home.at(tmp_path / "demo")
    assert home.take()
    with removed_afterwards(home.path, unless=False):
        pass
    assert home.path.exists()


def test_plain_lines_tell_what_goes_on() -> None:
    """Without a terminal the run is told in lines, figures among them only now and then."""
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.say("starting")
    screen.invite(invitation(Credentials()))
    screen.show(FIGURES)
    screen.show(attrs.evolve(FIGURES, messages=10))
    lines = out.getvalue().splitlines()
    assert lines[0] == "starting"
    assert lines[1].startswith("live page of acme: http://127.0.0.1:8080/demo/sign-in?ticket=")
    assert lines[2].startswith("stream of acme: curl -N -H 'Authorization: Bearer ")
    assert lines[3:] == [
        "4 s: 12 events accepted, 11 applied, 1 duplicates, 2 sent again, "
        "9 messages streamed; tenants: 2 active, 1 past_due"
    ]


def test_the_live_panel_shows_figures_statuses_and_the_link() -> None:
    """Everything a spectator wants to see is on the terminal; what is to be copied is not cut in pieces."""
    out = io.StringIO()
    with LiveScreen(Console(file=out, force_terminal=True, width=110, color_system=None)) as screen:
        screen.invite(invitation(Credentials()))
        screen.say("billing serve runs as process 1")
        screen.show(FIGURES)
        screen.say("stopping")  # with nobody left to draw the panel again
    text = out.getvalue()
    assert "stopping" in text
    for shown in ("12 (3/s)", "9 by 3 clients", "1.2 s", "unknown", "past_due", "22 November 2026", "as process 1"):
        assert shown in text
    link = next(line for line in text.splitlines() if "live page of acme" in line)
    assert "http://127.0.0.1:8080/demo/sign-in?ticket=" in link
    curl = next(line for line in text.splitlines() if "curl -N" in line)
    assert curl.endswith("/api/v1/billing/stream")


def test_the_summary_counts_what_was_wrong() -> None:
    """The JSON has the number of differences and shows the first of them; a right run has none."""
    wrong = attrs.evolve(SUMMARY, differences=[f"line {number}" for number in range(80)])
    assert (SUMMARY.right, wrong.right) == (True, False)
    document = json.loads(json.dumps(wrong.to_json()))
    assert (document["differences"], len(document["first_differences"])) == (80, 50)
    assert document["events_per_second"] == 25.0


class Api:
    """A read API and stream of one tenant that is right from the n-th look at it on."""

    def __init__(self, *, right_from: int | None) -> None:
        self._right_from = right_from
        self.looks = 0

    def application(self) -> web.Application:
        """The routes that the judge and the listeners use."""
        app = web.Application()
        app.router.add_get("/api/v1/billing/tenants/{tenant_id}/{resource}", self._read)
        app.router.add_get("/stream", self._stream)
        return app

    async def _read(self, request: web.Request) -> web.Response:
        resource = request.match_info["resource"]
        if resource == "state":
            self.looks += 1
            return web.json_response({"sequence": 1, "subscriptions": [], "invoices": []})
        if resource == "events":
            right = self._right_from is not None and self.looks >= self._right_from
            events = [{"sequence": 1}] if right else []
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
    """A client session that is closed in the end."""
    async with aiohttp.ClientSession() as opened:
        yield opened


async def verdict_on(api: Api, session: aiohttp.ClientSession) -> list[str]:
    """What the judge finds about a tenant that exists and has nothing yet."""
    truth = Truth()
    customer = objects.Customer(customer_id="cus_1", created_at=NOW, metadata={"tenant_id": "acme"})
    truth.observe(Happening(tenant_id="acme", type="customer.created", at=NOW, subject=customer))
    async with TestServer(api.application()) as server:
        base_url = str(server.make_url("")).rstrip("/")
        audience = Audience(session=session, url=f"{base_url}/stream", token=str)
        audience.invite("acme")
        reader = Reader(session=session, base_url=base_url, token=str)
        found = await Judge(truth=truth, reader=reader, audience=audience, patience=0.2).wait_for_verdict()
        await audience.leave()
        return found


async def test_the_judge_waits_for_what_is_still_on_its_way(session: aiohttp.ClientSession) -> None:
    """A state that becomes right is right; the judge looks as often as it takes."""
    api = Api(right_from=2)
    assert await verdict_on(api, session) == []
    assert api.looks >= 2


async def test_the_judge_gives_up_when_nothing_changes_any_more(session: aiohttp.ClientSession) -> None:
    """What stays wrong is reported: here a history that lacks the message that the state counts."""
    found = await verdict_on(Api(right_from=None), session)
    assert found == ["acme history has 0 messages, not 1 to 1 without a gap"]

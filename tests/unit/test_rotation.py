"""The steps of a rotation follow from what servers use, so that an interrupted one continues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billing_app.errors import OperatorError
from billing_app.secret import Secret
from billing_app.settings import Settings, SettingsError
from billing_app.setup.env_local import EnvChange, read_variables, write
from billing_app.setup.rotation.flow import Outcome, rotate
from billing_app.setup.rotation.plans import Rotation, WebhookSecretRotation
from billing_app.setup.rotation.servers import Matches, ServerSecrets, parse_metrics
from billing_app.setup.rotation.steps import Standing, Step, api_key_standing, webhook_standing
from billing_app.troubleshooting import StripeCliTrouble
from billing_telemetry.metrics import Metrics

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUIET = timedelta(minutes=5)
OLD, NEW = Secret("whsec_old" + "a" * 20), Secret("whsec_new" + "b" * 20)


def server(url: str = "http://one", **last: timedelta | None) -> ServerSecrets:
    """Return a server with secrets that matched so long ago, or never."""
    return ServerSecrets(
        url=url,
        webhook_secrets={
            name: Matches(count=0 if ago is None else 1, last_at=None if ago is None else NOW - ago)
            for name, ago in last.items()
        },
    )


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.mark.parametrize(
    ("configured", "old", "servers", "step"),
    [
        (["old"], None, [server(old=minutes(1))], Step.BEGIN),
        (["old"], None, [server(old=None)], Step.BEGIN),
        (["thin", "old"], None, [server(thin=None, old=minutes(1))], Step.BEGIN),
        (["new"], "old", [server(new=minutes(1))], Step.BEGIN),
        (["old", "new"], "old", [server(old=minutes(1))], Step.RESTART),
        (["old", "new"], "old", [server(old=None, new=minutes(1)), server(old=None)], Step.RESTART),
        (["new"], None, [server(old=None, new=minutes(1))], Step.RESTART),
        (["old", "new"], "old", [server(old=None, new=None)], Step.AWAIT_NEW),
        (["old", "new"], "old", [server(old=minutes(9), new=None)], Step.AWAIT_NEW),
        (["old", "new"], "old", [server(old=minutes(9), new=minutes(9))], Step.AWAIT_OLD),
        (["old", "new"], "old", [server(old=minutes(4), new=minutes(1))], Step.AWAIT_OLD),
        (["old", "new"], "old", [server(old=None, new=minutes(1)), server(old=minutes(1), new=None)], Step.AWAIT_OLD),
        (["old", "new"], "old", [server(old=minutes(5), new=minutes(1))], Step.REMOVE),
        (["old", "new"], "old", [server(old=None, new=minutes(1)), server(old=None, new=None)], Step.REMOVE),
        (["old", "thin", "new"], "old", [server(old=None, thin=minutes(0), new=minutes(1))], Step.REMOVE),
        (["old", "thin", "new"], "old", [server(old=minutes(1), thin=None, new=minutes(0))], Step.AWAIT_OLD),
    ],
    ids=lambda value: value.value if isinstance(value, Step) else "",
)
def test_the_next_step_of_a_signing_secret(
    configured: Sequence[str], old: str | None, servers: Sequence[ServerSecrets], step: Step
) -> None:
    """A secret that Stripe still signs with is not removed, nor one of another endpoint."""
    assert webhook_standing(configured, old, servers, now=NOW, quiet=QUIET).step is step


def test_the_servers_to_restart_are_named() -> None:
    """A server that uses the configured secrets is left alone."""
    servers = [server("http://one", old=None, new=None), server("http://two", old=None)]
    standing = webhook_standing(["old", "new"], "old", servers, now=NOW, quiet=QUIET)
    assert standing == Standing(step=Step.RESTART, servers=("http://two",))


@pytest.mark.parametrize(("used", "step"), [({"new"}, Step.BEGIN), ({"old"}, Step.RESTART), (set(), Step.RESTART)])
def test_the_next_step_of_an_api_key(used: set[str], step: Step) -> None:
    """A server uses one key at a time."""
    assert api_key_standing("new", [ServerSecrets(url="http://one", api_keys=frozenset(used))]).step is step


def test_metrics_of_a_server_are_read_as_they_are_written() -> None:
    """Fingerprint, count and time survive; a secret that never matched has no time."""
    metrics = Metrics()
    metrics.webhook_secrets_configured([OLD.fingerprint(), NEW.fingerprint()])
    metrics.webhook_secrets_matched([NEW.fingerprint()])
    metrics.api_key_configured("abcd1234")
    found = parse_metrics("http://one", metrics.render()[0].decode())
    assert found.api_keys == {"abcd1234"}
    assert found.webhook_secrets[OLD.fingerprint()] == Matches(count=0, last_at=None)
    assert found.webhook_secrets[NEW.fingerprint()].count == 1
    assert found.webhook_secrets[NEW.fingerprint()].last_at is not None


def test_both_secrets_of_one_webhook_match_at_the_same_time() -> None:
    """Otherwise the second would look as if it had matched alone."""
    metrics = Metrics()
    metrics.webhook_secrets_matched(["old", "new"])
    found = parse_metrics("http://one", metrics.render()[0].decode()).webhook_secrets
    assert found["old"].last_at == found["new"].last_at


# --- the way through ----------------------------------------------------------------------------------------------


class Operator:
    """An operator who gives one secret and consents, and who restarts the server when asked to."""

    def __init__(self, given: str = NEW.reveal()) -> None:
        self.given = given
        self.steps: list[Step] = []
        self.asked: list[str] = []

    def shows(self, standing: Standing, rotation: Rotation, servers: Sequence[ServerSecrets]) -> None:
        self.steps.append(standing.step)

    def wrote(self, change: EnvChange) -> None:
        pass

    def asks_for_new(self, rotation: Rotation) -> str:
        self.asked.append("new")
        return self.given

    def asks_to_remove(self, rotation: Rotation) -> None:
        self.asked.append("remove")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project with one signing secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRIPE_WEBHOOK_SECRET", raising=False)
    write(tmp_path / ".env.local", {"STRIPE_WEBHOOK_SECRET": OLD.reveal()})
    return tmp_path


def configured(folder: Path) -> list[str]:
    return read_variables(folder / ".env.local")["STRIPE_WEBHOOK_SECRET"].split(",")


def server_that(**last: timedelta | None) -> Callable[[], Awaitable[Sequence[ServerSecrets]]]:
    """Return the reader of one server."""
    names = {"old": OLD.fingerprint(), "new": NEW.fingerprint(), "thin": Secret("whsec_thin" + "c" * 20).fingerprint()}
    now = datetime.now(UTC)
    found = {
        names[name]: Matches(count=0 if ago is None else 1, last_at=None if ago is None else now - ago)
        for name, ago in last.items()
    }

    async def read() -> Sequence[ServerSecrets]:
        return [ServerSecrets(url="http://one", webhook_secrets=found)]

    return read


async def rotated(
    folder: Path,
    operator: Operator,
    read: Callable[[], Awaitable[Sequence[ServerSecrets]]],
    *,
    only_show: bool = False,
    old: str | None = None,
) -> Outcome:
    """Run the command once."""
    settings = Settings.load({}, folder / ".env.local")
    rotation = WebhookSecretRotation.of(settings, quiet=QUIET, old=old)
    return await rotate(rotation, settings, operator, read=read, wait=False, only_show=only_show)


async def test_a_rotation_takes_four_runs_and_none_repeats_a_step(folder: Path) -> None:
    """Add, verify, remove, and see the end: each run continues where the settings and the servers stand."""
    operator = Operator()
    await rotated(folder, operator, server_that(old=minutes(1)))
    assert configured(folder) == [OLD.reveal(), NEW.reveal()]
    for waiting in (server_that(old=minutes(0), new=None), server_that(old=minutes(0), new=minutes(0))):
        await rotated(folder, operator, waiting)
        assert configured(folder) == [OLD.reveal(), NEW.reveal()]
    await rotated(folder, operator, server_that(old=minutes(6), new=minutes(0)))
    assert configured(folder) == [NEW.reveal()]
    outcome = await rotated(folder, operator, server_that(new=minutes(0)), only_show=True)
    assert outcome.standing.step is Step.BEGIN
    assert operator.asked == ["new", "remove"]
    assert operator.steps == [
        *(Step.BEGIN, Step.RESTART),
        *(Step.AWAIT_NEW, Step.AWAIT_OLD),
        *(Step.REMOVE, Step.RESTART),
        Step.BEGIN,
    ]


async def test_a_rotation_in_one_run_ends_when_the_servers_use_the_new_secret_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --wait it follows the servers from step to step, and does not begin another rotation at the end."""
    monkeypatch.setattr("billing_app.setup.rotation.flow._POLL", 0)
    stages = iter(
        [
            server_that(old=minutes(1)),
            server_that(old=minutes(1)),
            server_that(old=None, new=None),
            server_that(old=None, new=minutes(0)),
            server_that(old=None, new=minutes(0)),
            server_that(new=None),
        ]
    )
    settings = Settings.load({}, folder / ".env.local")
    rotation = WebhookSecretRotation.of(settings, quiet=QUIET)
    operator = Operator()

    async def read() -> Sequence[ServerSecrets]:
        return await next(stages)()

    outcome = await rotate(rotation, settings, operator, read=read, wait=True, only_show=False)
    assert (outcome.completed, configured(folder), operator.asked) == (True, [NEW.reveal()], ["new", "remove"])


async def test_the_secret_of_another_endpoint_is_left_alone(folder: Path) -> None:
    """With several secrets the one to replace has to be named; the record of it is gone at the end."""
    thin = Secret("whsec_thin" + "c" * 20)
    write(folder / ".env.local", {"STRIPE_WEBHOOK_SECRET": f"{OLD.reveal()},{thin.reveal()}"})
    operator = Operator()
    with pytest.raises(OperatorError, match=rf"--old: .*\({OLD.fingerprint()}\)"):
        await rotated(folder, operator, server_that(old=None, thin=minutes(0)))
    with pytest.raises(OperatorError, match="names none"):
        await rotated(folder, operator, server_that(old=None, thin=minutes(0)), old="00000000")
    await rotated(folder, operator, server_that(old=None, thin=minutes(0)), old=OLD.fingerprint())
    assert configured(folder) == [OLD.reveal(), thin.reveal(), NEW.reveal()]
    with pytest.raises(OperatorError, match="being replaced already"):
        await rotated(folder, operator, server_that(old=None, thin=None, new=None), old=thin.fingerprint())
    await rotated(folder, operator, server_that(old=None, thin=minutes(0), new=minutes(0)))
    assert read_variables(folder / ".env.local") == {"STRIPE_WEBHOOK_SECRET": f"{thin.reveal()},{NEW.reveal()}"}


async def test_showing_changes_nothing(folder: Path) -> None:
    """Neither at the beginning nor when the old secret could be removed."""
    operator = Operator()
    await rotated(folder, operator, server_that(old=minutes(1)), only_show=True)
    assert (configured(folder), operator.asked) == ([OLD.reveal()], [])


@pytest.mark.parametrize("given", ["", "sk_test_" + "a" * 24, "we_1Nxyz"])
async def test_a_value_that_is_no_signing_secret_is_refused(folder: Path, given: str) -> None:
    """With the fault that the settings would have, and nothing is written."""
    with pytest.raises(SettingsError):
        await rotated(folder, Operator(given), server_that(old=minutes(1)))
    assert configured(folder) == [OLD.reveal()]


async def test_secrets_that_another_place_keeps_are_not_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where to change them; nothing is asked for that could not be written."""
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", OLD.reveal())
    operator = Operator()
    with pytest.raises(OperatorError, match=StripeCliTrouble.SECRET_IS_NOT_IN_THE_FILE.anchor):
        await rotated(folder, operator, server_that(old=minutes(1)))
    assert operator.asked == []

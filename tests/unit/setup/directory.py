"""One set-up of a directory: a fake Stripe, a person who answers, and a proof that is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from billing_app.settings import Settings
from billing_app.setup.flow import SetupOptions, run_setup
from billing_app.setup.proof import Proof
from billing_app.setup.report import Report
from billing_stripe.testing.fake_stripe import FakeStripe

KEY = "sk_test_51AbcdefghijklmnopqrstuvWXYZ"
URL = "http://billing.example.com/webhooks/stripe"


class KilledError(BaseException):
    """The process is gone."""


@attrs.define
class Person:
    """A `Dialog` with prepared answers, which keeps all that it was shown."""

    interactive: bool = False
    answers: list[Any] = attrs.field(factory=list)
    shown: list[str] = attrs.field(factory=list)
    dies_at: int | None = None

    def say(self, text: str = "") -> None:
        self.shown.append(text)
        if len(self.shown) == self.dies_at:
            raise KilledError

    def ask(self, question: str) -> str:
        return str(self._answer(question))

    def ask_secret(self, question: str) -> str:
        return str(self._answer(question))

    def choose(self, question: str, answers: Sequence[str]) -> int:
        return int(self._answer(question, *answers))

    def _answer(self, *shown: str) -> Any:
        self.shown += shown
        assert self.interactive
        return self.answers.pop(0)

    @property
    def text(self) -> str:
        """Everything that was shown."""
        return "\n".join(self.shown)


@attrs.define
class Directory:
    """A directory in which set-up runs."""

    path: Path
    fake: FakeStripe
    person: Person = attrs.field(factory=Person)
    environ: dict[str, str] = attrs.field(factory=dict)
    proofs: list[tuple[Settings, Mapping[str, Any]]] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)
    confirm: Callable[[str], None] | None = None
    """By default every question is answered with yes."""

    @property
    def env_file(self) -> Path:
        return self.path / ".env.local"

    @property
    def rules_file(self) -> Path:
        return self.path / "billing.toml"

    @property
    def settings(self) -> Settings:
        """The settings as a server would load them."""
        return Settings.load(self.environ, self.env_file)

    async def run(self, **options: Any) -> Report:
        """Run once, with a fresh memory of what was shown."""
        self.person.shown = []
        options = {"webhook_url": URL, "env_file": self.env_file, **options}
        return await run_setup(
            SetupOptions(**options),
            self.person,
            self.confirm or self.asked.append,
            environ=self.environ,
            prove=self._prove,
        )

    def writes(self) -> int:
        """Count the requests that could change something at Stripe."""
        return sum(request.method != "GET" for request in self.fake.requests)

    async def _prove(self, settings: Settings, event: Mapping[str, Any]) -> Proof:
        self.proofs.append((settings, event))
        return Proof(event_id=event["id"], event_type=event["type"], outcome="applied")

"""Finding the API key: given, recorded, of the Stripe CLI, or typed. It is never an argument of a command."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import attrs

from billing_app.errors import OperatorError
from billing_app.secret import Secret, mask_unparsed
from billing_app.settings import Settings, StripeSettings
from billing_app.settings.declaration import settings_of
from billing_app.settings.parsers import UnusableValueError
from billing_app.setup.dialog import Dialog
from billing_app.setup.stripe_cli import StripeCli, StripeCliError, StripeCliKeyExpiredError, StripeCliMissingError
from billing_app.troubleshooting import KeyTrouble, SetupTrouble

VARIABLE: Final = "STRIPE_SECRET_KEY"
CLI: Final = "the Stripe CLI"
"""The source of its key."""
_KEYS_PAGE: Final = "https://dashboard.stripe.com/test/apikeys"


@attrs.frozen(kw_only=True)
class FoundKey:
    """A key, and where it comes from."""

    secret: Secret
    source: str
    recorded: bool
    """Whether the settings hold it already."""

    @property
    def live(self) -> bool:
        """Whether it opens live mode."""
        return "_live_" in self.secret.reveal()[:12]


def parse_key(text: str) -> Secret:
    """Return a key that was typed or piped. Raises: OperatorError, which names what it is instead."""
    parser = settings_of(StripeSettings)["secret_key"].parser
    given = text.strip()
    try:
        key: Secret = parser.parse(given)
    except ValueError as exc:
        reason = f": {exc}" if isinstance(exc, UnusableValueError) else ""
        row = getattr(exc, "trouble", None) or KeyTrouble.KEY_IS_MALFORMED
        raise OperatorError(
            f"The key is {mask_unparsed(given)}, which cannot be used{reason}. It takes {parser.expects}. See {row}."
        ) from None
    return key


def refuse_live(key: FoundKey, *, allowed: bool) -> None:
    """Raise OperatorError for a live key, unless it is allowed: set-up is tried in a sandbox first."""
    if key.live and not allowed:
        raise OperatorError(
            f"The key from {key.source} is a live one. Set up a sandbox first (a key sk_test_… or rk_test_…), then "
            f"repeat the command with --live. See {SetupTrouble.KEY_IS_LIVE}."
        )


class KeyFinder:
    """Finds the key, in this order: standard input, the settings, the log-in of the Stripe CLI, the person."""

    def __init__(
        self,
        settings: Settings,
        dialog: Dialog,
        find_cli: Callable[[], StripeCli],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._settings = settings
        self._dialog = dialog
        self._find_cli = find_cli
        self._environ = environ

    async def find(self, given: str | None) -> FoundKey:
        """Return the key; `given` is the text from standard input. Raises: OperatorError."""
        if given is not None:
            return FoundKey(secret=parse_key(given), source="standard input", recorded=False)
        recorded = self._settings.stripe.secret_key
        if recorded is not None:
            source = "the environment" if self._environ.get(VARIABLE, "").strip() else ".env.local"
            return FoundKey(secret=recorded, source=source, recorded=True)
        cli = self._cli()
        if cli is not None:
            key = await self._of_session(cli)
            if key is not None:
                return key
        if not self._dialog.interactive:
            raise OperatorError(
                "There is no API key, and no terminal to ask for one. Pipe it in (billing stripe setup --key-stdin < "
                f"key), set {VARIABLE}, or log in with `stripe login`. See {SetupTrouble.NO_KEY_IS_GIVEN}."
            )
        return await self._ask(cli)

    def _cli(self) -> StripeCli | None:
        try:
            return self._find_cli()
        except StripeCliMissingError:
            return None

    async def _of_session(self, cli: StripeCli) -> FoundKey | None:
        """Return the key of the log-in, if it has one and shows it. Without a person, an expired one is an error."""
        session = await cli.whoami()
        if session is None:
            return None
        try:
            session.require_usable(datetime.now(UTC).date())
        except StripeCliError as error:
            if not self._dialog.interactive or not isinstance(error, StripeCliKeyExpiredError):
                raise
            self._dialog.say(str(error))
            return None
        key = await cli.session_key()
        if key is None:
            return None
        if session.test_key_expires_on is not None:
            self._dialog.say(
                f"The key of the Stripe CLI is used. It expires on {session.test_key_expires_on}: give servers a "
                f"restricted key of their own ({_KEYS_PAGE})."
            )
        return FoundKey(secret=key, source=CLI, recorded=False)

    async def _ask(self, cli: StripeCli | None) -> FoundKey:
        """Let the person choose. Nothing is installed, and no account is made unless it is chosen."""
        if cli is None:
            self._dialog.say(
                "The Stripe CLI is not installed (npm install --save-dev @stripe/cli). With it, `stripe login` "
                "replaces the key, and a sandbox needs no account."
            )
            return self._typed()
        ways = [
            f"Type a secret or restricted key of a sandbox ({_KEYS_PAGE})",
            "Log in with the Stripe CLI (stripe login)",
            "Create a sandbox without an account, to be claimed later (stripe sandbox create)",
        ]
        match self._dialog.choose("There is no API key yet. How should it be found?", ways):
            case 1:
                await cli.login()
                key = await self._of_session(cli)
                if key is not None:
                    return key
                self._dialog.say("The Stripe CLI keeps its key to itself.")
                return self._typed()
            case 2:
                sandbox = await cli.create_sandbox(self._dialog.ask("Email address for the sandbox"))
                self._dialog.say(
                    f"Sandbox {sandbox.account_id or ''} is deleted on {sandbox.expires_on or 'its last day'} unless "
                    "it is claimed: stripe sandbox claim"
                )
                return FoundKey(secret=sandbox.secret_key, source="the new sandbox", recorded=False)
            case _:
                return self._typed()

    def _typed(self) -> FoundKey:
        return FoundKey(
            secret=parse_key(self._dialog.ask_secret("API key (it is not shown)")), source="the prompt", recorded=False
        )

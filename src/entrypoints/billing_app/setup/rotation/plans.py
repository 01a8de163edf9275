"""The two rotations: of signing secrets, which overlap in the setting, and of the API key, which overlaps at Stripe."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final, Protocol

import attrs

from billing_app.errors import OperatorError
from billing_app.secret import Secret
from billing_app.settings import ENV_FILE, Settings
from billing_app.setup import env_local
from billing_app.setup.rotation.servers import ServerSecrets
from billing_app.setup.rotation.steps import Standing, api_key_standing, webhook_standing
from billing_app.troubleshooting import KeyTrouble, StripeCliTrouble
from billing_core.errors import GatewayAuthenticationError

REPLACED: Final = "STRIPE_REPLACED_WEBHOOK_SECRET"


class RefusedKeyError(OperatorError):
    """Stripe does not accept the new API key."""

    exit_code = 1


class Rotation(Protocol):
    """The secrets of a setting, in their order, and the steps that replace one of them."""

    variable: ClassVar[str]
    roll_first: ClassVar[str]
    """The work at Stripe before a new secret is given."""
    then: ClassVar[str]
    """The work at Stripe at the end."""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Return the secrets of the setting."""
        ...

    @property
    def old(self) -> Secret | None:
        """Return the secret that is being replaced, or is to be; None if it is not known yet which one."""
        ...

    @property
    def variables(self) -> Mapping[str, str | None]:
        """Return the variables in which the rotation is recorded."""
        ...

    def standing(self, servers: Sequence[ServerSecrets], now: datetime) -> Standing:
        """Return the next step."""
        ...

    async def check(self, given: str, settings: Settings) -> None:
        """Raise OperatorError unless the given text can be the next secret."""
        ...

    def with_new(self, new: Secret) -> Rotation:
        """Return the rotation after a secret was added."""
        ...

    def without_old(self) -> Rotation:
        """Return the rotation after the old secret was removed."""
        ...


@attrs.frozen(kw_only=True)
class WebhookSecretRotation:
    """Old and new secret stand in the setting together until webhooks are signed with the new one alone.

    Secrets of other endpoints stand there, too, so that a variable beside it names the old one.
    """

    secrets: tuple[Secret, ...]
    old: Secret | None
    """By default the only one."""
    is_under_way: bool = False
    quiet: timedelta
    variable: ClassVar[str] = "STRIPE_WEBHOOK_SECRET"
    roll_first: ClassVar[str] = (
        "In the Stripe Dashboard, open the webhook endpoint, roll its signing secret and let the old one expire after "
        "24 hours. Until then Stripe signs with both."
    )
    then: ClassVar[str] = "Done. The old secret is not in use any more."

    @classmethod
    def of(cls, settings: Settings, *, quiet: timedelta, old: str | None = None) -> WebhookSecretRotation:
        """Return the rotation as recorded.

        Args:
            settings: those of the deployment.
            quiet: how long the old secret may not have matched before it is removed.
            old: the fingerprint of the secret to replace, or the last characters of it.

        Raises: OperatorError if there is none, or `old` names none, or another one is being replaced.
        """
        stripe = settings.stripe
        if not stripe.webhook_secrets:
            raise OperatorError(f"{cls.variable} is not set: there is nothing to rotate. Run billing stripe setup.")
        by_fingerprint = {each.fingerprint(): each for each in stripe.webhook_secrets}
        recorded = by_fingerprint.get(stripe.replaced_secret or "")
        named = None if old is None else _named(old, stripe.webhook_secrets)
        if recorded is not None:
            if named not in (None, recorded):
                raise OperatorError(f"{recorded} is being replaced already. Finish that rotation first, without --old.")
            return cls(secrets=stripe.webhook_secrets, old=recorded, is_under_way=True, quiet=quiet)
        only = stripe.webhook_secrets[0] if len(stripe.webhook_secrets) == 1 else None
        return cls(secrets=stripe.webhook_secrets, old=named or only, quiet=quiet)

    @property
    def variables(self) -> Mapping[str, str | None]:
        """See Rotation."""
        replaced = self.old.fingerprint() if self.old is not None and self.is_under_way else None
        return {self.variable: ",".join(each.reveal() for each in self.secrets), REPLACED: replaced}

    def standing(self, servers: Sequence[ServerSecrets], now: datetime) -> Standing:
        """See Rotation."""
        old = self.old.fingerprint() if self.old is not None and self.is_under_way else None
        return webhook_standing([each.fingerprint() for each in self.secrets], old, servers, now=now, quiet=self.quiet)

    async def check(self, given: str, settings: Settings) -> None:
        """See Rotation."""
        _require_other(given, self)
        _load(self.variable, ",".join([*(each.reveal() for each in self.secrets), given]))

    def with_new(self, new: Secret) -> WebhookSecretRotation:
        """See Rotation."""
        return attrs.evolve(self, secrets=(*self.secrets, new), is_under_way=True)

    def without_old(self) -> WebhookSecretRotation:
        """See Rotation."""
        left = tuple(each for each in self.secrets if each != self.old)
        return attrs.evolve(self, secrets=left, old=None, is_under_way=False)


@attrs.frozen(kw_only=True)
class ApiKeyRotation:
    """The new key replaces the old one in the setting, while both are valid at Stripe."""

    secrets: tuple[Secret, ...]
    variable: ClassVar[str] = "STRIPE_SECRET_KEY"
    roll_first: ClassVar[str] = (
        "In the Stripe Dashboard, create a key with the permissions of the old one, or roll that one and let it expire "
        "later. Do not delete it yet: running servers use it."
    )
    then: ClassVar[str] = "Done. No server uses another key: delete the old one in the Stripe Dashboard."

    @property
    def old(self) -> Secret:
        """See Rotation."""
        return self.secrets[0]

    @property
    def variables(self) -> Mapping[str, str | None]:
        """See Rotation."""
        return {self.variable: self.secrets[0].reveal()}

    def standing(self, servers: Sequence[ServerSecrets], now: datetime) -> Standing:
        """See Rotation."""
        return api_key_standing(self.secrets[0].fingerprint(), servers)

    async def check(self, given: str, settings: Settings) -> None:
        """See Rotation. Stripe is asked whether the key is valid, and of the same account."""
        _require_other(given, self)
        loaded = _load(self.variable, given)
        if loaded.stripe.livemode != settings.stripe.livemode:
            raise OperatorError(
                f"The new key is a {_mode(loaded)} key, and the old one a {_mode(settings)} key. Nothing was changed. "
                f"See {StripeCliTrouble.NEW_KEY_IS_OF_ANOTHER_ACCOUNT}."
            )
        try:
            new = await _account_of(loaded)
        except GatewayAuthenticationError as error:
            raise RefusedKeyError(
                f"Stripe refuses the new key ({error}). Nothing was changed. See {KeyTrouble.KEY_IS_REFUSED}."
            ) from error
        try:
            old = await _account_of(settings)
        except GatewayAuthenticationError:
            old = settings.stripe.account_id  # it has expired or was deleted: then a rotation is urgent
        if new is not None and old is not None and new != old:
            raise OperatorError(
                f"The new key is of account {new}, and the old one of {old}. Nothing was changed. "
                f"See {StripeCliTrouble.NEW_KEY_IS_OF_ANOTHER_ACCOUNT}."
            )

    def with_new(self, new: Secret) -> ApiKeyRotation:
        """See Rotation."""
        return attrs.evolve(self, secrets=(new,))

    def without_old(self) -> ApiKeyRotation:
        """See Rotation. The setting holds one key at any time."""
        return self


def write(rotation: Rotation, path: Path = ENV_FILE) -> env_local.EnvChange:
    """Record the rotation in `.env.local`. Raises: OperatorError."""
    return env_local.write(path, rotation.variables)


def require_changeable(rotation: Rotation, path: Path = ENV_FILE) -> None:
    """Raise OperatorError unless it is known what to replace, and this command can record it."""
    if rotation.old is None:
        names = "; ".join(f"{each} ({each.fingerprint()})" for each in rotation.secrets)
        raise OperatorError(
            f"{rotation.variable} holds several secrets. Name the one to replace by its fingerprint, with --old: "
            f"{names}."
        )
    if rotation.variable in env_local.read_variables(path) and not os.environ.get(rotation.variable):
        return
    how = "Put the new one in its place"
    if rotation.variable != ApiKeyRotation.variable:
        how = f"Append the new one after a comma, set {REPLACED}={rotation.old.fingerprint()} beside it"
    raise OperatorError(
        f"{rotation.variable} is not set by {path}, the file that this command changes. Change it where your "
        f"deployment keeps it: {how}, restart the servers, and repeat this command with --status to verify it. "
        f"See {StripeCliTrouble.SECRET_IS_NOT_IN_THE_FILE}."
    )


def _named(name: str, secrets: Sequence[Secret]) -> Secret:
    """Return the secret with a fingerprint, or with these last characters, as they are shown."""
    found = [each for each in secrets if each.fingerprint() == name or str(each).endswith(f"…{name}")]
    if len(found) != 1:
        names = "; ".join(f"{each} ({each.fingerprint()})" for each in secrets)
        raise OperatorError(f"--old names none of the configured secrets, or several. They are {names}.")
    return found[0]


def _require_other(given: str, rotation: Rotation) -> None:
    if Secret(given) in rotation.secrets:
        raise OperatorError(f"{rotation.variable} holds this value already. Nothing was changed.")


def _load(variable: str, value: str) -> Settings:
    """Load the settings as they would be. Raises: SettingsError that names what is wrong with the value."""
    return Settings.load({**os.environ, variable: value})


async def _account_of(settings: Settings) -> str | None:
    """Return the account of a key; the configured one, or None, if the key may not read it."""
    from billing_app.container import read_account_id  # noqa: PLC0415 - the other rotation does not need it

    return await read_account_id(settings) or settings.stripe.account_id


def _mode(settings: Settings) -> str:
    return "live" if settings.stripe.livemode else "test"

"""The two rotations: of signing secrets, which overlap in the setting, and of the API key, which overlaps at Stripe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Protocol

import attrs

from billing_app.errors import OperatorError
from billing_app.secret import Secret
from billing_app.settings import ENV_FILE, Settings
from billing_app.setup import env_local
from billing_app.setup.rotation.servers import ServerSecrets
from billing_app.setup.rotation.steps import Standing, api_key_standing, webhook_standing
from billing_app.troubleshooting import StripeCliTrouble
from billing_core.errors import GatewayAuthenticationError, GatewayPermissionError


class Rotation(Protocol):
    """The secrets of a setting, in their order: the last one is the new one. And the steps that replace them."""

    variable: ClassVar[str]
    roll_first: ClassVar[str]
    """The work at Stripe before a new secret is given."""
    then: ClassVar[str]
    """The work at Stripe at the end."""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Return the secrets of the setting."""
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
        """Return the rotation after the old secrets were removed."""
        ...


@attrs.frozen(kw_only=True)
class WebhookSecretRotation:
    """Old and new secret stand in the setting together until webhooks are signed with the new one alone."""

    secrets: tuple[Secret, ...]
    quiet: timedelta
    variable: ClassVar[str] = "STRIPE_WEBHOOK_SECRET"
    roll_first: ClassVar[str] = (
        "In the Stripe Dashboard, open the webhook endpoint, roll its signing secret and let the old one expire after "
        "24 hours. Until then Stripe signs with both."
    )
    then: ClassVar[str] = "Done. The new secret alone is in use."

    def standing(self, servers: Sequence[ServerSecrets], now: datetime) -> Standing:
        """See Rotation."""
        return webhook_standing([each.fingerprint() for each in self.secrets], servers, now=now, quiet=self.quiet)

    async def check(self, given: str, settings: Settings) -> None:
        """See Rotation."""
        _require_other(given, self)
        _load(self.variable, ",".join([*(each.reveal() for each in self.secrets), given]))

    def with_new(self, new: Secret) -> WebhookSecretRotation:
        """See Rotation."""
        return attrs.evolve(self, secrets=(*self.secrets, new))

    def without_old(self) -> WebhookSecretRotation:
        """See Rotation."""
        return attrs.evolve(self, secrets=self.secrets[-1:])


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

    def standing(self, servers: Sequence[ServerSecrets], now: datetime) -> Standing:
        """See Rotation."""
        return api_key_standing(self.secrets[-1].fingerprint(), servers)

    async def check(self, given: str, settings: Settings) -> None:
        """See Rotation. Stripe is asked whether the key is valid, and of the same account."""
        _require_other(given, self)
        loaded = _load(self.variable, given)
        if loaded.stripe.livemode != settings.stripe.livemode:
            raise OperatorError(
                f"The new key is a {_mode(loaded)} key, and the old one a {_mode(settings)} key. Nothing was changed. "
                f"See {StripeCliTrouble.NEW_KEY_IS_OF_ANOTHER_ACCOUNT}."
            )
        new = await _account_of(loaded)
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
    """Write the secrets to `.env.local`. Raises: OperatorError."""
    return env_local.write(path, {rotation.variable: ",".join(each.reveal() for each in rotation.secrets)})


def require_in_file(rotation: Rotation, path: Path = ENV_FILE) -> None:
    """Raise OperatorError if the secrets come from elsewhere, where this command cannot change them."""
    if rotation.variable not in env_local.read_variables(path) or os.environ.get(rotation.variable):
        form = "old and new, separated by a comma" if isinstance(rotation, WebhookSecretRotation) else "the new one"
        raise OperatorError(
            f"{rotation.variable} is not set by {path}, the file that this command changes. Change it where your "
            f"deployment keeps it ({form}), restart the servers, and repeat this command with the same environment to "
            f"verify it. See {StripeCliTrouble.SECRET_IS_NOT_IN_THE_FILE}."
        )


def _require_other(given: str, rotation: Rotation) -> None:
    if Secret(given) in rotation.secrets:
        raise OperatorError(f"{rotation.variable} holds this value already. Nothing was changed.")


def _load(variable: str, value: str) -> Settings:
    """Load the settings as they would be. Raises: SettingsError that names what is wrong with the value."""
    return Settings.load({**os.environ, variable: value})


async def _account_of(settings: Settings) -> str | None:
    """Return the account of a key; the configured one, or None, if the key may not read it."""
    from billing_app.container import read_account_id  # noqa: PLC0415 - the other rotation does not need it

    try:
        return await read_account_id(settings)
    except GatewayPermissionError:
        return settings.stripe.account_id


def _mode(settings: Settings) -> str:
    return "live" if settings.stripe.livemode else "test"

"""The settings that set-up records in `.env.local`: at once, so that an interrupted run loses none of them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from billing_app.secret import Secret
from billing_app.settings import Settings
from billing_app.setup import env_local
from billing_app.setup.env_local import EnvChange
from billing_app.setup.keys import VARIABLE, FoundKey

WEBHOOK_SECRET: Final = "STRIPE_WEBHOOK_SECRET"  # noqa: S105 - a name
PORTAL_CONFIGURATION: Final = "STRIPE_PORTAL_CONFIGURATION"


class Recorder:
    """Changes of one file. A variable of the environment wins over the file, and is not repeated there."""

    def __init__(self, path: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.path = path
        self._environ = environ

    def is_set_outside(self, name: str) -> bool:
        """Return whether the environment sets a variable."""
        return bool(self._environ.get(name, "").strip())

    def preview(self, changes: Mapping[str, str]) -> EnvChange:
        """Return what recording would change."""
        return env_local.preview(self.path, changes)

    def record(self, changes: Mapping[str, str]) -> EnvChange:
        """Write the changes."""
        return env_local.write(self.path, changes)

    def add_webhook_secret(self, secret: Secret) -> EnvChange:
        """Accept one more signing secret; those of before stay valid."""
        known = [text for text in env_local.read_variables(self.path).get(WEBHOOK_SECRET, "").split(",") if text]
        if secret.reveal() not in known:
            known.append(secret.reveal())
        return self.record({WEBHOOK_SECRET: ",".join(known)})

    def first_changes(
        self, settings: Settings, key: FoundKey, *, public_url: str | None, webhook_secret: Secret | None
    ) -> Mapping[str, str]:
        """Return the settings that are known before anything is made at Stripe.

        Args:
            settings: as they are.
            key: to be recorded unless it is.
            public_url: of the server, if it is given.
            webhook_secret: of the Stripe CLI, if it is to be used.
        """
        changes: dict[str, str] = {}
        if not key.recorded:
            changes[VARIABLE] = key.secret.reveal()
        if webhook_secret is not None:
            changes[WEBHOOK_SECRET] = webhook_secret.reveal()
        if public_url is not None:
            changes["BILLING_PUBLIC_URL"] = public_url
        if not settings.tokens.secrets and settings.tokens.jwks_url is None:
            changes["BILLING_JWT_SECRET"] = secrets.token_hex(32)
        changes["ENABLE_BILLING"] = "true"
        return {name: value for name, value in changes.items() if name == VARIABLE or not self.is_set_outside(name)}

"""Checks of the keys that verify tokens."""

from __future__ import annotations

from billing_app.doctor.results import CheckResult, fail, ok, warn
from billing_app.settings import TokenSettings
from billing_app.troubleshooting import SettingTrouble


def check_issuer(tokens: TokenSettings, *, unusable: str | None, unreachable: str | None) -> CheckResult:
    """Check the answer of the token issuer.

    An issuer that does not answer stops nothing: its keys are fetched again with the first token.

    Args:
        tokens: the settings.
        unusable: the reason why its answer holds no keys; None if it does, or there is none.
        unreachable: the reason why there is no answer.
    """
    remedy = "Open the address in a browser: it must show a JSON Web Key Set with RS256 or ES256 keys, for example "
    remedy += "BILLING_JWT_JWKS_URL=https://login.example.com/.well-known/jwks.json."
    if unusable is not None:
        detail = f"BILLING_JWT_JWKS_URL is {tokens.jwks_url}, but {unusable}"
        return fail("token issuer", detail, remedy, SettingTrouble.TOKEN_KEYS_ARE_UNUSABLE)
    if unreachable is not None:
        detail = f"BILLING_JWT_JWKS_URL is {tokens.jwks_url}, which does not answer ({unreachable})"
        return warn("token issuer", detail, remedy, SettingTrouble.TOKEN_ISSUER_IS_UNREACHABLE)
    return ok("token issuer", "it publishes keys for tokens")

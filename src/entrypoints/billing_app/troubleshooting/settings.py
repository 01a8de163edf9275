"""Troubles with environment variables, `.env.local`, files of secrets, and tokens."""

from billing_app.troubleshooting.trouble import Trouble


class SettingTrouble(Trouble):
    """Rows about settings that are neither Stripe's nor plans."""

    SETTING_IS_INVALID = (
        "`BILLING_PORT is 'eighty', which cannot be used`",
        "The value is of another kind than the setting takes, or outside its range.",
        "Write it as the message shows; `docs/billing/configuration.md` lists every setting.",
    )
    SETTINGS_CONTRADICT = (
        "`BILLING_DISPATCH_BACKOFF_BASE_SECONDS is above BILLING_DISPATCH_BACKOFF_CAP_SECONDS`",
        "Two settings are valid, but not together.",
        "Change one of the two that are named.",
    )
    ENV_FILE_IS_UNREADABLE = (
        "`.env.local cannot be read`, `.env.local has a line 2 that is not NAME=value`",
        "The file has a broken line, often a missing quote, or no read permission. It is never taken for an empty one.",
        "Correct that line, or repair its owner and mode.",
    )
    TOKEN_KEY_IS_MISSING = (
        "`BILLING_JWT_SECRET is required when ENABLE_BILLING is true`",
        "Nothing could verify the tokens of the API and the stream.",
        "Set `BILLING_JWT_SECRET` to the output of `openssl rand -hex 32`, or `BILLING_JWT_JWKS_URL` to the address of "
        "your issuer's keys.",
    )
    TOKEN_KEY_IS_WEAK = (
        "`BILLING_JWT_SECRET is …, which cannot be used`",
        "A key of fewer than 32 bytes can be guessed from one token; an empty member of the list is a lost key.",
        "Use the output of `openssl rand -hex 32`.",
    )

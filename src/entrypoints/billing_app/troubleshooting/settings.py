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
    SETTING_IS_SUSPICIOUS = (
        "`BILLING_PROT is not a setting; did you mean BILLING_PORT?`, `.env.local can be read by other users`",
        "A variable that starts like ours has no effect, or the file of secrets is open.",
        "Correct or remove the variable; `chmod 600 .env.local`.",
    )
    SECRET_IS_GIVEN_TWICE = (
        "`STRIPE_SECRET_KEY is set beside STRIPE_SECRET_KEY_FILE`",
        "A secret is given by value and by file, and one of them may be old.",
        "Keep one. The environment and `.env.local` count alike.",
    )
    SECRET_FILE_IS_UNREADABLE = (
        "`STRIPE_SECRET_KEY_FILE names /run/secrets/stripe, which cannot be read`",
        "The secret is not mounted, belongs to another user, is empty, or is not text.",
        "Mount it readable for the user of the process.",
    )
    TOKEN_KEYS_ARE_UNUSABLE = (
        "`BILLING_JWT_JWKS_URL is …, but the issuer answered 404`",
        "The address is not that of a key set, or the set holds no RS256 or ES256 key.",
        "Use the `jwks_uri` of the issuer's `/.well-known/openid-configuration`.",
    )
    TOKEN_ISSUER_IS_UNREACHABLE = (
        "`BILLING_JWT_JWKS_URL is …, which does not answer`",
        "The issuer is down, or cannot be reached from here. A start goes on; its tokens are refused until it answers.",
        "Look at the issuer and at the network.",
    )
    OPERATOR_ROLE_OF_TENANTS = (
        "`BILLING_JWT_OPERATOR_ROLES names admin, which BILLING_JWT_READER_ROLES … gives tenants as well`",
        "Operators give credit and waive payments, which a tenant's administrator must not.",
        "Name a role that only your own staff has.",
    )

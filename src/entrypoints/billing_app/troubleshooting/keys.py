"""Troubles with the API key and the account that it opens."""

from billing_app.troubleshooting.trouble import Trouble


class KeyTrouble(Trouble):
    """Rows about `STRIPE_SECRET_KEY` and `STRIPE_ACCOUNT_ID`."""

    KEY_IS_MISSING = (
        "`STRIPE_SECRET_KEY is required when ENABLE_BILLING is true`",
        "Billing is on and there is no API key, or the variable is empty.",
        "Set a restricted key (`rk_test_…`) or a secret key, or run `billing stripe setup`.",
    )
    KEY_IS_PUBLISHABLE = (
        "`STRIPE_SECRET_KEY is pk_…, which cannot be used: it is a publishable key`",
        "A key that starts with `pk_` is for browsers and cannot read billing data.",
        "Copy the secret or restricted key (`sk_…`, `rk_…`) from the same page of the Stripe Dashboard.",
    )
    KEY_IS_A_WEBHOOK_SECRET = (
        "`STRIPE_SECRET_KEY is whsec_…, which cannot be used: it is a signing secret`",
        "`whsec_…` belongs in `STRIPE_WEBHOOK_SECRET`; often the two were exchanged.",
        "Exchange the two values.",
    )
    KEY_IS_MALFORMED = (
        "`STRIPE_SECRET_KEY is …, which cannot be used`",
        "The value was cut off, is a placeholder such as `sk_test_…`, or has quotes or spaces inside.",
        "Copy the key again, as a whole: `sk_test_`, `sk_live_`, `rk_test_` or `rk_live_` with letters and digits.",
    )
    ORGANIZATION_KEY_LACKS_ACCOUNT = (
        "`STRIPE_ACCOUNT_ID is required when STRIPE_SECRET_KEY is the key of an organization`",
        "A key `sk_org_…` opens several accounts, and every call has to name one.",
        "Set `STRIPE_ACCOUNT_ID=acct_…` to the account that is billed.",
    )

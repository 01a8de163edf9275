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
    KEY_IS_REFUSED = (
        "`Stripe refuses the key`",
        "The key was revoked or rolled, or it belongs to a deleted sandbox.",
        "Create a key in the Stripe Dashboard, replace `STRIPE_SECRET_KEY`, and restart servers and workers.",
    )
    KEY_HAS_EXPIRED = (
        "`STRIPE_SECRET_KEY has expired`",
        "Keys of the Stripe CLI live for 90 days, and a rolled key until the time that was chosen.",
        "Run `stripe login` and `billing stripe setup`, or create a restricted key, which does not expire.",
    )
    CLI_KEY_EXPIRES = (
        "`the key of the Stripe CLI expires on …`",
        "The Stripe CLI's keys live for 90 days.",
        "Run `stripe login`, then `billing stripe setup`. Give servers a restricted key of their own.",
    )
    KEY_LACKS_PERMISSIONS = (
        "`STRIPE_SECRET_KEY lacks the permission to read …`",
        "A restricted key does not allow what is named.",
        "Edit the key in the Stripe Dashboard: Write for customers, checkout, portal, subscriptions, invoices, payment "
        "methods, setup intents, credit grants and meters; Read for products, prices, events and entitlements.",
    )
    KEY_OF_ANOTHER_ACCOUNT = (
        "`STRIPE_SECRET_KEY belongs to acct_2, and the database holds data of acct_1`",
        "The key was replaced by one of another account or sandbox. Its customers would be mixed with those stored.",
        "Use the key of that account, or a database of its own for this one (`DATABASE_URL`; for local servers "
        "`BILLING_DATA_DIR`).",
    )
    ACCOUNT_ID_OF_ANOTHER = (
        "`STRIPE_ACCOUNT_ID is acct_2, and the key belongs to acct_1`",
        "The two name different accounts, which is right for a connected account of a platform only.",
        "Correct or remove `STRIPE_ACCOUNT_ID`.",
    )
    LIVE_KEY_BESIDE_TEST_EVENTS = (
        "`STRIPE_SECRET_KEY is a live key, and the database holds test events`",
        "The database was used for trying; test subscriptions would give real access.",
        "Use an empty database for live mode.",
    )
    TEST_KEY_BESIDE_LIVE_EVENTS = (
        "`STRIPE_SECRET_KEY is a test key, and the database holds live events`",
        "A deployment for trying points at the database of production, or production got a test key.",
        "Correct `DATABASE_URL` or the key.",
    )
    STRIPE_IS_UNREACHABLE = (
        "`Stripe does not answer`",
        "No route to `api.stripe.com`, a proxy, or an incident. A start goes on: webhooks need no call.",
        "Look at https://status.stripe.com and at the network. Calls are sent again by themselves.",
    )

"""Troubles with webhooks: their secrets, the endpoint at Stripe, and the clock."""

from billing_app.troubleshooting.trouble import Trouble


class WebhookTrouble(Trouble):
    """Rows about `STRIPE_WEBHOOK_SECRET` and what Stripe sends."""

    WEBHOOK_SECRET_IS_MISSING = (
        "`STRIPE_WEBHOOK_SECRET is required when ENABLE_BILLING is true`",
        "Without the signing secret no webhook can be verified.",
        "Copy it from the endpoint in the Stripe Dashboard, or run `billing stripe setup`. For local work, "
        "`stripe listen --print-secret` prints the one of the Stripe CLI.",
    )
    WEBHOOK_SECRET_IS_BLANK = (
        "`STRIPE_WEBHOOK_SECRET … a member of the list is empty`",
        "Two commas in a row, or one at the end: usually a secret that was lost in a rotation.",
        "Remove the comma, or put the second secret back: `whsec_old,whsec_new`.",
    )
    WEBHOOK_SECRET_IS_AN_API_KEY = (
        "`STRIPE_WEBHOOK_SECRET is sk_…, which cannot be used: it is an API key`",
        "`sk_…` and `rk_…` belong in `STRIPE_SECRET_KEY`; often the two were exchanged.",
        "Exchange the two values.",
    )
    WEBHOOK_SECRET_IS_MALFORMED = (
        "`STRIPE_WEBHOOK_SECRET is …, which cannot be used`",
        "The value does not start with `whsec_`, was cut off, or is the id of the endpoint (`we_…`).",
        "Reveal the signing secret of the endpoint in the Stripe Dashboard and copy it as a whole.",
    )

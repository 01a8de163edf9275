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
        "`STRIPE_WEBHOOK_SECRET cannot be used: member 2 of the list: it is empty`",
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
    PUBLIC_URL_IS_UNKNOWN = (
        "`BILLING_PUBLIC_URL is not set`",
        "`billing doctor` does not know which endpoint at Stripe is this server's.",
        "Set it to the address under which Stripe reaches this server. With `billing stripe listen` none is needed.",
    )
    ENDPOINTS_CANNOT_BE_READ = (
        "`STRIPE_SECRET_KEY may not read webhook endpoints`",
        "The restricted key does not allow it, which is safer. Only the check needs it.",
        "Allow Webhook Endpoints: Read, or compare the endpoint in the Stripe Dashboard yourself.",
    )
    ENDPOINT_IS_MISSING = (
        "`no endpoint at Stripe sends to https://…/webhooks/stripe`",
        "No endpoint was created in this account or mode, or it has another URL.",
        "Run `billing stripe setup --webhook-url https://…/webhooks/stripe`.",
    )
    ENDPOINT_IS_DISABLED = (
        "`the endpoint we_… for … is disabled`",
        "It was disabled by hand, or by Stripe after days without an answer.",
        "Enable it in the Stripe Dashboard, then resend what it missed; Stripe keeps events for 30 days.",
    )
    ENDPOINT_LACKS_EVENTS = (
        "`the endpoint we_… does not send invoice.paid`",
        "The endpoint was created by hand or by an older release, and changes of some kinds never arrive.",
        "Run `billing stripe setup --webhook-url …`, which adds them.",
    )
    ENDPOINT_SENDS_UNUSED_EVENTS = (
        "`the endpoint we_… also sends charge.captured …, which are stored and ignored`",
        "The endpoint has types that nothing handles; they cost storage.",
        "Run `billing stripe setup --webhook-url …`, which removes them.",
    )
    ENDPOINT_VERSION_IS_UNTESTED = (
        "`the endpoint we_… sends events in …, which is not among the tested versions`",
        "The endpoint has an API version that is newer than this release, or the account's default.",
        "Create an endpoint with the version that the message shows; the version of an endpoint cannot be changed.",
    )
    API_VERSION_IS_UNTESTED = (
        "`STRIPE_API_VERSION is …, which is not among the tested versions`",
        "Fields may have moved in a version that this release does not know.",
        "Remove the variable: the default is tested.",
    )
    CLOCK_IS_OFF = (
        "`the clock of this machine is 400 s behind Stripe`",
        "Signatures are valid for `STRIPE_WEBHOOK_TOLERANCE_SECONDS` by this machine's clock.",
        "Synchronize it with NTP. A longer tolerance helps replay attacks.",
    )
    WEBHOOKS_ARE_REFUSED = (
        "`4 webhooks signed in Stripe's form were refused`; Stripe shows failed deliveries with 400",
        "The secret is the one of another endpoint, or was rolled; a proxy changed the body; or it is too large.",
        "Compare `STRIPE_WEBHOOK_SECRET` with the endpoint that sends them, then resend them from the Dashboard.",
    )

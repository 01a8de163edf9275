"""Troubles of `billing stripe setup`."""

from billing_app.troubleshooting.trouble import Trouble


class SetupTrouble(Trouble):
    """Rows about setting up a Stripe account."""

    NO_KEY_IS_GIVEN = (
        "`There is no API key, and no terminal to ask for one`",
        "The command runs in a pipeline or in CI without a key.",
        "Pipe the key in (`billing stripe setup --key-stdin --yes < key`), set `STRIPE_SECRET_KEY`, or run "
        "`stripe login`.",
    )
    KEY_IS_LIVE = (
        "`The key from … is a live one`",
        "Set-up makes products and prices that customers can buy.",
        "Set up a sandbox first. Then repeat the command with `--live`.",
    )
    PRICES_CANNOT_BE_MADE = (
        "`billing.toml does not fit this account`",
        "A price is named by an id of another account, or by a lookup key that no price has, without an amount; or a "
        "meter of the account counts the feature in another way.",
        "Follow the sentence about each price: give it `lookup_key`, `amount`, `currency` and `interval`. Then run the "
        "command again; nothing was changed.",
    )
    SETUP_LACKS_A_PERMISSION = (
        "`The key may not do this`",
        "A restricted key needs more permissions for set-up than later: Write for products, prices, meters, "
        "entitlements and the portal.",
        "Edit the key in the Stripe Dashboard, or run set-up once with a key that may: "
        "`billing stripe setup --key-stdin < key`. The rerun continues where this one stopped.",
    )
    STEP_IS_REFUSED = (
        "`Stripe refused this step`",
        "A value of billing.toml is one that Stripe does not take, or a limit of the account is reached.",
        "Look up the request id in the Stripe Dashboard (Developers > Logs), correct billing.toml, and run the command "
        "again.",
    )
    ACCOUNT_CHANGES_MEANWHILE = (
        "`Something else changes the same objects`",
        "Another set-up, or a person in the Dashboard, works on the account at the same time.",
        "Wait for the other one, and run the command again.",
    )
    CATALOG_HAS_DRIFTED = (
        "`The account differs from billing.toml`, exit status 1 of `--check`",
        "billing.toml was changed and not set up yet, or a person changed an object in the Dashboard.",
        "Run `billing stripe setup` and review what it would change.",
    )
    WEBHOOK_URL_IS_UNUSABLE = (
        "`Stripe cannot reach …`",
        "`--webhook-url` has no https, or names this machine or a private network.",
        "Give the public address: `--webhook-url https://billing.example.com/webhooks/stripe`. On a development "
        "machine leave it out: `billing stripe listen` forwards events.",
    )
    ENDPOINTS_ARE_NOT_PERMITTED = (
        "`This key may not manage webhook endpoints`",
        "Many restricted keys lack the permission, which is only needed once.",
        "Follow the printed steps in the Dashboard, or run set-up once with a key that may.",
    )
    ENDPOINT_SECRET_WAS_LOST = (
        "`the signing secret of webhook endpoint we_… has to be copied by hand`",
        "A run was interrupted before it stored the secret, and Stripe repeats its answer for a day only.",
        "Reveal the secret in the Dashboard and append it to `STRIPE_WEBHOOK_SECRET` in `.env.local`.",
    )
    ENVIRONMENT_HIDES_A_SECRET = (
        "`STRIPE_WEBHOOK_SECRET of the environment wins over .env.local`",
        "The variable is set in the environment of the process, which does not know the new secret.",
        "Add the secret from `.env.local` to the variable, after a comma, or remove the variable.",
    )
    NO_WAY_FOR_WEBHOOKS = (
        "`There is no way for webhooks yet`",
        "Without `--webhook-url` events come through the Stripe CLI, which is not installed.",
        "Install it (`npm install --save-dev @stripe/cli`) and run the command again, or give `--webhook-url`.",
    )
    EVENT_WAS_NOT_APPLIED = (
        "`The event was not applied`",
        "The database cannot be reached, lacks migrations, or the event ended in another way.",
        "Run `billing migrate`, then `billing doctor`; both say what to do. Then run the command again.",
    )
    RUNNING_SERVER_IS_OUTDATED = (
        "`The running server refused the event`",
        "It was started before set-up, with other secrets.",
        "Restart `billing serve`, and run the command again.",
    )

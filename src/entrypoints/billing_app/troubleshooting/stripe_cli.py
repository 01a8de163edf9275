"""Troubles with Stripe's command line, and with the file that `billing stripe` writes."""

from billing_app.troubleshooting.trouble import Trouble


class StripeCliTrouble(Trouble):
    """Rows about `billing stripe setup`, `listen` and `rotate` on the machine of a developer."""

    CLI_IS_MISSING = (
        "`The Stripe CLI was not found`",
        "There is no program `stripe` in `PATH` or in `node_modules`, or `STRIPE_CLI_PATH` names none.",
        "Run `npm install --save-dev @stripe/cli`, or install it as https://docs.stripe.com/stripe-cli/install says. "
        "Nothing is installed by itself.",
    )
    CLI_IS_ANOTHER_PROGRAM = (
        "`… is not the Stripe CLI, or older than version 1.50`",
        "Another program is called `stripe`, such as the npm package `stripe-cli`, or the version has no `whoami`.",
        "Install the current version, and set `STRIPE_CLI_PATH` to it if another one comes first in `PATH`.",
    )
    CLI_IS_LOGGED_OUT = (
        "`The Stripe CLI is not logged in`",
        "`stripe whoami` finds no key, or one for live mode only.",
        "Run `stripe login` and choose a sandbox. Without an account, `stripe sandbox create` makes one for a week.",
    )
    CLI_KEY_IS_EXPIRED = (
        "`The key of the Stripe CLI expired`",
        "A log-in of the Stripe CLI lasts 90 days. `stripe whoami` shows its last day.",
        "Run `stripe login` again, then repeat the command.",
    )
    CLI_HANGS = (
        "`stripe … did not end within … seconds and was stopped`",
        "It waits for the network, a proxy, or an answer that only a person can give.",
        "Run the same command in a terminal to see what it waits for; check the connection to `api.stripe.com`.",
    )
    CLI_FAILED = (
        "`stripe … failed: …`",
        "Stripe refused a call, or could not be reached. The text is that of the Stripe CLI.",
        "Do what the text says. A restricted key (`rk_…`) may lack a permission that the command needs.",
    )
    CLI_NEEDS_A_TEST_KEY = (
        "`STRIPE_SECRET_KEY is a live key`",
        "`billing stripe listen` would bring events of customers who pay to a server on your machine.",
        "Set the key of a sandbox (`sk_test_…`, `rk_test_…`), or unset it to use the log-in of the Stripe CLI.",
    )
    SECRET_IS_NOT_IN_THE_FILE = (
        "`… is set in the environment, where this command cannot change it`",
        "The environment has precedence over `.env.local`, so that a change of the file would have no effect.",
        "Change it where your environment comes from, or unset it there and repeat the command.",
    )
    LOCAL_FILE_IS_A_LINK = (
        "`.env.local is a symbolic link, which is not followed`",
        "Secrets would be written to wherever the link points.",
        "Replace the link by the file that it points to.",
    )
    LOCAL_FILE_IS_UNUSABLE = (
        "`.env.local cannot be read`, `… has a line … that is not NAME=value`",
        "A file that cannot be read as a whole is never taken for an empty one, and is not changed.",
        "Repair the file; `NAME='value'` is the form of a line. Or remove it, and run `billing stripe setup` again.",
    )
    LOCAL_FILE_IS_BUSY = (
        "`Another command is changing .env.local`",
        "Another `billing stripe` command has held the lock of the folder for ten seconds.",
        "Wait for it to end, or end it, and repeat the command.",
    )
    LOCAL_FILE_IS_NOT_IGNORED = (
        "`git does not ignore .env.local`",
        "The next `git add` would put keys into the repository; or it holds the file already.",
        "Add a line `.env.local*` to `.gitignore`. If git tracks the file, run `git rm --cached .env.local` and rotate "
        "the secrets that were committed.",
    )
    SERVER_IS_NOT_READABLE = (
        "`… does not show its metrics`",
        "`billing stripe rotate` asks each running process which secrets it uses. It is not running, listens "
        "elsewhere, demands another `BILLING_METRICS_TOKEN`, or has neither that nor a `BILLING_METRICS_PORT`.",
        "Start it with one of the two, or name the processes with `--server`, each by the address of its metrics. "
        "Nothing was changed.",
    )
    NEW_KEY_IS_OF_ANOTHER_ACCOUNT = (
        "`The new key is of account …`, `The new key is a … key`",
        "A key of another account or mode would split the data of tenants between two accounts.",
        "Create the key in the account and mode of the old one: the Dashboard shows both above its menu.",
    )

"""Troubles of consumers and outgoing webhooks."""

from billing_app.troubleshooting.trouble import Trouble


class ConsumerTrouble(Trouble):
    """Rows about consumers."""

    CONSUMER_IS_DISABLED = (
        "`consumer … is disabled`, `receiver.disabled` in the log",
        "Its receiver answered 410, or took no message for days; or an operator disabled it.",
        "Repair the receiver, try it with `billing consumers test NAME`, then run `billing consumers enable NAME`. Its "
        "messages wait, and are sent in order.",
    )
    TENANTS_ARE_HELD_BACK = (
        "`a dead message holds back … tenants`, `consumer.message_dead` in the log",
        "A message ran out of attempts, and the consumer is to hold its tenant back rather than lose it.",
        "Look at it with `billing consumers show NAME --held`, fix the cause, then run `billing consumers retry NAME "
        "--all`, or `billing consumers skip NAME TENANT` for a message that is never to be handled.",
    )
    MESSAGES_WAIT_FOR_A_CONSUMER = (
        "`the oldest message for consumer … has waited …`",
        "No process runs its handler, or its receiver is failing.",
        "Start `billing worker`, or the application with the handler. `billing consumers show NAME` has the errors.",
    )
    ADDRESS_IS_REFUSED = (
        "`… is not a public address`, `… is public and takes https`",
        "The URL of a receiver leads to a private network, which webhooks are not sent to unless it is allowed; or it "
        "has no https.",
        "Add the network to `BILLING_OUTGOING_ALLOWED_NETWORKS` for every worker, or correct the URL: `billing "
        "consumers add NAME --url …`.",
    )
    SIGNATURE_DOES_NOT_MATCH = (
        "`answered 401`, or the receiver finds no matching signature",
        "It verifies with another secret, or verifies a body that a framework has parsed and written again.",
        "Verify the raw bytes. Compare the fingerprint in `billing consumers show NAME`; "
        "`billing consumers rotate-secret NAME` prints a new secret.",
    )

"""Steps for a person: what the key does not permit, and what Stripe shows to people only."""

from collections.abc import Sequence
from typing import Final

from billing_stripe.provisioning.desired import DesiredEndpoint
from billing_stripe.provisioning.steps import Step
from billing_stripe.translate.meters import METER_REPORTS

_WEBHOOKS: Final = "In the Stripe dashboard, open Developers > Webhooks"


def create_endpoint(endpoint: DesiredEndpoint) -> Sequence[str]:
    """Return the steps to an endpoint that the key may not create."""
    return (
        f"This key may not manage webhook endpoints. {_WEBHOOKS} > Add destination.",
        f"Choose API version {endpoint.api_version}, and these events: {', '.join(endpoint.events)}.",
        f"Choose `Webhook endpoint`, enter {endpoint.url} and create it.",
        "Reveal its signing secret (whsec_…) and write it to STRIPE_WEBHOOK_SECRET in .env.local.",
    )


def change_endpoint(step: Step) -> Sequence[str]:
    """Return the step for an endpoint that the key may not change."""
    return (f"This key may not change webhook endpoints. {_WEBHOOKS}. {step.text}",)


def copy_secret(endpoint_id: str) -> str:
    """Return the step to a secret that Stripe does not show to programs again."""
    return f"{_WEBHOOKS} > {endpoint_id}, reveal its secret, and append it to STRIPE_WEBHOOK_SECRET in .env.local."


def create_thin_destination(url: str) -> Sequence[str]:
    """Return the steps to a destination for thin events, which alone report refused usage."""
    return (
        f"To learn of usage that Stripe refuses: {_WEBHOOKS} > Add destination, and choose the payload style `Thin`.",
        f"Choose these events: {', '.join(sorted(METER_REPORTS))}.",
        f"Choose `Webhook endpoint`, enter {url} and create it.",
        "Append its signing secret to STRIPE_WEBHOOK_SECRET in .env.local, after a comma.",
    )

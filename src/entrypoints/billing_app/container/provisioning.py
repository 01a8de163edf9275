"""Set-up of a Stripe account, for the command that does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import stamina.instrumentation

from billing_app.secret import Secret
from billing_app.settings import Settings
from billing_stripe.client import StripeClient, open_client
from billing_stripe.provisioning import (
    PORTAL,
    Desired,
    DesiredEndpoint,
    Provisioned,
    ProvisioningError,
    ProvisioningPlan,
    Ref,
    Step,
    StripeAccount,
    UnsettledError,
    carry_out,
    copy_secret,
    create_thin_destination,
    desired_objects,
    find_account,
    find_catalog_event,
    find_objects,
    plan_provisioning,
)
from billing_stripe.signature import sign

__all__ = [
    "PORTAL",
    "Desired",
    "DesiredEndpoint",
    "Provisioned",
    "ProvisioningError",
    "ProvisioningPlan",
    "Ref",
    "Step",
    "StripeAccount",
    "StripeClient",
    "UnsettledError",
    "carry_out",
    "copy_secret",
    "create_thin_destination",
    "desired_objects",
    "find_account",
    "find_catalog_event",
    "find_objects",
    "open_account",
    "plan_provisioning",
    "signed",
]


@asynccontextmanager
async def open_account(settings: Settings, key: Secret) -> AsyncIterator[StripeClient]:
    """Open a client for the account of a key, within the limits of a sandbox."""
    stamina.instrumentation.set_on_retry_hooks([])
    async with open_client(
        secret_key=key.reveal(),
        api_version=settings.stripe.api_version,
        base_url=settings.stripe.api_base,
        context=settings.stripe.context,
    ) as client:
        yield client


def signed(body: bytes, secret: Secret) -> str:
    """Return the signature header of a body that is sent now."""
    return sign(body, secret.reveal(), datetime.now(UTC))

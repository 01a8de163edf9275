"""Set-up of a Stripe account: what a catalog needs there, what exists, and the steps between the two.

desired = desired_objects(plans, endpoint=DesiredEndpoint(url=..., api_version=...))
plan = plan_provisioning(desired, await find_objects(client, desired))
await carry_out(client, desired, plan, keep_secret=...)
"""

from billing_stripe.provisioning.account import StripeAccount, find_account, find_catalog_event
from billing_stripe.provisioning.applying import Provisioned, ProvisioningError, UnsettledError, carry_out
from billing_stripe.provisioning.by_hand import copy_secret, create_thin_destination
from billing_stripe.provisioning.desired import MANAGED, Desired, DesiredEndpoint, desired_objects
from billing_stripe.provisioning.found import Found, find_objects
from billing_stripe.provisioning.planning import ProvisioningPlan, plan_provisioning
from billing_stripe.provisioning.portal import PORTAL
from billing_stripe.provisioning.steps import Ref, Step

__all__ = [
    "desired_objects",
    "Desired",
    "DesiredEndpoint",
    "MANAGED",
    "find_account",
    "find_catalog_event",
    "StripeAccount",
    "find_objects",
    "Found",
    "plan_provisioning",
    "ProvisioningPlan",
    "Step",
    "Ref",
    "PORTAL",
    "carry_out",
    "Provisioned",
    "ProvisioningError",
    "UnsettledError",
    "copy_secret",
    "create_thin_destination",
]

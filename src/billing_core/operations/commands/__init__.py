"""Commands: each is one thing asked of the provider, complete, so that another process can perform it after a crash.

A command names plans and prices as the catalog does, and everything else by the provider's ids. It holds no secret.
Performing one may take several calls; performing it again sends the same calls under the same keys.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, get_args

import attrs

from billing_core.converters import decode, dumps, from_decoded
from billing_core.operations.commands.customers import (
    CreateCustomer,
    CreatePortalSession,
    CreateSetupIntent,
    CustomerCommand,
    DetachPaymentMethod,
    GiveCredit,
    OwnDefault,
    SetBillingContact,
    SetDefaultPaymentMethod,
)
from billing_core.operations.commands.payments import (
    CreateCheckoutSession,
    ExpireCheckoutSession,
    PayInvoice,
    PaymentCommand,
)
from billing_core.operations.commands.subscriptions import (
    ApplyPromotionCode,
    CancelAtPeriodEnd,
    CancelNow,
    ChangeItems,
    PauseCollection,
    PauseSubscription,
    ResumeCollection,
    ResumeSubscription,
    ScheduleChange,
    SetSeats,
    StartSubscription,
    SubscriptionCommand,
    WithdrawCancellation,
    WithdrawPendingUpdate,
    WithdrawScheduledChange,
)
from billing_core.operations.commands.values import (
    CONTACT,
    Address,
    BillingMode,
    Cancellation,
    CheckoutReturn,
    CreditTerms,
    Feedback,
    ItemChange,
    NewItem,
    PriceChoice,
    Proration,
    TaxId,
    Trial,
)

Command = SubscriptionCommand | CustomerCommand | PaymentCommand

COMMANDS: Final[Mapping[str, type[Command]]] = MappingProxyType(
    {command.operation: command for command in get_args(Command)}
)
"""All commands by the names of their operations: a closed set, and a label of metrics."""


def command_to_json(command: Command) -> str:
    """Encode a command with the name of its operation."""
    return dumps({"operation": command.operation, "arguments": command})


def command_from_json(text: str | bytes) -> Command:
    """Decode a command that `command_to_json` wrote. Fields that only a later version knows are ignored.

    Raises: KeyError for an unknown operation; ValueError, KeyError or TypeError if the text holds no such command.
    """
    content = decode(text)
    return from_decoded(content["arguments"], COMMANDS[content["operation"]])


def without_contact_details(command: Command) -> Command:
    """Return a command with the default in place of each contact detail."""
    fields = [field for field in attrs.fields(type(command)) if field.metadata == CONTACT]
    return attrs.evolve(command, **{field.name: field.default for field in fields})


__all__ = [
    "COMMANDS",
    "CONTACT",
    "Address",
    "ApplyPromotionCode",
    "BillingMode",
    "CancelAtPeriodEnd",
    "CancelNow",
    "Cancellation",
    "ChangeItems",
    "CheckoutReturn",
    "Command",
    "CreateCheckoutSession",
    "CreateCustomer",
    "CreatePortalSession",
    "CreateSetupIntent",
    "CreditTerms",
    "CustomerCommand",
    "DetachPaymentMethod",
    "ExpireCheckoutSession",
    "Feedback",
    "GiveCredit",
    "ItemChange",
    "NewItem",
    "OwnDefault",
    "PauseCollection",
    "PauseSubscription",
    "PayInvoice",
    "PaymentCommand",
    "PriceChoice",
    "Proration",
    "ResumeCollection",
    "ResumeSubscription",
    "ScheduleChange",
    "SetBillingContact",
    "SetDefaultPaymentMethod",
    "SetSeats",
    "StartSubscription",
    "SubscriptionCommand",
    "TaxId",
    "Trial",
    "WithdrawCancellation",
    "WithdrawPendingUpdate",
    "WithdrawScheduledChange",
    "command_from_json",
    "command_to_json",
    "without_contact_details",
]

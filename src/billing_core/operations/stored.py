"""Operations as the log stores them."""

import hashlib
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

import attrs

from billing_core.model import TenantId
from billing_core.model.time import aware
from billing_core.operations.commands import Command
from billing_core.operations.errors import OperationFailure
from billing_core.operations.results import OperationResult

KEY_LIFETIME: Final = timedelta(hours=23)
"""How long a key surely leads to the first answer. The provider keeps answers for at least 24 hours.

Source: https://docs.stripe.com/api/idempotent_requests
"""


LONGEST_REQUEST_ID: Final = 255


def _short_text(_instance: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if not value.strip() or len(value) > LONGEST_REQUEST_ID or not value.isprintable():
        raise ValueError(f"{attribute.name} must be 1 to {LONGEST_REQUEST_ID} printable characters")


@attrs.frozen(kw_only=True)
class OperationRequest:
    """One decision of a caller: the same tenant, operation and request id are the same decision."""

    tenant_id: TenantId
    operation: str
    """Our name of what is asked for."""
    request_id: str = attrs.field(validator=_short_text)
    """The caller's own, new for each decision, the same whenever it asks again."""
    subject: str
    """The object that the operation is about. Operations about one subject come one after another."""
    arguments_hash: str
    actor: str
    """The person or program that decided, for operators."""


class OperationStatus(Enum):
    """The state of a stored operation."""

    BEGUN = "begun"
    """Its outcome is not known yet."""
    DONE = "done"
    REFUSED = "refused"
    """By the provider: it would refuse the same command again."""
    NOT_DONE = "not_done"
    """Nothing happened, and the same request may be sent again under the next key."""
    GIVEN_UP = "given_up"
    """By an operator: whether it was carried out is not known. The same request is never sent again."""


@attrs.frozen(kw_only=True)
class StoredOperation:
    """One try of one decision, as of `read_at`."""

    operation_id: int
    request: OperationRequest
    number: int
    """1 for the first try of a request; each has a key of its own."""
    key: str
    """The idempotency key."""
    status: OperationStatus
    command: Command | None = None
    """None until it was decided, and if this release cannot read it: see `undecided`.

    Of a resolved operation it is stored without contact details.
    """
    attempts: int
    """How often it was leased. The fence: who works on it names this number."""
    result: OperationResult | None = None
    """Of a done one, without secrets."""
    failure: OperationFailure | None = None
    last_error: str | None = None
    """The reason for which the last attempt left it unresolved, for operators."""
    given_up_by: str | None = None
    given_up_reason: str | None = None
    begun_at: datetime = attrs.field(validator=aware)
    planned_at: datetime | None = attrs.field(default=None, validator=aware)
    """When the command was stored: nothing was sent before."""
    resolved_at: datetime | None = attrs.field(default=None, validator=aware)
    leased_until: datetime = attrs.field(validator=aware)
    read_at: datetime = attrs.field(eq=False, validator=aware)
    """The store's time. No other clock is compared with the instants above."""

    @property
    def undecided(self) -> bool:
        """Whether nothing was sent, since there was no command yet."""
        return self.planned_at is None

    @property
    def age(self) -> timedelta:
        """How long ago something may have been sent for the first time."""
        return timedelta() if self.planned_at is None else self.read_at - self.planned_at

    @property
    def key_expired(self) -> bool:
        """Whether sending it again might do it twice."""
        return self.age >= KEY_LIFETIME


class Standing(Enum):
    """The log's answer to a request."""

    OURS = "ours"
    """It is leased to this caller."""
    RESOLVED = "resolved"
    """It was done, refused or given up before."""
    IN_PROGRESS = "in_progress"
    """It, or another operation about its subject, is leased to another caller."""
    BLOCKED = "blocked"
    """Another operation about its subject was left unresolved: that one is leased to this caller, to settle first."""


@attrs.frozen(kw_only=True)
class Begun:
    """A request, and how it stands."""

    standing: Standing
    operation: StoredOperation
    """The requested one; where it is in progress or blocked by another, that other one."""


@attrs.frozen(kw_only=True)
class Resolution:
    """The outcome of an operation."""

    status: OperationStatus
    """Any but `BEGUN` and `GIVEN_UP`."""
    result: OperationResult | None = None
    """Of a done one. It is stored without its secrets."""
    failure: OperationFailure | None = None
    """Of a refused one."""
    request_id: str | None = None
    """The provider's id of the last request."""


@attrs.frozen(kw_only=True)
class OperationBacklog:
    """How many operations are unresolved, those in progress among them."""

    count: int = 0
    oldest: timedelta | None = None
    """The age of the oldest; None if there is none."""


def operation_key(request: OperationRequest, number: int) -> str:
    """Return the idempotency key of one try of a request: the same in every process."""
    parts = (request.tenant_id, request.operation, request.request_id, str(number))
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"bo_{digest[:40]}"

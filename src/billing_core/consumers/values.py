"""Consumers: code, or a receiver elsewhere, that is to get the messages of all tenants from a position of its own."""

import random
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import Any, Final, Literal, NewType, TypeAlias

import attrs

from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.payloads import BillingEventPayload, loads

ConsumerName = NewType("ConsumerName", str)
"""A lower-case name that operators type, and the label of metrics: see `consumer_name`."""

Start: TypeAlias = Literal["now", "beginning"] | datetime
"""The first message of a new consumer: the next one, the first one of each tenant, or the first since an instant."""

_is_name: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}").fullmatch
_is_glob: Final = re.compile(r"[a-z0-9_.*]{1,64}").fullmatch
_SECOND: Final = timedelta(seconds=1)


def consumer_name(text: str) -> ConsumerName:
    """Return the text as a name. Raises ValueError."""
    if not _is_name(text):
        raise ValueError(
            f"{text!r} is no name of a consumer: use up to 63 of a-z, 0-9, _ and -, starting with a letter or digit"
        )
    return ConsumerName(text)


def check_number(number: int, last: int) -> None:
    """Raise ValueError if a tenant whose last message is `last` cannot continue at this number: it would miss some."""
    if number > last + 1:
        raise ValueError(f"there is no message {number} yet, the last one is {last}")


class OnDead(Enum):
    """The treatment of a tenant whose message failed for the last time."""

    HOLD = "hold"
    """Its later messages wait, in this consumer only, until an operator retries or skips the one that failed."""
    SKIP = "skip"
    """The message is passed over, which is kept for operators, and the next one is handled."""


def _types(given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError(f"event_types must be several texts, got {given!r}")
    return tuple(given)


def _globs(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    if not value:
        raise ValueError("a consumer needs at least one event type; use * for all")
    for glob in value:
        if not _is_glob(glob):
            raise ValueError(f"{glob!r} is no event type: use names such as invoice.paid, and * for any characters")


def _start(_instance: object, _attribute: object, value: Start) -> None:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"start must be an aware datetime, got {value!r}")
    elif value not in ("now", "beginning"):
        raise ValueError(f'start must be "now", "beginning" or an aware datetime, got {value!r}')


def _positive(_instance: object, attribute: "attrs.Attribute[Any]", value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError(f"{attribute.name} must be longer than zero, got {value}")


@attrs.frozen(kw_only=True)
class Consumer:
    """The messages that a consumer gets, and the patience with messages that fail."""

    name: ConsumerName = attrs.field(converter=consumer_name)
    event_types: tuple[str, ...] = attrs.field(default=("*",), converter=_types, validator=_globs)
    """Types of messages, where `*` stands for any characters. Any other message is passed over."""
    start: Start = attrs.field(default="now", validator=_start)
    """Only for a name that is not registered yet: afterwards the consumer continues from its position."""
    on_dead: OnDead = attrs.field(default=OnDead.HOLD, converter=OnDead)
    attempts: int = attrs.field(default=12, validator=attrs.validators.ge(1))
    """Attempts at one message, the first one included. Attempts that end with the process count."""
    backoff_base: timedelta = attrs.field(default=timedelta(seconds=5), validator=_positive)
    """The longest pause after the first attempt. It doubles with each, up to `backoff_cap`."""
    backoff_cap: timedelta = attrs.field(default=timedelta(hours=1), validator=_positive)
    timeout: timedelta = attrs.field(default=timedelta(seconds=30), validator=_positive)
    """Time for one attempt, which fails if it takes longer."""

    def wants(self, event_type: str) -> bool:
        """Return whether a message of this type is handed to the consumer."""
        return any(glob_pattern(glob).fullmatch(event_type) for glob in self.event_types)

    def backoff(self, attempt: int) -> timedelta:
        """Return how long to wait after the given failed attempt: half of a doubling, capped pause, or up to all of it.

        The half is kept so that a receiver that is down for a while is not asked many times in a row by chance.
        """
        ceiling = min(self.backoff_cap, self.backoff_base * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=ceiling.total_seconds() * random.uniform(0.5, 1))  # noqa: S311 - spreads load


def glob_pattern(glob: str) -> re.Pattern[str]:
    """Return the regular expression of a type with `*`; compiled once, by the cache of `re`."""
    return re.compile(re.escape(glob).replace(r"\*", ".*"), re.DOTALL)


def unknown_types(event_types: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the types that match none of the known ones, most likely by a typing error."""
    names = list(known)
    return [glob for glob in event_types if not any(map(glob_pattern(glob).fullmatch, names))]


@attrs.frozen(kw_only=True)
class MessageId:
    """The identity of a message over all attempts: the key by which a receiver recognizes one that comes again.

    After a restore or a failover numbers are given a second time, to other messages, in another epoch.
    """

    epoch: str
    """The token of the epoch in which the message was numbered."""
    tenant_id: TenantId
    sequence: int

    def __str__(self) -> str:
        """Return `epoch:tenant:sequence`."""
        return f"{self.epoch}:{self.tenant_id}:{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> "MessageId":
        """Return the id that a text names. A tenant's id may hold colons. Raises ValueError."""
        epoch, separator, rest = text.partition(":")
        tenant_id, another, sequence = rest.rpartition(":")
        if not (epoch and separator and another and tenant_id and sequence.isascii() and sequence.isdecimal()):
            raise ValueError(f"{text!r} is no id of a message: expected epoch:tenant:sequence")
        return cls(epoch=epoch, tenant_id=TenantId(tenant_id), sequence=int(sequence))


@attrs.frozen(kw_only=True, slots=False)
class ConsumerMessage:
    """One message as a handler gets it."""

    id: MessageId
    """The same over all attempts: `str(message.id)` is the key to store beside an effect that must happen once."""
    event: BillingEvent
    attempt: int = 1
    """Counts from 1. Above it, an earlier attempt failed, or its end is unknown."""

    @cached_property
    def payload(self) -> BillingEventPayload:
        """The content of the message."""
        return loads(self.event.payload)

    @property
    def tenant_id(self) -> TenantId:
        """The tenant whose billing changed."""
        return self.event.tenant_id

    @property
    def event_type(self) -> str:
        """The type of the message, such as `subscription.canceled`."""
        return self.event.event_type

    @property
    def sequence(self) -> int:
        """The number of the message among those of its tenant."""
        return self.event.sequence


class RetryLater(Exception):  # noqa: N818 - a handler's answer, not an error of ours
    """Raised by a handler that wants the message again after a certain time."""

    def __init__(self, after: timedelta, error: str = "", *, counted: bool = True) -> None:
        """Ask for another attempt. It counts as a failed one unless `counted` is false."""
        super().__init__(error or f"asked to be tried again after {after / _SECOND:g} s")
        self.after = max(after, timedelta(0))
        self.counted = counted


class Undeliverable(Exception):  # noqa: N818 - a handler's answer, not an error of ours
    """Raised by a handler that can never handle the message: it is dead at once, without further attempts."""

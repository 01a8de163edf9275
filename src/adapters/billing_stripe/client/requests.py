"""Requests, checked before they are sent, and their answers."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NoReturn, TypeAlias

import attrs

from billing_core.operations.call_limits import Priority
from billing_stripe.client.calls import CALLS, Endpoint
from billing_stripe.client.ids import check_id, is_id

Json: TypeAlias = Mapping[str, Any]

CLEAR: Final = ""
"""The value that clears a parameter. `None`, `[]` and `{}` would be left out of the request, and change nothing."""

_ID_PARAMETERS: Final[Mapping[str, str]] = {
    "configuration": "configuration",
    "customer": "customer",
    "default_payment_method": "payment_method",
    "from_subscription": "subscription",
    "invoice": "invoice",
    "payment_method": "payment_method",
    "promotion_code": "promotion_code",
    "schedule": "schedule",
    "setup_intent": "setup_intent",
    "subscription": "subscription",
}
"""Parameters, at any depth, that hold the id of an object of this kind."""
_CLEARABLE: Final = frozenset({"default_payment_method"})
_FREE_TEXT: Final = frozenset({"metadata", "payload"})
"""Parameters whose keys are not Stripe's."""
_SDK_OPTIONS: Final = frozenset(
    {
        "api_key",
        "base",
        "content_type",
        "headers",
        "idempotency_key",
        "max_network_retries",
        "stripe_account",
        "stripe_context",
        "stripe_version",
    }
)
"""Names that the SDK takes out of the parameters of a raw request. None of them is a parameter of Stripe's."""
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_CONTEXT: Final = re.compile(r"[A-Za-z0-9_]+(?:/[A-Za-z0-9_]+)*")


@attrs.frozen(kw_only=True)
class StripeRequest:
    """One request. Everything about it is checked here, so that a mistake of ours never reaches Stripe.

    Parameters are strings, integers, decimals, booleans, aware datetimes, and mappings and lists of them.

    Raises: ValueError, naming the parameter, for `None`, empty collections, naive datetimes, ids that are empty or of
    another kind, an unknown operation, and a write without an idempotency key.
    """

    operation: str
    """A key of `CALLS`, which gives method and path."""
    ids: tuple[str, ...] = ()
    """The ids in the path, in order."""
    params: Json = attrs.field(factory=dict, repr=False)
    idempotency_key: str | None = None
    """The same for every attempt of one decision. Demanded of writes, refused for reads by GET."""
    account: str | None = None
    """A connected account in whose name the call is made."""
    context: str | None = None
    """The account, or the path to it, for the key of an organization."""
    priority: Priority = "interactive"
    plan_code: str = ""
    """The plan that the call is about, for metrics; empty if there is none."""
    endpoint: Endpoint = attrs.field(init=False, repr=False, eq=False)
    path: str = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.operation not in CALLS:
            raise ValueError(f"{self.operation} is none of the calls that we make")
        endpoint = CALLS[self.operation]
        object.__setattr__(self, "endpoint", endpoint)
        object.__setattr__(self, "path", endpoint.path(self.ids))
        object.__setattr__(self, "params", _Params(self.operation, v2=self.path.startswith("/v2/")).read(self.params))
        self._check_key()
        self._check_scope()

    @property
    def writes(self) -> bool:
        """Whether the call changes something at Stripe."""
        return not self.endpoint.reads

    def _check_key(self) -> None:
        if self.idempotency_key is None:
            if self.writes:
                raise ValueError(f"{self.operation} writes, and needs an idempotency key")
        elif self.endpoint.method == "get":
            raise ValueError(f"{self.operation} only reads, and takes no idempotency key")
        elif not _KEY.fullmatch(self.idempotency_key):
            raise ValueError(f"{self.operation}: an idempotency key has 1 to 255 printable ASCII characters")

    def _check_scope(self) -> None:
        if self.account is not None and self.context is not None:
            raise ValueError(f"{self.operation}: account and context exclude each other")
        if self.account is not None:
            check_id("account", self.account, where=f"{self.operation}: account")
        if self.context is not None and not _CONTEXT.fullmatch(self.context):
            raise ValueError(f"{self.operation}: context is an account id, or a path of ids")


@attrs.frozen(kw_only=True)
class StripeAnswer:
    """A successful answer."""

    data: Json = attrs.field(repr=False)
    """The object, in the pinned API version."""
    request_id: str | None = None
    original_request: str | None = None
    """The request id of the first request with this idempotency key, which may be this one; None for a read."""
    replayed: bool = False
    """Whether this is the stored answer to an earlier request with the same idempotency key."""
    answered_at: datetime | None = None
    """Stripe's own clock when it answered, in whole seconds; None if the answer has no valid date."""


@attrs.frozen
class _Params:
    """A reader of parameters: returns plain dicts and lists, which is all that the SDK encodes."""

    operation: str
    v2: bool = attrs.field(kw_only=True)

    def read(self, params: Json) -> dict[str, Any]:
        for name in params:
            if name in _SDK_OPTIONS:
                self._refuse(name, "is an option, not a parameter")
        return {name: self._value(name, value, name) for name, value in params.items()}

    def _value(self, name: str, value: object, place: str) -> Any:
        """Return a value in the form that is sent. `place` is the path to it, such as `items[0].price`."""
        if value is None:
            self._refuse(place, "is None, which would be left out; pass CLEAR to clear it")
        if name in _ID_PARAMETERS and isinstance(value, str):
            self._check_id(name, value, place)
        match value:
            case Enum() | float():
                self._refuse(place, f"is of type {type(value).__name__}, which is not sent as its value")
            case str() | bool() | int() | Decimal():
                if name == "id" and value == "":
                    self._refuse(place, "is an empty id")
                return value
            case datetime():
                return self._instant(value, place)
            case Mapping():
                self._refuse_empty(value, place)
                return self._members(name, value, place)
            case list() | tuple():
                self._refuse_empty(value, place)
                return [self._value("", each, f"{place}[{position}]") for position, each in enumerate(value)]
        self._refuse(place, f"is of type {type(value).__name__}, which Stripe does not know")

    def _members(self, name: str, value: Mapping[str, object], place: str) -> dict[str, Any]:
        free = name in _FREE_TEXT
        return {key: self._value("" if free else key, each, f"{place}.{key}") for key, each in value.items()}

    def _check_id(self, name: str, value: str, place: str) -> None:
        if value == CLEAR and name in _CLEARABLE:
            return
        if not is_id(_ID_PARAMETERS[name], value):
            self._refuse(place, f"is not the id of a {_ID_PARAMETERS[name].replace('_', ' ')}")

    def _instant(self, value: datetime, place: str) -> int | str:
        if value.tzinfo is None:
            self._refuse(place, "is a datetime without a time zone")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if self.v2 else int(value.timestamp())

    def _refuse_empty(self, value: Mapping[str, object] | Sequence[object], place: str) -> None:
        if not value:
            self._refuse(place, "is empty, which would be left out; pass CLEAR to clear it")

    def _refuse(self, place: str, problem: str) -> NoReturn:
        raise ValueError(f"{self.operation}: {place} {problem}")

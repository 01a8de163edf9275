"""Select the members of a list by the parameters of a request."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from billing_stripe.testing.fake_stripe.forms import within
from billing_stripe.testing.fake_stripe.routing import Call

T = TypeVar("T")


def select(call: Call, kind: type[T], **compared: str | Callable[[T], Any]) -> Sequence[T]:
    """Return the objects of a kind that a call asks for, newest first.

    Args:
        call: the request; a parameter that it leaves out selects nothing, and `created` is a range of `created_at`.
        kind: the class of the objects.
        compared: by parameter, the attribute or the value of an object that it has to equal.
    """
    wanted = {name: call.params[name] for name in compared if call.params.get(name) is not None}
    created = call.params.get("created")

    def is_asked_for(member: T) -> bool:
        return all(_shown(member, compared[name]) == value for name, value in wanted.items()) and (
            created is None or within(created, member.created_at)  # type: ignore[attr-defined]
        )

    return [member for member in call.account.all(kind) if is_asked_for(member)]


def _shown(member: T, by: str | Callable[[T], Any]) -> Any:
    return getattr(member, by) if isinstance(by, str) else by(member)

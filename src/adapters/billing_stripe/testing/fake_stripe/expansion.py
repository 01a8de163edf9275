"""`expand[]`: ids in an answer replaced by objects, and fields that are shown only on request."""

from collections.abc import Callable, Sequence
from typing import Any

from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import Json, StripeError, invalid

_DEEPEST = 4

Include = Callable[[Account, Any, str], Any]
"""Renders a field that is shown only on request."""


def expand(answer: Json, paths: Sequence[str], account: Account, api_version: str) -> Json:
    """Return an answer with the paths expanded; those of a list begin with `data`.

    Raises: StripeError for a path that names no expandable field, or goes deeper than four levels.
    """
    for path in paths:
        steps = path.split(".")
        if len(steps) > _DEEPEST + (steps[0] == "data"):
            raise invalid(f"You cannot expand more than {_DEEPEST} levels of a property: {path}", param="expand")
        _Expansion(account, api_version, path).follow(answer, steps)
    return answer


class _Expansion:
    """One path of one request."""

    def __init__(self, account: Account, api_version: str, path: str) -> None:
        self._account = account
        self._version = api_version
        self._path = path

    def follow(self, owner: Json, steps: Sequence[str]) -> None:
        """Expand the path that begins at an object of the answer, in place."""
        if owner.get("object") == "list":
            if steps[0] != "data":
                raise self._refused()
            for member in owner["data"]:
                if steps[1:]:
                    self.follow(member, steps[1:])
            return
        kind = self._account.kind_named(str(owner.get("object")))
        for length in range(len(steps), 0, -1):
            field = ".".join(steps[:length])
            if field in kind.expandable:
                self._replace(owner, steps[:length], steps[length:])
                return
            if field in kind.included:
                self._include(owner, steps[:length], steps[length:], kind.included[field])
                return
        within = owner.get(steps[0])
        if not isinstance(within, dict) or "object" not in within or not steps[1:]:
            raise self._refused()
        self.follow(within, steps[1:])

    def _replace(self, owner: Json, field: Sequence[str], rest: Sequence[str]) -> None:
        """Replace the ids in a field, which may be within groups and arrays of the object itself."""
        first, *further = field
        if first not in owner:
            if owner.get("deleted"):
                return
            raise self._refused()
        value = owner[first]
        if further:
            for group in value if isinstance(value, list) else [value]:
                if isinstance(group, dict):
                    self._replace(group, further, rest)
        elif value is not None:
            owner[first] = self._object(value)
            self._go_on(owner[first], rest)

    def _include(self, owner: Json, field: Sequence[str], rest: Sequence[str], show: Include) -> None:
        """Add a field that is shown only on request, which may be within groups of the object itself."""
        *groups, last = field
        group = owner
        for name in groups:
            group = group[name]
        group[last] = show(self._account, self._account.by_id(owner["id"]), self._version)
        self._go_on(group[last], rest)

    def _object(self, value: Any) -> Any:
        """Return the object for an id, the objects for a list of ids, and what is expanded already as it is."""
        if isinstance(value, list):
            return [self._object(member) for member in value]
        source = self._account.by_id(value) if isinstance(value, str) else None
        return value if source is None else self._account.show(source, self._version)

    def _go_on(self, value: Any, rest: Sequence[str]) -> None:
        if not rest or value is None:
            return
        for member in value if isinstance(value, list) else [value]:
            if isinstance(member, dict):
                self.follow(member, rest)

    def _refused(self) -> StripeError:
        return invalid(f"This property cannot be expanded ({self._path}).", param="expand")

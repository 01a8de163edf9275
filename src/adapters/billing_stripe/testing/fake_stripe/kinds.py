"""Kinds of objects: how the account identifies and renders each of them, and names its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from billing_stripe.testing.fake_stripe.errors import Json

if TYPE_CHECKING:
    from billing_stripe.testing.fake_stripe.account import Account

S = TypeVar("S")

_NOTHING: Mapping[str, Any] = {}


@attrs.frozen(kw_only=True)
class Kind(Generic[S]):
    """One kind of object. The account stores its frozen `source`; versions and expansions are a matter of rendering."""

    source: type[S]
    noun: str
    """The value of `object`, also in messages: `No such customer: 'cus_1'`."""
    key: Callable[[S], str | None]
    """The id of an object; None for one that cannot be stored, such as a preview."""
    render: Callable[[S, str], Json]
    """Render in an API version, complete."""
    since: str = ""
    """The API version that introduced such objects: older ones have no events about them."""
    events: str = ""
    """The beginning of event types, such as `customer.subscription`; empty for the noun."""
    expandable: frozenset[str] = frozenset()
    """Paths within the rendered object that hold an id, such as `invoice_settings.default_payment_method`."""
    included: Mapping[str, Callable[[Account, S, str], Any]] = attrs.field(default=_NOTHING)
    """Fields that are shown only when they are expanded."""
    shown_lists: tuple[str, ...] = ()
    """Fields that are lists and show their first ten members only."""

    @property
    def event_prefix(self) -> str:
        """The beginning of event types."""
        return self.events or self.noun

    def show(self, source: S, api_version: str) -> Json:
        """Render as an answer or an event shows it: long lists are cut."""
        rendered = self.render(source, api_version)
        for field in self.shown_lists:
            if isinstance(rendered.get(field), dict):
                rendered[field] = beginning(rendered[field])
        return rendered


SHOWN = 10
"""Members of a list inside an object, and of a page without `limit`."""


def beginning(listed: Json) -> Json:
    """Return a list as it appears inside an object: its first members, and whether there are more."""
    data = listed["data"]
    return {**listed, "data": data[:SHOWN], "has_more": listed["has_more"] or len(data) > SHOWN}

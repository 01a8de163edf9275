"""The table of endpoints, and what a handler receives and returns."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import attrs
from aiohttp import web

from billing_stripe.testing.fake_stripe.account import Account, Due, Follower
from billing_stripe.testing.fake_stripe.errors import unknown_address
from billing_stripe.testing.fake_stripe.forms import Form, Params
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.webhooks import Targets

if TYPE_CHECKING:
    from billing_stripe.testing.fake_stripe.server import FakeStripe


@attrs.frozen(kw_only=True)
class Call:
    """One authenticated request to an endpoint, with its parameters read."""

    account: Account
    origin: str
    """Scheme and host that the request was sent to, for the addresses in answers."""
    path: str
    ids: Mapping[str, str]
    """The named parts of the path."""
    params: Params
    """As the endpoint's form returns them, without `expand` and the parameters of paging."""
    api_version: str
    """The API version of the answer."""

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.ids["id"]

    @property
    def now(self) -> datetime:
        """The account's time."""
        return self.account.now


@attrs.frozen
class Listing:
    """A list as an answer. The kernel shows the page that was requested."""

    members: Sequence[Any]
    """Stored objects, or JSON objects that have an `id`, newest first."""
    noun: str
    """Of the members, in messages."""
    url: str | None = None
    """Where it is found; None for the path of the request."""


Handler = Callable[[Call], Any]
"""Answers one call: with a stored object, a `Listing`, a `Deleted`, or plain JSON. Raises StripeError."""

Page = Callable[["FakeStripe", web.Request], Awaitable[web.StreamResponse]]
"""Answers a browser or another protocol, without an API key."""

NO_PARAMETERS = Form()


@attrs.frozen
class Route:
    """One endpoint."""

    method: str
    path: str
    """With named parts in braces, such as `/v1/customers/{id}`."""
    handler: Handler
    form: Form = NO_PARAMETERS


@attrs.frozen
class PageRoute:
    """An address outside the API, such as a page that a customer opens; its path is one of aiohttp's."""

    method: str
    path: str
    page: Page


@attrs.frozen(kw_only=True)
class Resource:
    """All that one resource contributes to the fake."""

    kinds: Sequence[Kind[Any]] = ()
    routes: Sequence[Route] = ()
    pages: Sequence[PageRoute] = ()
    due: Sequence[Due[Any]] = ()
    followers: Sequence[Follower[Any]] = ()
    targets: Sequence[Targets] = ()


class Router:
    """Finds the endpoint of a request. A trailing slash is a part of the path, as at Stripe."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(re.compile(_pattern(route.path)), route) for route in routes]

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """Return the endpoint and the named parts of its path. Raises StripeError if there is none."""
        for pattern, route in self._routes:
            match = pattern.fullmatch(raw_path) if route.method == method else None
            if match is not None:
                return route, {name: unquote(part) for name, part in match.groupdict().items()}
        raise unknown_address(method, unquote(raw_path))


def _pattern(path: str) -> str:
    return re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))

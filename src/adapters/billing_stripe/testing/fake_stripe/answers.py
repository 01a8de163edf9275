"""Answers: rendered in the version of the request, paged and expanded."""

import json
from collections.abc import Mapping
from typing import Any

import attrs
from aiohttp import web

from billing_stripe.testing.fake_stripe.account import Deleted
from billing_stripe.testing.fake_stripe.errors import Json, StripeError
from billing_stripe.testing.fake_stripe.expansion import expand
from billing_stripe.testing.fake_stripe.forms import TEXT, Form, Listed
from billing_stripe.testing.fake_stripe.pages import listed, page
from billing_stripe.testing.fake_stripe.reading import ApiRequest
from billing_stripe.testing.fake_stripe.routing import Call, Listing

_PAGING = ("limit", "starting_after", "ending_before")


@attrs.frozen
class Result:
    """An answer that is complete."""

    status: int
    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def response(self) -> web.StreamResponse:
        """Return it as aiohttp sends it."""
        return web.Response(status=self.status, body=self.body, headers=self.headers, content_type="application/json")


def encoded(answer: Json) -> Result:
    """Return the result of a request that succeeded."""
    return Result(200, json.dumps(answer, ensure_ascii=False).encode())


def failed(error: StripeError) -> Result:
    """Return the result of a request that failed."""
    return Result(error.status, json.dumps(error.body, ensure_ascii=False).encode(), error.headers)


def answer_to(request: ApiRequest) -> Json:
    """Let the endpoint handle a request, and show what it returns. Raises StripeError."""
    form = Form(expand=Listed(TEXT), **request.route.form.fields)
    params = form.read(request.params)
    paths = params.pop("expand", [])
    paging = {name: params.pop(name) for name in _PAGING if name in params and request.generation == 1}
    call = Call(
        account=request.account,
        origin=str(request.http.url.origin()),
        path=request.http.path,
        ids=request.ids,
        params=params,
        api_version=request.api_version,
    )
    returned = request.route.handler(call)
    if isinstance(returned, Deleted):
        return returned.render()
    shown = _page(returned, paging, call) if isinstance(returned, Listing) else _shown(returned, call)
    return expand(shown, paths, request.account, request.api_version)


def _page(listing: Listing, paging: Mapping[str, Any], call: Call) -> Json:
    def identify(member: Any) -> str:
        return str(member["id"] if isinstance(member, dict) else call.account.kind_of(type(member)).key(member))

    members, more = page(listing.members, dict(paging), identify, listing.noun)
    return listed([_shown(member, call) for member in members], more=more, url=listing.url or call.path)


def _shown(returned: Any, call: Call) -> Json:
    """Return JSON as it is, and a stored object rendered."""
    return dict(returned) if isinstance(returned, dict) else call.account.show(returned, call.api_version)

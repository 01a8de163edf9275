"""Requests as they arrive: the key, the parameters, and what both say about execution."""

import json
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress

import attrs
from aiohttp import web

from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.errors import invalid
from billing_stripe.testing.fake_stripe.forms import Tree, decode
from billing_stripe.testing.fake_stripe.routing import Route


@attrs.frozen(kw_only=True)
class ApiRequest:
    """One authenticated request to an endpoint."""

    http: web.Request
    request_id: str
    body: bytes = attrs.field(repr=False)
    params: Tree = attrs.field(repr=False)
    account: Account
    api_version: str
    """The API version of the answer."""
    route: Route
    ids: Mapping[str, str]
    """The named parts of the path."""

    @property
    def generation(self) -> int:
        """The generation of the API."""
        return 2 if self.route.path.startswith("/v2/") else 1

    @property
    def key(self) -> str | None:
        """The idempotency key, where the endpoint takes one."""
        takes = self.http.method == "POST" or (self.generation == 2 and self.http.method == "DELETE")
        return self.http.headers.get("Idempotency-Key") if takes else None

    @property
    def fingerprint(self) -> str:
        """The part of the request that has to be the same under the same idempotency key."""
        return json.dumps([self.http.method, self.http.path, self.params], sort_keys=True)

    @property
    def changed_id(self) -> str | None:
        """The id of the object that the request may change."""
        return None if self.http.method == "GET" else self.ids.get("id")


def key_of(authorization: str) -> str:
    """Return the API key of an `Authorization` header, `Bearer` or `Basic`."""
    scheme, _, given = authorization.partition(" ")
    if scheme == "Basic":
        with suppress(ValueError):
            return b64decode(given).decode().removesuffix(":")
    return given


def params_of(http: web.Request, body: bytes) -> Tree:
    """Return the parameters of query and body; both count, as at Stripe."""
    query = decode(http.rel_url.raw_query_string)
    if not body:
        return query
    if http.content_type == "application/json":
        try:
            read = json.loads(body)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise invalid("Invalid request: the body is no JSON object")
        return {**query, **read}
    try:
        return {**query, **decode(body.decode())}
    except UnicodeDecodeError:
        raise invalid("Invalid request: the body is not UTF-8") from None

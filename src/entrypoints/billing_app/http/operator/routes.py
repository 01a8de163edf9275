"""The routes of the operator's API: /api/v1/billing/operator/…"""

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from billing_app.http.operator import answers, bodies, events, session
from billing_app.http.operator.calling import OperatorRoute
from billing_app.http.operator.parameters import FILTER

BASE: Final = "/api/v1/billing/operator"


def routes() -> Iterable[web.RouteDef]:
    """Return the routes for the application."""
    return [web.route(route.method, _pattern(route.path), route.serve) for route in ROUTES]


def _pattern(path: str) -> str:
    return path.replace("}", ":[^/]+}")  # aiohttp's default pattern excludes braces


ROUTES: Final[tuple[OperatorRoute, ...]] = (
    OperatorRoute(
        path=f"{BASE}/session",
        operation_id="readOperatorSession",
        summary="The operator that the token names.",
        handle=session.show_session,
        answer=answers.SessionAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/events",
        operation_id="searchEvents",
        summary="Stored events, latest received first. `next_before` is the `before` of the next page.",
        handle=events.list_events,
        answer=answers.StoredEventsAnswer,
        query=(*FILTER, "before", "limit"),
    ),
    OperatorRoute(
        path=f"{BASE}/events/counts",
        operation_id="countEvents",
        summary="Counts of stored events in groups: of the last 24 hours, unless `since` or `id` says otherwise.",
        handle=events.count_events,
        answer=answers.EventCountsAnswer,
        query=(*FILTER, "by"),
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/ignore",
        operation_id="ignoreEvents",
        summary="Mark events that will never be applied as ignored. A replay processes them again.",
        handle=events.ignore,
        body=bodies.IgnoreBody,
        answer=answers.IgnoredAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/events/{{event}}",
        operation_id="readEvent",
        summary="One event, by our number or Stripe's id, with attempts, changes, messages and its redacted body.",
        handle=events.show_event,
        answer=answers.EventDetailsAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/events/{{event}}/body",
        operation_id="revealEventBody",
        summary="The whole body of an event, with personal data and secrets. The audit log has each request.",
        handle=events.reveal_body,
        body=bodies.WhyBody,
        answer=answers.RevealedBodyAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/audits",
        operation_id="listAudits",
        summary="The log of what operators did, latest first.",
        handle=session.list_audits,
        answer=answers.AuditsAnswer,
        query=("action", "actor", "before", "limit"),
    ),
)

"""The routes of the operator's API: /api/v1/billing/operator/…"""

import re
from functools import partial
from typing import Final

from aiohttp import web

from billing_app.http.loops import restarted, running
from billing_app.http.operator import (
    answers,
    bodies,
    events,
    grants,
    health,
    links,
    live,
    overview,
    replay_answers,
    replays,
    session,
    tenant_answers,
    tenants,
)
from billing_app.http.operator.calling import OperatorRoute
from billing_app.http.operator.parameters import FILTER
from billing_app.http.services import Services

BASE: Final = "/api/v1/billing/operator"


LIVE: Final = f"{BASE}/live"


def add_operator(app: web.Application, services: Services) -> None:
    """Serve the operator's API. Its feed runs as long as the application, and so does a replay that it began."""

    async def close_feed(_app: web.Application) -> None:
        services.operator.feed.close()

    async def end_replay(_app: web.Application) -> None:
        await services.operator.replays.close()

    app.cleanup_ctx.append(running(partial(restarted, services.operator.feed.run)))
    app.on_shutdown.append(close_feed)
    app.on_cleanup.append(end_replay)
    app.router.add_routes([web.route(route.method, _pattern(route.path), route.serve) for route in ROUTES])
    app.router.add_get(LIVE, live.serve, allow_head=False)  # HEAD would open a stream


def _pattern(path: str) -> str:
    """Return aiohttp's pattern of a path: its default one excludes braces, and some names are routes, not ids."""
    named = path.replace("{audit_id}", "{audit_id:(?!dry-run$|selection$)[^/]+}")
    return re.sub(r"{(\w+)}", r"{\1:[^/]+}", named)


ROUTES: Final[tuple[OperatorRoute, ...]] = (
    OperatorRoute(
        path=f"{BASE}/session",
        operation_id="readOperatorSession",
        summary="The operator that the token names.",
        handle=session.show_session,
        answer=answers.SessionAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/overview",
        operation_id="readOverview",
        summary="How events flow, what waits and what is wrong, at one glance.",
        handle=overview.show_overview,
        answer=health.OverviewAnswer,
        query=("window",),
    ),
    OperatorRoute(
        path=f"{BASE}/series",
        operation_id="readSeries",
        summary="Counts of events over a window, for charts.",
        handle=overview.show_series,
        answer=health.SeriesAnswer,
        query=("window",),
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
        method="POST",
        path=f"{BASE}/ignore/dry-run",
        operation_id="tryIgnore",
        summary="Show how many events ignoring would concern. Nothing is changed.",
        handle=events.try_ignore,
        body=bodies.IgnoreWanted,
        answer=answers.SelectionAnswer,
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
        method="POST",
        path=f"{BASE}/replays/dry-run",
        operation_id="tryReplay",
        summary="Show what processing events again would change, by tenant. Nothing is changed.",
        handle=replays.try_replay,
        body=bodies.ReplayWanted,
        answer=replay_answers.DryRunAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/replays/selection",
        operation_id="selectReplay",
        summary="How many events a replay would process, and their fingerprint: for more than a dry run may try.",
        handle=replays.select_events,
        body=bodies.ReplayWanted,
        answer=answers.SelectionAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/replays",
        operation_id="startReplay",
        summary="Begin to process events again. The audit log has the progress and the result.",
        handle=replays.start_replay,
        body=bodies.ReplayBody,
        answer=replay_answers.ReplayAnswer,
        status=202,
    ),
    OperatorRoute(
        path=f"{BASE}/replays",
        operation_id="listReplays",
        summary="Replays, the last begun first, those of the command line among them.",
        handle=replays.list_replays,
        answer=replay_answers.ReplaysAnswer,
        query=("limit",),
    ),
    OperatorRoute(
        path=f"{BASE}/replays/{{audit_id}}",
        operation_id="readReplay",
        summary="One replay: its progress, or its result.",
        handle=replays.show_replay,
        answer=replay_answers.ReplayAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/replays/{{audit_id}}/cancel",
        operation_id="cancelReplay",
        summary="Ask a replay to end after the batch in progress, wherever it runs.",
        handle=replays.cancel_replay,
        body=bodies.WhyBody,
        answer=replay_answers.ReplayAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/tenants",
        operation_id="listTenants",
        summary="Customers by id, with their tenants, what they have, what waits and what is dead.",
        handle=tenants.list_tenants,
        answer=tenant_answers.CustomersAnswer,
        query=("search", "linked", "after", "limit"),
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/tenant-search",
        operation_id="searchTenants",
        summary="The same by a text that may be an e-mail address: addresses of requests are logged, bodies are not.",
        handle=tenants.search_tenants,
        body=bodies.SearchBody,
        answer=tenant_answers.CustomersAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/tenants/{{tenant}}",
        operation_id="readTenant",
        summary="A tenant, by its id or that of a customer, a subscription, an invoice or an event of it.",
        handle=tenants.show_tenant,
        answer=tenant_answers.TenantAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/tenants/{{tenant}}/timeline",
        operation_id="explainTenant",
        summary="How a tenant came to its state: events, decisions, messages and the access after each.",
        handle=tenants.show_timeline,
        answer=tenant_answers.TimelineAnswer,
        query=("since", "until", "limit"),
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/tenants/{{tenant_id}}/grants",
        operation_id="grantAccess",
        summary="Grant a tenant full access to a plan, and notify it.",
        handle=grants.add_grant,
        body=bodies.GrantBody,
        answer=tenant_answers.GrantedAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/grants",
        operation_id="listGrants",
        summary="The last grants, of one tenant or of all.",
        handle=grants.list_grants,
        answer=tenant_answers.GrantsAnswer,
        query=("tenant", "limit"),
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/grants/{{grant_id}}/revoke",
        operation_id="revokeGrant",
        summary="Revoke a grant now, and notify its tenant.",
        handle=grants.revoke_grant,
        body=bodies.WhyBody,
        answer=tenant_answers.GrantedAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/plans",
        operation_id="listGrantablePlans",
        summary="The plans that can be granted.",
        handle=grants.list_plans,
        answer=tenant_answers.PlanChoicesAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/links",
        operation_id="linkCustomer",
        summary="Link a customer to a tenant. The events that waited for it are processed.",
        handle=links.link,
        body=bodies.LinkBody,
        answer=tenant_answers.LinkedAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/links/move/dry-run",
        operation_id="tryMove",
        summary="Show what moving a customer or subscription to another tenant would change.",
        handle=links.try_move,
        body=bodies.MoveWanted,
        answer=tenant_answers.LinkChangeAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/links/move",
        operation_id="moveLink",
        summary="Give a customer or subscription to another tenant, with everything that belongs to it.",
        handle=links.move,
        body=bodies.MoveBody,
        answer=tenant_answers.LinkChangeAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/links/unlink/dry-run",
        operation_id="tryUnlink",
        summary="Show what taking a customer or subscription away from a tenant would change.",
        handle=links.try_unlink,
        body=bodies.UnlinkWanted,
        answer=tenant_answers.LinkChangeAnswer,
    ),
    OperatorRoute(
        method="POST",
        path=f"{BASE}/links/unlink",
        operation_id="unlink",
        summary="Take a customer or subscription away from a tenant.",
        handle=links.unlink,
        body=bodies.UnlinkBody,
        answer=tenant_answers.LinkChangeAnswer,
    ),
    OperatorRoute(
        path=f"{BASE}/decisions",
        operation_id="listDecisions",
        summary="Decisions about links, the last made first.",
        handle=tenants.list_decisions,
        answer=tenant_answers.DecisionsAnswer,
        query=("about", "before", "limit"),
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

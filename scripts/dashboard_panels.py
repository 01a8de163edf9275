"""The panels of the dashboard: what they show, by which expressions of Prometheus.

`$job` stands for the deployment, and `$__rate_interval` for a range that Grafana chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs


@attrs.frozen
class Query:
    """An expression, and the name of each of its series."""

    expression: str
    legend: str = ""


@attrs.frozen(kw_only=True)
class Panel:
    """A panel of the dashboard."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    limits: Sequence[float] = ()
    """Where an alert begins: the values from which a number is yellow and red, or red alone. Only numbers have them."""


def _rate(counter: str, *by: str, matchers: str = "") -> str:
    selected = f'{counter}{{job="$job"{matchers}}}'
    return f"sum by ({', '.join(by)}) (rate({selected}[$__rate_interval]))"


def _quantile(histogram: str, quantile: float) -> str:
    return f'histogram_quantile({quantile}, sum by (le) (rate({histogram}_bucket{{job="$job"}}[$__rate_interval])))'


def _most(gauge: str, *by: str) -> str:
    """Return the largest value: every process measures the same database."""
    return f'max by ({", ".join(by)}) ({gauge}{{job="$job"}})' if by else f'max({gauge}{{job="$job"}})'


NUMBERS: Final = (
    Panel(
        title="Events late",
        description="Share of the events of the last hour that were processed later than 10 s after they were stored.",
        unit="percentunit",
        queries=[Query('billing:events_late:ratio_rate1h{job="$job"}')],
        limits=[0.001, 0.0144],
    ),
    Panel(
        title="Webhooks failed",
        description="Share of the genuine webhooks of the last hour that were answered 5xx.",
        unit="percentunit",
        queries=[Query('billing:webhooks_failed:ratio_rate1h{job="$job"}')],
        limits=[0.001, 0.0144],
    ),
    Panel(
        title="Last webhook",
        description="Time since a webhook was stored.",
        unit="s",
        queries=[Query('time() - max(max_over_time(stripe_webhook_last_stored_timestamp_seconds{job="$job"}[1d]))')],
    ),
    Panel(
        title="Oldest due event",
        description="How long an event has been due for processing.",
        unit="s",
        queries=[Query(_most("stripe_dispatch_oldest_due_seconds"))],
        limits=[120, 600],
    ),
    Panel(
        title="Oldest unpublished message",
        description="How long a message has waited for Redis.",
        unit="s",
        queries=[Query(_most("stripe_billing_stream_backlog_seconds"))],
        limits=[60],
    ),
    Panel(
        title="Dead events",
        description="Events that failed permanently and need an operator.",
        unit="short",
        queries=[Query(f"sum({_most('stripe_dispatch_dead_events', 'reason')})")],
        limits=[1],
    ),
    Panel(
        title="Invariants violated",
        description="Rows that contradict a guarantee.",
        unit="short",
        queries=[Query(f"sum({_most('billing_invariant_violations', 'invariant')})")],
        limits=[1],
    ),
    Panel(
        title="Processes that cannot use Postgres or Redis",
        description="Dependencies that are unavailable, counted over all processes.",
        unit="short",
        queries=[Query('sum(1 - billing_dependency_up{job="$job", dependency=~"postgres|redis"})')],
        limits=[1],
    ),
)

ROWS: Final = {
    "Webhooks": (
        Panel(
            title="Webhooks",
            description="By result. Refused ones have no event type yet.",
            unit="reqps",
            queries=[Query(_rate("stripe_webhook_events_total", "result"), "{{result}}")],
        ),
        Panel(
            title="Answers",
            description="To POST /webhooks/stripe.",
            unit="reqps",
            queries=[Query(_rate("billing_webhook_responses_total", "status"), "{{status}}")],
        ),
        Panel(
            title="Signature failures",
            description="By cause. A wrong secret is no_match; a wrong clock is stale or early.",
            unit="reqps",
            queries=[Query(_rate("stripe_webhook_signature_failures_total", "cause"), "{{cause}}")],
        ),
        Panel(
            title="API versions",
            description="Stored events by the API version of their endpoint.",
            unit="reqps",
            queries=[Query(_rate("stripe_webhook_api_versions_total", "api_version"), "{{api_version}}")],
        ),
        Panel(
            title="Signing secrets",
            description="Webhooks by the secret that they matched, by its fingerprint.",
            unit="reqps",
            queries=[Query(_rate("stripe_webhook_secret_matches_total", "secret"), "{{secret}}")],
        ),
        Panel(
            title="Time to answer a webhook",
            description="Whatever the answer is.",
            unit="s",
            queries=[
                Query(_quantile("billing_webhook_response_seconds", 0.5), "median"),
                Query(_quantile("billing_webhook_response_seconds", 0.99), "99 %"),
            ],
        ),
    ),
    "From Stripe to the screen": (
        Panel(
            title="Latency by step, median",
            description="The steps add up. Stripe gives the time of an event in whole seconds.",
            unit="s",
            queries=[
                Query(_quantile("billing_event_to_stored_seconds", 0.5), "Stripe to stored"),
                Query(_quantile("billing_stored_to_applied_seconds", 0.5), "stored to applied"),
                Query(_quantile("billing_applied_to_published_seconds", 0.5), "applied to published"),
                Query(_quantile("billing_published_to_delivered_seconds", 0.5), "published to delivered"),
            ],
        ),
        Panel(
            title="Latency by step, 99 %",
            description="The objective is 10 s from stored to applied for 99.9 % of the events.",
            unit="s",
            queries=[
                Query(_quantile("billing_event_to_stored_seconds", 0.99), "Stripe to stored"),
                Query(_quantile("billing_stored_to_applied_seconds", 0.99), "stored to applied"),
                Query(_quantile("billing_applied_to_published_seconds", 0.99), "applied to published"),
                Query(_quantile("billing_published_to_delivered_seconds", 0.99), "published to delivered"),
            ],
        ),
        Panel(
            title="Processed events",
            description="By disposition.",
            unit="reqps",
            queries=[Query(_rate("stripe_dispatch_events_total", "disposition"), "{{disposition}}")],
        ),
        Panel(
            title="Retries",
            description="Attempts beyond the first by result, retries that were scheduled, and claims that were lost.",
            unit="reqps",
            queries=[Query(_rate("stripe_dispatch_retry_total", "result"), "{{result}}")],
        ),
        Panel(
            title="Backlog",
            description="Events that are due, parked or dead, and objects whose state is uncertain.",
            unit="short",
            queries=[
                Query(_most("stripe_dispatch_due_events"), "due"),
                Query(_most("stripe_dispatch_parked_events"), "parked"),
                Query(_most("stripe_dispatch_dead_events", "reason"), "dead: {{reason}}"),
                Query(_most("billing_uncertain_objects", "kind"), "uncertain: {{kind}}"),
            ],
        ),
        Panel(
            title="Ages",
            description="Of the event, message or operation that has waited longest.",
            unit="s",
            queries=[
                Query(_most("stripe_dispatch_oldest_due_seconds"), "due event"),
                Query(_most("stripe_dispatch_oldest_parked_seconds"), "parked event"),
                Query(_most("stripe_billing_stream_backlog_seconds"), "unpublished message"),
                Query(_most("stripe_gateway_oldest_unresolved_seconds"), "operation without an outcome"),
            ],
        ),
    ),
    "Messages": (
        Panel(
            title="Messages",
            description="Numbered by dispatch, published to Redis, delivered to streams.",
            unit="reqps",
            queries=[Query(_rate("stripe_billing_stream_events_total", "source", "result"), "{{source}} {{result}}")],
        ),
        Panel(
            title="Open streams",
            description="By process.",
            unit="short",
            queries=[Query('sum by (instance) (stripe_billing_stream_connections{job="$job"})', "{{instance}}")],
        ),
        Panel(
            title="Stream admissions",
            description="Streams that were admitted, and refused by the quotas of their tenants.",
            unit="reqps",
            queries=[Query(_rate("stripe_billing_stream_admissions_total", "result"), "{{result}}")],
        ),
        Panel(
            title="Streams that ended",
            description="By reason.",
            unit="reqps",
            queries=[Query(_rate("stripe_billing_stream_ended_total", "reason"), "{{reason}}")],
        ),
        Panel(
            title="Consumers behind",
            description="Age of the oldest message that each handler or receiver has not handled.",
            unit="s",
            queries=[Query(_most("billing_consumer_oldest_seconds", "consumer"), "{{consumer}}")],
        ),
        Panel(
            title="Attempts of consumers",
            description="By handler or receiver, and result.",
            unit="reqps",
            queries=[
                Query(_rate("billing_consumer_messages_total", "consumer", "result"), "{{consumer}} {{result}}"),
            ],
        ),
    ),
    "Stripe": (
        Panel(
            title="Calls to Stripe",
            description="By operation and result.",
            unit="reqps",
            queries=[
                Query(_rate("stripe_gateway_operations_total", "operation", "result"), "{{operation}} {{result}}")
            ],
        ),
        Panel(
            title="Failures",
            description="By reason. authentication and permission are faults of the key.",
            unit="reqps",
            queries=[Query(_rate("stripe_gateway_failures_total", "reason"), "{{reason}}")],
        ),
        Panel(
            title="Duration of calls, 99 %",
            description="With all attempts and waits.",
            unit="s",
            queries=[Query(_quantile("stripe_gateway_operation_duration_seconds", 0.99), "99 %")],
        ),
        Panel(
            title="Circuit and calls in flight",
            description="Processes whose circuit is not closed, and requests on their way.",
            unit="short",
            queries=[
                Query('sum(1 - stripe_gateway_circuit{job="$job", state="closed"})', "circuit not closed"),
                Query('sum(stripe_gateway_calls_in_flight{job="$job"})', "in flight"),
                Query(_most("stripe_gateway_unresolved_operations"), "operations without an outcome"),
            ],
        ),
    ),
    "Processes": (
        Panel(
            title="Processes",
            description="Heard of within half a minute, by kind.",
            unit="short",
            queries=[Query(_most("billing_processes", "kind"), "{{kind}}")],
        ),
        Panel(
            title="Database connections in use",
            description="Share of the pool's limit, by process.",
            unit="percentunit",
            queries=[
                Query(
                    'billing_database_connections_in_use{job="$job"} / billing_database_connections_limit{job="$job"}',
                    "{{instance}} {{pool}}",
                )
            ],
        ),
        Panel(
            title="Wait for a connection, 99 %",
            description="Of all pools.",
            unit="s",
            queries=[Query(_quantile("billing_database_connection_wait_seconds", 0.99), "99 %")],
        ),
        Panel(
            title="Clock skew",
            description="The process's clock minus that of Postgres, Redis or Stripe.",
            unit="s",
            queries=[Query('billing_clock_skew_seconds{job="$job"}', "{{instance}} {{reference}}")],
        ),
        Panel(
            title="CPU",
            description="Seconds of CPU per second, by process.",
            unit="short",
            queries=[Query(_rate("process_cpu_seconds_total", "instance"), "{{instance}}")],
        ),
        Panel(
            title="Memory",
            description="Resident memory by process.",
            unit="bytes",
            queries=[Query('process_resident_memory_bytes{job="$job"}', "{{instance}}")],
        ),
    ),
}


def expressions(*, job: str) -> list[str]:
    """Return every expression for one deployment."""
    panels = [*NUMBERS, *(panel for panels in ROWS.values() for panel in panels)]
    return [
        query.expression.replace("$job", job).replace("$__rate_interval", "5m")
        for panel in panels
        for query in panel.queries
    ]

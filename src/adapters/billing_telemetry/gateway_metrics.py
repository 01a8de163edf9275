"""Metrics of calls to the provider's API, and of operations whose outcome is unknown."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from billing_core.operations.call_reports import Circuit, GatewayCall
from billing_core.operations.settling import SettlingReport
from billing_telemetry.declaring import Bounded, Declarations, Label

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_FAILURES: Final = (
    "authentication",
    "permission",
    "unavailable",
    "rate_limited",
    "conflict",
    "idempotency_conflict",
    "invalid_request",
    "payment_method_missing",
    "card_declined",
    "not_found",
    "internal_error",
    "bug",
)
_NO_FAILURES: Final = frozenset({"ok", "canceled"})
_OPERATION: Final = Label("operation", others="Our names of Stripe's calls.")


class GatewayMetrics:
    """Counts and times calls."""

    def __init__(self, declare: Declarations, *, plan_codes: Collection[str] = ()) -> None:
        """Plans that are not among these are counted as `other`."""
        self._gateway_calls = declare.counter(
            "stripe_gateway_operations_total",
            "Calls to the provider's API, retries included.",
            _OPERATION,
            Label("plan_code", others="Codes of the configured plans, `other`, or empty."),
            Label("result", others="`ok`, `canceled` or one of the reasons of stripe_gateway_failures_total."),
            born=(),
        )
        self._plan_code = Bounded(plan_codes)
        self._gateway_failures = declare.counter(
            "stripe_gateway_failures_total", "Calls that failed, by reason.", Label("reason", _FAILURES)
        )
        self._gateway_seconds = declare.histogram(
            "stripe_gateway_operation_duration_seconds",
            "Duration of calls to the provider's API, including retries.",
            _OPERATION,
            buckets=_SECONDS,
        )
        self._gateway_retries = declare.counter(
            "stripe_gateway_retries_total",
            "Repeated attempts of calls, by the error of the attempt before.",
            _OPERATION,
            Label("reason", others="Codes of errors."),
            born=(),
        )
        self._gateway_limited = declare.counter(
            "stripe_gateway_rate_limited_total",
            "Calls refused for load by the provider, by its reason, or delayed by a limit of ours (own_…).",
            Label("reason", others="Stripe's reasons, and own_…."),
        )
        self._in_flight = declare.value("stripe_gateway_calls_in_flight", "Requests on their way to the provider.")
        self._circuit = declare.gauge(
            "stripe_gateway_circuit",
            "Whether calls are sent: 1 for the state of the circuit.",
            Label("state", [state.value for state in Circuit]),
        )
        self._settled = declare.counter(
            "stripe_gateway_settlements_total",
            "Attempts to settle operations whose outcome was unknown, by result.",
            Label("result", others="A status of operations, `withdrawn`, `bug` or the code of an error."),
        )
        self._unresolved = declare.value(
            "stripe_gateway_unresolved_operations", "Operations whose outcome is not known yet.", of_database=True
        )
        self._oldest_unresolved = declare.value(
            "stripe_gateway_oldest_unresolved_seconds",
            "Age of the oldest of them; zero if there is none.",
            of_database=True,
        )
        self._api_key = declare.gauge(
            "stripe_api_key_info",
            "1 for the API key in use, by its fingerprint.",
            Label("key", others="A fingerprint."),
        )

    def gateway_called(self, call: GatewayCall) -> None:
        """Count and time a finished call, its retries and its delays."""
        self._gateway_seconds.observe(call.seconds, call.operation)
        plan_code = self._plan_code(call.plan_code) if call.plan_code else ""
        self._gateway_calls(call.operation, plan_code, call.result).inc()
        if call.result not in _NO_FAILURES:
            self._gateway_failures(call.result).inc()
        for reason in call.retries:
            self._gateway_retries(call.operation, reason).inc()
        for reason in call.limited:
            self._gateway_limited(reason).inc()

    def watch_gateway(self, *, in_flight: Callable[[], float], circuit: Callable[[], Circuit]) -> None:
        """Read the requests on their way, and the state of the circuit, whenever the metrics are scraped."""
        self._in_flight.set_function(in_flight)
        for state in Circuit:
            self._circuit(state.value).set_function(partial(_equals, circuit, state))

    def operations_settled(self, report: SettlingReport) -> None:
        """Count attempts to settle operations, and set the gauges of those that are unresolved."""
        for settlement in report.settlements:
            self._settled(settlement.result).inc()
        self._unresolved.set(report.backlog.count)
        self._oldest_unresolved.set(report.backlog.oldest.total_seconds() if report.backlog.oldest else 0)

    def api_key_configured(self, fingerprint: str) -> None:
        """Show the API key that this process calls with."""
        self._api_key(fingerprint).set(1)


def _equals(current: Callable[[], Circuit], state: Circuit) -> float:
    return float(current() is state)

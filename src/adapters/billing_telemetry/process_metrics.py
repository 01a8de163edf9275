"""Metrics of the process itself: whether it is alive, and whether what it depends on works."""

import platform
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from prometheus_client import ProcessCollector

from billing_core.oversight.monitors import ProcessesReport
from billing_telemetry.declaring import Declarations, Label

MONITORS: Final = ("backlog", "consumers", "duplicates", "unmapped", "invariants", "processes")
POOLS: Final = ("writers", "readers", "consumers")
_KINDS: Final = ("serve", "worker", "application")
_WAITS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ProcessMetrics:
    """Shows that the process lives, its clock, its connections and the age of what it measured."""

    def __init__(self, declare: Declarations, *, version: str = "") -> None:
        self._build = declare.gauge(
            "billing_build_info",
            "1 for the version that runs.",
            Label("version", others="Of billing-core."),
            Label("python", others="Of Python."),
        )
        if version:
            self._build(version, platform.python_version()).set(1)
        self._beaten_at = 0.0
        declare.read(
            "billing_process_last_heartbeat_timestamp_seconds",
            "Time of the last heartbeat that the database took (Unix time); zero if there was none.",
            lambda: self._beaten_at,
        )
        self._skew = declare.gauge(
            "billing_clock_skew_seconds",
            "This process's clock minus another one: that of the database, of the bus, and the timestamp of the last "
            "rightly signed webhook, which has whole seconds and is as old as the request.",
            Label("reference", ("postgres", "redis", "stripe")),
        )
        self._ahead_of_stripe = 0.0
        self._skew("stripe").set_function(lambda: self._ahead_of_stripe)
        self._up = declare.gauge(
            "billing_dependency_up",
            "1 while this process can use a dependency, as its last uses showed.",
            Label("dependency", ("postgres", "redis", "stripe")),
        )
        self._runs = declare.gauge(
            "billing_monitor_last_run_timestamp_seconds",
            "Time at which this process last measured the gauges of a monitor (Unix time); zero if it never did, for "
            "example because it runs no worker.",
            Label("monitor", MONITORS),
        )
        self._processes = declare.gauge(
            "billing_processes",
            "Processes whose last heartbeat is no older than 20 seconds.",
            Label("kind", _KINDS),
            of_database=True,
        )
        self._processing = declare.value(
            "billing_processing_processes", "Those of them that process events.", of_database=True
        )
        pool = Label("pool", POOLS)
        self._pool_in_use = declare.gauge("billing_database_connections_in_use", "Database connections in use.", pool)
        self._pool_size = declare.gauge(
            "billing_database_connections_limit", "Database connections that this process may open.", pool
        )
        self._pool_waits = declare.histogram(
            "billing_database_connection_wait_seconds", "Wait for a database connection.", pool, buckets=_WAITS
        )
        self._pool_timeouts = declare.counter(
            "billing_database_connection_timeouts_total", "Times that no database connection became free in time.", pool
        )
        ProcessCollector(registry=declare.registry)

    def heartbeat_taken(self, ahead: timedelta | None) -> None:
        """Note that the database took a heartbeat, and how far our clock is ahead of its clock."""
        self._beaten_at = time.time()
        if ahead is not None:
            self._skew("postgres").set(ahead.total_seconds())

    def bus_compared(self, ahead: float) -> None:
        """Set how many seconds our clock is ahead of the bus's."""
        self._skew("redis").set(ahead)

    def webhook_compared(self, ahead: float) -> None:
        """Set how many seconds our clock is ahead of the timestamp of the last rightly signed webhook."""
        self._ahead_of_stripe = ahead

    def watch_dependencies(self, works: Mapping[str, Callable[[], bool]]) -> None:
        """Read whether dependencies work whenever the metrics are scraped."""
        for name, is_up in works.items():
            self._up(name).set_function(is_up)

    def monitor_ran(self, monitor: str) -> None:
        """Note that the gauges of a monitor are current."""
        self._runs(monitor).set(time.time())

    def processes_counted(self, report: ProcessesReport) -> None:
        """Set how many processes are alive."""
        for kind in _KINDS:
            self._processes(kind).set(sum(process.kind == kind for process in report.alive))
        self._processing.set(sum(process.processes_events for process in report.alive))

    def watch_pool(self, pool: str, *, in_use: Callable[[], float], limit: int) -> None:
        """Read the number of busy database connections from `in_use` whenever the metrics are scraped."""
        self._pool_in_use(pool).set_function(in_use)
        self._pool_size(pool).set(limit)

    def pool_waited(self, pool: str, seconds: float, *, in_vain: bool) -> None:
        """Count a wait for a connection, `in_vain` if none became free."""
        self._pool_waits.observe(seconds, pool)
        if in_vain:
            self._pool_timeouts(pool).inc()

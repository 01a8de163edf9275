"""The Prometheus metrics of a process. Their names and labels are an interface: dashboards and alerts depend on them.

Label values come from closed sets; ids never become labels. Each event changes a dozen of them: counters and histograms
are our own, which take no locks, and gauges that change as often are read when they are scraped.
"""

from collections.abc import Collection, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from billing_core.inbox.batch import ProcessingReport
from billing_core.oversight.delays import MeasuredStage
from billing_core.oversight.monitors import (
    BacklogReport,
    DuplicateReport,
    InvariantReport,
    ProcessesReport,
    UnmappedReport,
)
from billing_telemetry.declaring import Declarations
from billing_telemetry.dispatch_metrics import DispatchMetrics
from billing_telemetry.gateway_metrics import GatewayMetrics
from billing_telemetry.process_metrics import ProcessMetrics
from billing_telemetry.state_metrics import StateMetrics
from billing_telemetry.stream_metrics import StreamMetrics
from billing_telemetry.webhook_metrics import WebhookMetrics


class Metrics(WebhookMetrics, DispatchMetrics, StreamMetrics, GatewayMetrics, StateMetrics, ProcessMetrics):
    """Every metric of one process, in a registry of its own."""

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        event_types: Collection[str] = (),
        api_versions: Sequence[str] = (),
        plan_codes: Collection[str] = (),
        version: str = "",
    ) -> None:
        """Declare the metrics. Types, versions and plans that are not among these are counted as `other`."""
        self.declarations = declare = Declarations(registry)
        self.registry = declare.registry
        WebhookMetrics.__init__(self, declare, event_types=event_types, api_versions=api_versions)
        DispatchMetrics.__init__(self, declare)
        StreamMetrics.__init__(self, declare)
        GatewayMetrics.__init__(self, declare, plan_codes=plan_codes)
        StateMetrics.__init__(self, declare)
        ProcessMetrics.__init__(self, declare, version=version)

    # --- reports that concern several subjects --------------------------------------------------------------------

    def processed(self, report: ProcessingReport) -> None:
        """Count one batch of processed events, their failed attempts, and the messages that it numbered."""
        self.batch_processed(report)
        for claim in report.failed:
            self.dispatch_failed(claim.event.type)
        self.numbered(len(report.events))

    def backlog_seen(self, report: BacklogReport) -> None:
        """Set what is waiting now."""
        self.backlog_measured(report)
        self.monitor_ran("backlog")

    def duplicates_seen(self, report: DuplicateReport) -> None:
        """Set how many tenants have duplicate subscriptions now."""
        self.duplicates_found(report)
        self.monitor_ran("duplicates")

    def unmapped_seen(self, report: UnmappedReport) -> None:
        """Set how many prices of live subscriptions belong to no plan now."""
        self.unmapped_found(report)
        self.monitor_ran("unmapped")

    def invariants_checked(self, report: InvariantReport) -> None:
        """Set how many rows violate each invariant now."""
        self.violations_found(report)
        self.monitor_ran("invariants")

    def processes_seen(self, report: ProcessesReport) -> None:
        """Set how many processes are alive now."""
        self.processes_counted(report)
        self.monitor_ran("processes")

    # --- delays, for all processes to add up ------------------------------------------------------------------------

    def delay_counts(self) -> Mapping[MeasuredStage, Sequence[int]]:
        """Return the delays to each stage, by bucket, since the process began."""
        return {
            "stored": self.storing.counts(),
            "applied": self.applying.counts(),
            "published": self.publishing.counts(),
            "delivered": self.delivering.counts(),
        }

    # --- exposition -------------------------------------------------------------------------------------------------

    def render(self) -> tuple[bytes, str]:
        """Return the metrics in the Prometheus text format, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

"""ops/grafana/billing.json, the dashboard of the billing loop: `python -m scripts.dashboard`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)
from scripts.dashboard_panels import NUMBERS, ROWS, Panel, Query

DOCUMENT: Final = Path(__file__).parents[1] / "ops/grafana/billing.json"
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${source}")
_WIDTH: Final = 24
_GREEN, _YELLOW, _RED = "green", "yellow", "red"


def render() -> str:
    """Return the dashboard as Grafana imports it."""
    board = (
        dashboard.Dashboard("Billing")
        .uid("billing")
        .description("Webhooks, events, messages, calls to Stripe and processes of one deployment, a scrape job.")
        .tags(["billing", "stripe"])
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("source").type("prometheus").label("Prometheus"))
        .with_variable(
            dashboard.QueryVariable("job")
            .label("Deployment")
            .datasource(_SOURCE)
            .query("label_values(stripe_webhook_last_stored_timestamp_seconds, job)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
    )
    for panel in NUMBERS:
        board.with_panel(_number(panel))
    for title, panels in ROWS.items():
        board.with_row(dashboard.Row(title))
        for panel in panels:
            board.with_panel(_curve(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _number(panel: Panel) -> stat.Panel:
    built = (
        stat.Panel()
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(_SOURCE)
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(panel.limits))
        .height(4)
        .span(_WIDTH // 4)
    )
    return built.targets([_target(query, number) for number, query in enumerate(panel.queries)])


def _curve(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(_SOURCE)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .axis_soft_min(0)
        .height(8)
        .span(_WIDTH // 2)
    )
    return built.targets([_target(query, number) for number, query in enumerate(panel.queries)])


def _target(query: Query, number: int) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expression).ref_id(chr(ord("A") + number)).datasource(_SOURCE)
    return target.legend_format(query.legend) if query.legend else target


def _thresholds(limits: Sequence[float]) -> dashboard.ThresholdsConfig:
    colors = [_GREEN, *[_YELLOW, _RED][-len(limits) :]] if limits else [_GREEN]
    steps = [Threshold(value=value, color=color) for value, color in zip([None, *limits], colors, strict=True)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(render(), encoding="utf-8")

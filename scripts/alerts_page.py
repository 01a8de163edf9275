"""docs/alerts.md, the table of alerts, made from the rules: `python -m scripts.alerts_page`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
DOCUMENT: Final = ROOT / "docs/alerts.md"
RULES: Final = ROOT / "ops/prometheus/billing.rules.yml"

_HEAD: Final = """\
# Alerts

<!-- Made by `python -m scripts.alerts_page` from ops/prometheus/billing.rules.yml; change it there. -->

`ops/prometheus/billing.rules.yml` is a file of rules for Prometheus, 2.42 or newer. `ops/prometheus/prometheus.yml` and
`ops/alertmanager/alertmanager.yml` are examples to start from:

- **A deployment is a scrape job.** Alerts keep its `job`, so that staging and production can share a Prometheus. Every
  server and worker is a target, at its `BILLING_METRICS_PORT`. A worker that is not scraped counts as one that does not
  run: `BillingNoWorker` fires.
- **`page`** calls an engineer now, with `hours: business` during business hours; **`ticket`** is for the same day;
  **`info`** is for when there is time.
- **`runbook_url`** is a path of this repository. Where your team reads the runbook elsewhere, replace it:
  `sed 's|docs/billing/stripe-runbook.md|https://wiki.example.com/billing|' billing.rules.yml`.

`make ops` checks the rules with promtool, which runs the tests in `ops/prometheus/tests/`: they show when each alert
fires and when it stays quiet. It checks the routes with amtool, and takes both from PATH or from Debian's packages.
"""


def render() -> str:
    """Return the page."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    tables = (_table(group["name"], [rule for rule in group["rules"] if "alert" in rule]) for group in groups)
    return _HEAD + "".join(tables)


def _table(group: str, alerts: list[dict[str, Any]]) -> str:
    title = group.removeprefix("billing-").replace("-", " ").capitalize()
    head = f"\n## {title}\n\n| Alert | Severity | Meaning | Runbook |\n|---|---|---|---|\n"
    return head + "".join(_row(alert) for alert in alerts)


def _row(alert: dict[str, Any]) -> str:
    labels, annotations = alert["labels"], alert["annotations"]
    more = [f"{name} {labels[name]}" for name in ("window", "hours") if name in labels]
    severity = ", ".join([labels["severity"], *more])
    url = annotations["runbook_url"]
    return f"| `{alert['alert']}` | {severity} | {annotations['description']} | [{section(url)}]({_link(url)}) |\n"


def section(url: str) -> str:
    """Return the title of the section that an address of the runbook names. Raises LookupError if there is none."""
    page, _, anchor = url.partition("#")
    for heading in re.findall(r"^## (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE):
        if re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") == anchor:
            return str(heading)
    raise LookupError(f"{url}: the runbook has no such section")


def _link(url: str) -> str:
    return os.path.relpath(url, DOCUMENT.parent.relative_to(ROOT))


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")

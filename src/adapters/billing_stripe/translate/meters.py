"""Reports that meter events were not counted: nobody's state, but money that is not billed until somebody acts."""

from collections.abc import Mapping
from typing import Final

from billing_core.events import Translation
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import METER_ERRORS

METER_REPORTS: Final = frozenset({"v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"})
"""Thin events that carry what they say themselves once they are asked for; no snapshot event tells of it."""


def read_meter_report(event: Mapping[str, object]) -> Translation:
    """How many meter events were refused, and why; the samples beside that may hold anything and are not read."""
    missing: list[str] = []
    seen = Reader(event, "meter_report", missing)
    reason = seen.child("data").child("reason")
    count = reason.required("error_count", reason.integer("error_count"))
    codes = [
        f"{code} ({kind.integer('error_count') or '?'})"
        for kind in reason.children("error_types")
        if (code := kind.required("code", kind.word("code")))
    ]
    meter = seen.child("related_object").word("id")
    refused = f"{'?' if count is None else count} meter events{f' of {meter}' if meter else ''} were not counted"
    detail = f"{refused}: {', '.join(codes) or 'no reason given'}"
    return Translation(ignored=METER_ERRORS, detail=detail, missing=tuple(dict.fromkeys(missing)))

"""Reports about refused meter events. They change no state, but usage stays unbilled until an operator acts."""

from collections.abc import Mapping
from typing import Final

from billing_core.events import Translation
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import METER_ERRORS

METER_REPORTS: Final = frozenset({"v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"})
"""Thin events that contain their data themselves once they are fetched; there is no snapshot event for them."""


def read_meter_report(event: Mapping[str, object]) -> Translation:
    """Read the number of refused meter events and the reasons; the samples may contain anything and are not read."""
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

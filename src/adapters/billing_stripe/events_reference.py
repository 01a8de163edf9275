"""The page that says what each of Stripe's event types does here: `python -m billing_stripe.events_reference`.

Made from the translators' table. A test compares the two, so neither can drift.
"""

from pathlib import Path
from typing import Final

from billing_stripe.translate.table import SECTIONS

DOCUMENT: Final = Path("docs/billing/stripe-events.md")

_HEAD = """\
# Stripe's events

<!-- Made by `python -m billing_stripe.events_reference` from billing_stripe/translate/table.py; change it there. -->

What each event type does here and which messages the tenant may get from it. Every other type is stored and ignored as
`unhandled_type`, and can be processed again should a later version understand it.

- An event of any API version since 2020-03 says the same.
- Messages follow from changes of state, not from events: an event that only confirms what is known tells nothing, so
  of two events about one fact only the first one tells.
- Whose an event is, its customer's link to a tenant says. Refunds, disputes and payments that name no customer are of
  whoever has the payment, the charge or the invoice. An event that nobody can be found for waits until somebody is.
- The catalog belongs to nobody and tells nothing.
- An event that cannot be read is ignored with a reason, never refused: `unreadable_object`, `unexpected_object`,
  `no_customer`. Single fields that cannot be read are absent, and counted in `stripe_unreadable_fields_total`.
- Thin events (`v2.core.event`) name an object without showing it. With an API key the subscription, invoice, customer
  or checkout session is fetched and applied, unless the snapshot event of the same fact is stored: `snapshot_twin`.
  Without a key they are parked as `thin`.
- Refused usage is reported in thin events only, `v1.billing.meter.error_report_triggered` and
  `v1.billing.meter.no_meter_found`. They are fetched and end ignored as `meter_errors`, with how many meter events were
  not counted and why as their error, which is also logged as `event.needs_attention`.
"""


def render() -> str:
    """The page: one table per kind of object."""
    blocks = [_HEAD]
    for title, rows in SECTIONS.items():
        blocks.append(f"\n## {title}\n\n| Event type | What it does | Messages |\n|---|---|---|\n")
        blocks += [f"| `{type_}` | {row.does} | {row.notify or '–'} |\n" for type_, row in rows.items()]
    return "".join(blocks)


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")

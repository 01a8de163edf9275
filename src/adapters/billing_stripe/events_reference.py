"""Generate the page about the effects of Stripe's event types: `python -m billing_stripe.events_reference`.

Its source is the table of translators; a test compares the two.
"""

from pathlib import Path
from typing import Final

from billing_stripe.translate.table import SECTIONS

DOCUMENT: Final = Path("docs/billing/stripe-events.md")

_HEAD = """\
# Stripe events

<!-- Made by `python -m billing_stripe.events_reference` from billing_stripe/translate/table.py; change it there. -->

The effect of each event type, and the messages that may follow from it. Every other type is stored and ignored as
`unhandled_type`; it can be replayed once a later version supports it.

- The effect is the same in every API version since 2020-03.
- Messages follow from changes of state, not from events. An event that only confirms the state produces none, so of two
  events about one change only the first produces a message.
- The tenant of an event is the one its customer is linked to. Refunds, disputes and payments that name no customer
  belong to the tenant of the payment, charge or invoice they name. An event whose tenant is unknown waits for it.
- An event of another product of the account is ignored as `out_of_scope`, where `[scope]` says so.
- The catalog belongs to no tenant and produces no messages. Test clocks belong to none either; when one moves, the
  access of the tenants with subscriptions on it is decided again ([access](access.md#test-clocks)).
- An event that cannot be read is ignored with a reason, never refused: `unreadable_object`, `unexpected_object`,
  `no_customer`. Single fields that cannot be read are left out, and counted in `stripe_unreadable_fields_total`.
- Thin events (`v2.core.event`) name an object without showing it. With an API key the subscription, invoice, customer
  or checkout session is fetched and applied, unless the snapshot event of the same change is stored: then the
  reason is `snapshot_twin`. Without a key they are parked as `thin`.
- Refused usage is reported in thin events only, `v1.billing.meter.error_report_triggered` and
  `v1.billing.meter.no_meter_found`. They are fetched and ignored as `meter_errors`; their error says how many meter
  events were not counted and why, and is also logged as `event.needs_attention`.
"""


def render() -> str:
    """Render the page, one table per kind of object."""
    blocks = [_HEAD]
    for title, rows in SECTIONS.items():
        blocks.append(f"\n## {title}\n\n| Event type | Effect | Messages |\n|---|---|---|\n")
        blocks += [f"| `{type_}` | {row.effect} | {row.messages or '–'} |\n" for type_, row in rows.items()]
    return "".join(blocks)


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")

"""The difference between what is and what must be, one line for each field that is wrong."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from billing_demo.truth import Expectation, Section

_LIVE_ENDS = ("canceled", "incomplete_expired")


@attrs.frozen(kw_only=True)
class Observation:
    """What the HTTP API shows of one tenant."""

    state: Mapping[str, Any]
    subscriptions: Iterable[Section]
    invoices: Iterable[Section]
    usage: Iterable[Section]


def differences(tenant_id: str, expected: Expectation, seen: Observation) -> list[str]:
    """Everything that is not as it must be; empty when all is well.

    `/state` is held against the same truth: it shows the subscriptions that have not ended and the invoices still owed.
    """
    found: list[str] = []
    for kind, key, wanted, actual in (
        ("subscription", "subscription_id", expected.subscriptions, seen.subscriptions),
        ("invoice", "invoice_id", expected.invoices, seen.invoices),
        ("usage", "line_id", expected.usage, seen.usage),
        ("live subscription", "subscription_id", _live(expected.subscriptions), _state_subscriptions(seen)),
        ("open invoice", "invoice_id", _owed(expected.invoices), seen.state["invoices"]),
    ):
        found += [f"{tenant_id} {kind} {line}" for line in _compare(key, wanted, actual)]
    return found


def _compare(key: str, wanted: Mapping[str, Section], actual: Iterable[Section]) -> Iterator[str]:
    shown = list(actual)
    by_id = {section[key]: section for section in shown}
    if len(by_id) != len(shown):
        yield f"is shown more than once: {len(shown)} for {len(by_id)}"
    for missing in wanted.keys() - by_id.keys():
        yield f"{missing} is missing"
    for surplus in by_id.keys() - wanted.keys():
        yield f"{surplus} should not be there"
    for id_ in wanted.keys() & by_id.keys():
        for field, value in wanted[id_].items():
            if by_id[id_].get(field) != value:
                yield f"{id_}: {field} is {by_id[id_].get(field)!r}, not {value!r}"


def _state_subscriptions(seen: Observation) -> list[Section]:
    return [section for section in seen.state["subscriptions"] if section["status"] not in _LIVE_ENDS]


def _live(subscriptions: Mapping[str, Section]) -> Mapping[str, Section]:
    return {id_: section for id_, section in subscriptions.items() if section["status"] not in _LIVE_ENDS}


def _owed(invoices: Mapping[str, Section]) -> Mapping[str, Section]:
    return {
        id_: section
        for id_, section in invoices.items()
        if section["status"] in ("open", "uncollectible") and section["amount_remaining"] > 0
    }

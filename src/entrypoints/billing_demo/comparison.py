"""The comparison of a tenant's expected and actual state: one line for each field that differs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from billing_demo.expected_state import ExpectedTenant, Section

_ENDED = ("canceled", "incomplete_expired")


@attrs.frozen(kw_only=True)
class ActualTenant:
    """A tenant's data as the HTTP API shows it."""

    state: Mapping[str, Any]
    subscriptions: Iterable[Section]
    invoices: Iterable[Section]
    usage: Iterable[Section]


def differences(tenant_id: str, expected: ExpectedTenant, actual: ActualTenant) -> list[str]:
    """Return one line for each difference; an empty list if there is none.

    `/state` is compared, too: it shows the subscriptions that have not ended and the invoices that are still owed.
    """
    found: list[str] = []
    for kind, key, wanted, shown in (
        ("subscription", "subscription_id", expected.subscriptions, actual.subscriptions),
        ("invoice", "invoice_id", expected.invoices, actual.invoices),
        ("usage", "line_id", expected.usage, actual.usage),
        ("live subscription", "subscription_id", _live(expected.subscriptions), _state_subscriptions(actual)),
        ("open invoice", "invoice_id", _owed(expected.invoices), actual.state["invoices"]),
    ):
        found += [f"{tenant_id} {kind} {line}" for line in _compare(key, wanted, shown)]
    return found


def _compare(key: str, expected: Mapping[str, Section], actual: Iterable[Section]) -> Iterator[str]:
    sections = list(actual)
    by_id = {section[key]: section for section in sections}
    if len(by_id) != len(sections):
        yield f"is shown more than once: {len(sections)} sections for {len(by_id)} ids"
    for missing in expected.keys() - by_id.keys():
        yield f"{missing} is missing"
    for unexpected in by_id.keys() - expected.keys():
        yield f"{unexpected} is unexpected"
    for id_ in expected.keys() & by_id.keys():
        for field, value in expected[id_].items():
            if by_id[id_].get(field) != value:
                yield f"{id_}: {field} is {by_id[id_].get(field)!r}, expected {value!r}"


def _state_subscriptions(actual: ActualTenant) -> list[Section]:
    return [section for section in actual.state["subscriptions"] if section["status"] not in _ENDED]


def _live(subscriptions: Mapping[str, Section]) -> Mapping[str, Section]:
    return {id_: section for id_, section in subscriptions.items() if section["status"] not in _ENDED}


def _owed(invoices: Mapping[str, Section]) -> Mapping[str, Section]:
    return {
        id_: section
        for id_, section in invoices.items()
        if section["status"] in ("open", "uncollectible") and section["amount_remaining"] > 0
    }

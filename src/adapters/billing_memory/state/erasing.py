"""Erase a tenant from the tables in process."""

from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

import attrs

from billing_core.events import Disposition
from billing_core.model import TenantCustomer
from billing_core.operations.stored import OperationStatus
from billing_core.oversight.inspection import Audit
from billing_core.state.mentions import Mentions
from billing_core.state.ports import ERASED, Erasure
from billing_core.stream_access.ports import Revocation
from billing_memory.database import Dispatch, MemoryDatabase, Tables

Key = TypeVar("Key")


def digest(object_id: str) -> bytes:
    """Return what stays of an id: it is recognized, and cannot be read."""
    return sha256(object_id.encode("utf-8", "surrogatepass")).digest()


class Eraser:
    """The rows of one tenant: counted when the decision is carried out, deleted when it is committed."""

    def __init__(self, database: MemoryDatabase, tables: Tables, erasure: Erasure, now: datetime) -> None:
        """`tables` are those that the unit of work sees."""
        self._database = database
        self._tables = tables
        self._erasure = erasure
        self._mentions = Mentions(erasure.names)
        self._now = now

    def count(self) -> Mapping[str, int]:
        """Count what goes, by kind."""
        tables, database = self._tables, self._database
        events = self._events(tables)
        return {
            "customers": len(self._erasure.customers),
            "subscriptions": len(self._owned(tables.subscriptions)),
            "invoices": len(self._owned(tables.invoices)),
            "usage": sum(map(len, (tables.usage[key] for key in self._billed(tables)))),
            "records": len(self._owned(tables.records)),
            "views": len(tables.views.get(self._erasure.tenant_id, ())),
            "grants": len(self._owned(tables.grants)),
            "occasions": len(self._keyed(tables.occasions)),
            "messages": len(self._keyed(tables.messages)),
            "positions": sum(tenant == self._erasure.tenant_id for _, tenant in database.consumers.positions),
            "skips": sum(each.tenant_id == self._erasure.tenant_id for each in database.consumers.skipped),
            "tickets": 0,
            "events": len(events),
            "bodies": sum(bool(row.event.body) for row in events),
            "operations": len(self._operations()),
            "decisions": len(self._decisions(tables)),
            "audits": sum(map(self._names_it, database.audits)),
        }

    def carry_out(self, counted: Mapping[str, int]) -> None:
        """Delete everything from the stored tables, once the unit of work has been written to them."""
        database, stored, tenant_id = self._database, self._database.tables, self._erasure.tenant_id
        for row in self._events(stored):
            stored.dispatch[row.dispatch_id] = _forgotten(row, self._now)
            stored.echoes.pop(row.dispatch_id, None)
        keys = {operation.key for operation in self._operations()}
        _remove(stored.echoes, [event for event, key in stored.echoes.items() if key in keys])
        _remove(stored.usage, self._billed(stored))
        tables: Collection[MutableMapping[Any, Any]] = (
            stored.subscriptions,
            stored.invoices,
            stored.records,
            stored.grants,
        )
        for table in tables:
            _remove(table, self._owned(table))
        for keyed in (stored.occasions, stored.messages, database.outbox, database.consumers.numbered_at):
            _remove(keyed, self._keyed(keyed))
        for by_tenant in (stored.views, stored.access):
            by_tenant.pop(tenant_id, None)
        _remove(stored.decisions, self._decisions(stored))
        _remove(database.operations, [operation.operation_id for operation in self._operations()])
        _remove(stored.customers, self._erasure.customers)
        for customer_id in self._erasure.shared_customers:
            stored.customers[customer_id] = TenantCustomer(customer_id=customer_id)
        self._forget_consumers()
        self._log(counted)
        number = stored.counters[tenant_id] + 1
        stored.counters[tenant_id] = database.erased_until[tenant_id] = number
        database.rewrites[tenant_id] = max(database.rewrites.get(tenant_id, 0), number - 1)
        database.erased_objects |= set(map(digest, self._erasure.objects))
        until = self._now + self._erasure.token_lifetime
        database.revoke(Revocation(subject="tenant", name=tenant_id, revoked_at=self._now, kept_until=until))

    def _forget_consumers(self) -> None:
        consumers, tenant_id = self._database.consumers, self._erasure.tenant_id
        _remove(consumers.positions, [key for key in consumers.positions if key[1] == tenant_id])
        consumers.skipped[:] = [each for each in consumers.skipped if each.tenant_id != tenant_id]

    def _log(self, counted: Mapping[str, int]) -> None:
        audits = self._database.audits
        audits[:] = [_without_text(each) if self._names_it(each) else each for each in audits]
        audits.append(
            Audit(
                audit_id=len(audits) + 1,
                action="erase",
                actor=self._erasure.actor,
                reason=self._erasure.reason,
                filter={"tenant": self._erasure.tenant_id},
                started_at=self._now,
                finished_at=self._now,
                result=counted,
            )
        )

    def _names_it(self, audit: Audit) -> bool:
        values = _strings((audit.filter, audit.result, audit.progress))
        return not self._erasure.names.isdisjoint(values) or self._mentions.found_in(audit.reason or "")

    def _events(self, tables: Tables) -> list[Dispatch]:
        return [row for row in tables.dispatch.values() if self._is_of(row)]

    def _is_of(self, row: Dispatch) -> bool:
        known = row.outcome
        if known is None:
            return False
        mine = known.tenant_id == self._erasure.tenant_id
        return mine or (known.tenant_id is None and known.customer_id in self._erasure.customers)

    def _operations(self) -> list[Any]:
        return [
            each
            for each in self._database.operations.values()
            if each.request.tenant_id == self._erasure.tenant_id and each.status is not OperationStatus.BEGUN
        ]

    def _decisions(self, tables: Tables) -> list[int]:
        return [number for number, each in tables.decisions.items() if each.decision.object_id in self._erasure.objects]

    def _billed(self, tables: Tables) -> list[Any]:
        mine = self._erasure.tenant_id
        return [key for key, billed in tables.usage.items() if any(each.tenant_id == mine for each in billed)]

    def _owned(self, table: Mapping[Key, Any]) -> list[Key]:
        return [key for key, row in table.items() if row.tenant_id == self._erasure.tenant_id]

    def _keyed(self, table: Mapping[tuple[Any, Any], object]) -> list[tuple[Any, Any]]:
        return [key for key in table if key[0] == self._erasure.tenant_id]


def _forgotten(row: Dispatch, now: datetime) -> Dispatch:
    """Return the row of an event that keeps its key alone."""
    return attrs.evolve(
        row,
        event=attrs.evolve(row.event, body=b""),
        disposition=Disposition.IGNORED,
        reason=ERASED,
        error=None,
        outcome=None,
        failures=(),
        finished_at=row.finished_at or now,
    )


def _without_text(audit: Audit) -> Audit:
    """Return an entry that keeps what was done, by whom and when."""
    result = None if audit.result is None else {"erased": True}
    return attrs.evolve(audit, filter={"erased": True}, reason=None, result=result, progress=None)


def _strings(value: object) -> Iterator[str]:
    """Yield the string values of a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(tuple(value.values()))
    elif isinstance(value, Collection):
        for each in value:
            yield from _strings(each)


def _remove(table: MutableMapping[Key, Any], keys: Iterable[Key]) -> None:
    for key in list(keys):
        table.pop(key, None)

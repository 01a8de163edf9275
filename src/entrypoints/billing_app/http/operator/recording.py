"""Actions on the record: the audit log has each from its beginning, and its end however it ends."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs

from billing_app.http.operator.bodies import Reasoned, why_of
from billing_app.http.operator.calling import OperatorCall
from billing_core.errors import BillingError, StoreUnavailableError


@attrs.define
class Entry:
    """An entry of the audit log while its action runs."""

    audit_id: int
    result: Mapping[str, object] = attrs.field(factory=dict)
    """To be set by the action."""


@asynccontextmanager
async def recorded(
    call: OperatorCall[Any], action: str, body: Reasoned, about: Mapping[str, object]
) -> AsyncIterator[Entry]:
    """Record an action of the operator for the length of the block.

    A refusal of the domain is recorded as the result. After any other error the entry stays without one: the action may
    have happened. Raises Problem (400) without a reason, StoreUnavailableError.
    """
    entry = Entry(await call.tools.audits.begin(action, actor=call.operator.subject, reason=why_of(body), filter=about))
    try:
        yield entry
    except StoreUnavailableError:
        raise
    except BillingError as error:
        await call.tools.audits.finish(entry.audit_id, {"refused": error.code})
        raise
    await call.tools.audits.finish(entry.audit_id, entry.result)

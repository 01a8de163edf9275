"""Reads a tenant's state and compiles it into its entitlements."""

from billing_core.entitlements.ports import UsageMeter
from billing_core.model import TenantEntitlements, TenantId, entitlements_of, metered_windows, with_usage
from billing_core.state.ports import TenantReader
from billing_core.state.rules import RulesBook


class EntitlementLoader:
    """Entitlements as of now, by the same state, rules and access policy as `/state`."""

    def __init__(self, *, reader: TenantReader, rules: RulesBook, meter: UsageMeter | None = None) -> None:
        """Without a meter, billed usage counts for metered features."""
        self._reader = reader
        self._rules = rules
        self._meter = meter

    @property
    def generation(self) -> int:
        """The generation of the rules in force, as of the last look."""
        return self._rules.current.generation

    async def look_for_rules(self) -> None:
        """Find out whether other rules were put in force. Raises StoreUnavailableError."""
        await self._rules.refresh()

    async def load(self, tenant_id: TenantId) -> TenantEntitlements:
        """Read what a tenant may use; one that is unknown has no access. Raises StoreUnavailableError."""
        state = await self._reader.state(tenant_id)
        compiled = entitlements_of(state, await self._rules.as_of(state.generation))
        windows = metered_windows(compiled) if self._meter is not None else {}
        if self._meter is None or not windows:
            return compiled
        return with_usage(compiled, await self._meter.used(tenant_id, windows))

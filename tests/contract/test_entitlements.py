"""Measured usage: every adapter of the port."""

from datetime import datetime

import pytest

from billing_core.entitlements.ports import UsageMeter
from billing_core.model import Quantity, TenantId
from billing_core.testing.entitlements.usage_meter import RecordUsage, UsageMeterContract
from billing_memory.entitlements.usage_meter import MemoryUsageMeter


class TestMemory(UsageMeterContract):
    @pytest.fixture
    def memory_meter(self) -> MemoryUsageMeter:
        return MemoryUsageMeter({"api_calls", "exports"})

    @pytest.fixture
    def usage_meter(self, memory_meter: MemoryUsageMeter) -> UsageMeter:
        return memory_meter

    @pytest.fixture
    def record_usage(self, memory_meter: MemoryUsageMeter) -> RecordUsage:
        async def record(tenant_id: TenantId, feature: str, quantity: Quantity, at: datetime) -> None:
            memory_meter.record(tenant_id, feature, quantity, at)

        return record

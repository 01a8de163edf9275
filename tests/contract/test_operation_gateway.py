"""The contracts about commands, bound to the gateway in memory and to Stripe's on a fake Stripe."""

from collections.abc import AsyncIterator

import pytest
from tests.provider_stages import MemoryStage, StripeStage, stripe_stage

from billing_core.operations.ports import BillingReader, OperationGateway, PreviewGateway
from billing_core.testing.operations.billing_reader import BillingReaderContract
from billing_core.testing.operations.customer_operations import CustomerOperationsContract
from billing_core.testing.operations.operation_gateway import OperationGatewayContract
from billing_core.testing.operations.page_operations import PageOperationsContract
from billing_core.testing.operations.preview_gateway import PreviewGatewayContract
from billing_core.testing.operations.provider_stage import ProviderStage
from billing_core.testing.operations.scheduled_changes import ScheduledChangesContract
from billing_core.testing.operations.subscription_operations import SubscriptionOperationsContract
from billing_memory.clock import ManualClock
from billing_memory.operations.fake_gateway import FakeGateway


class InMemory:
    """A provider in memory for a suite."""

    @pytest.fixture
    def fake_gateway(self) -> FakeGateway:
        return FakeGateway(ManualClock())

    @pytest.fixture
    def gateway(self, fake_gateway: FakeGateway) -> OperationGateway:
        return fake_gateway

    @pytest.fixture
    def previews(self, fake_gateway: FakeGateway) -> PreviewGateway:
        return fake_gateway

    @pytest.fixture
    def reader(self, fake_gateway: FakeGateway) -> BillingReader:
        return fake_gateway

    @pytest.fixture
    def stage(self, fake_gateway: FakeGateway) -> ProviderStage:
        return MemoryStage(fake_gateway)


class AtStripe:
    """A fake Stripe for a suite."""

    @pytest.fixture
    async def stripe(self) -> AsyncIterator[StripeStage]:
        async with stripe_stage() as stage:
            yield stage

    @pytest.fixture
    def gateway(self, stripe: StripeStage) -> OperationGateway:
        return stripe.gateway

    @pytest.fixture
    def previews(self, stripe: StripeStage) -> PreviewGateway:
        return stripe.gateway

    @pytest.fixture
    def reader(self, stripe: StripeStage) -> BillingReader:
        return stripe.gateway

    @pytest.fixture
    def stage(self, stripe: StripeStage) -> ProviderStage:
        return stripe


class TestMemoryGateway(InMemory, OperationGatewayContract):
    """Commands are carried out once."""


class TestMemorySubscriptions(InMemory, SubscriptionOperationsContract):
    """Commands about subscriptions."""


class TestMemorySchedules(InMemory, ScheduledChangesContract):
    """Commands about schedules."""


class TestMemoryCustomers(InMemory, CustomerOperationsContract):
    """Commands about customers, their payment methods and their invoices."""


class TestMemoryPreviews(InMemory, PreviewGatewayContract):
    """Invoices before they are made."""


class TestMemoryReader(InMemory, BillingReaderContract):
    """Reading beside the state."""


class TestMemoryPages(InMemory, PageOperationsContract):
    """Pages, and credit."""


@pytest.mark.stripe
class TestStripeGateway(AtStripe, OperationGatewayContract):
    """Commands are carried out once."""


@pytest.mark.stripe
class TestStripeSubscriptions(AtStripe, SubscriptionOperationsContract):
    """Commands about subscriptions."""


@pytest.mark.stripe
class TestStripeSchedules(AtStripe, ScheduledChangesContract):
    """Commands about schedules."""


@pytest.mark.stripe
class TestStripeCustomers(AtStripe, CustomerOperationsContract):
    """Commands about customers, their payment methods and their invoices."""


@pytest.mark.stripe
class TestStripePreviews(AtStripe, PreviewGatewayContract):
    """Invoices before they are made."""


@pytest.mark.stripe
class TestStripeReader(AtStripe, BillingReaderContract):
    """Reading beside the state."""


@pytest.mark.stripe
class TestStripePages(AtStripe, PageOperationsContract):
    """Pages, and credit."""

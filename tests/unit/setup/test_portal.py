"""The portal configuration that set-up records is the one with which operations open the portal."""

from __future__ import annotations

from tests.unit.setup.directory import Directory

from billing_app.container import Container, memory_adapters
from billing_app.settings import Settings
from billing_memory.operations.fake_gateway import FakeGateway


async def test_operations_open_the_portal_that_set_up_made(directory: Directory) -> None:
    """Without a default configuration in the account they could not open any."""
    await directory.run()
    settings: Settings = directory.settings
    provider = FakeGateway()
    container = Container(
        **memory_adapters(settings),
        settings=settings,
        operation_gateway=provider,
        preview_gateway=provider,
        billing_reader=provider,
    )
    operations = container.operations()
    assert operations is not None
    assert operations.payment_methods.portal_configuration == settings.stripe.portal_configuration
    assert settings.stripe.portal_configuration is not None

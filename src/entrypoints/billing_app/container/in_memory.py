"""Open a process that keeps everything in memory, for tests of applications."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from billing_app.container.adapters import Adapters
from billing_app.container.gateway import may_call, open_stripe, ports_of
from billing_app.container.opening import activate_rules
from billing_app.container.resources import enter
from billing_app.container.wiring import Container
from billing_app.settings import Settings
from billing_stripe.gateway import StripeGateway


@asynccontextmanager
async def open_in_memory(settings: Settings, adapters: Adapters) -> AsyncIterator[Container]:
    """Open a container on adapters in memory, with its own rules in force; it can be opened on them again.

    Stripe is called where the settings say so, which is how a FakeStripe takes its place.
    """
    epoch = await adapters["epochs"].enter()
    container = Container(**adapters, settings=settings, epoch=epoch, process_kind="application")
    async with AsyncExitStack() as stack:
        if may_call(settings):
            opened = open_stripe(settings, nodes=None, observers=container.observers())
            gateway = StripeGateway(await enter(stack, container.deadline(), "stripe", opened))
            container.override_providers(**ports_of(gateway))
        container.check_dependencies()
        await activate_rules(container, actor="for_tests", ours=True)
        await container.rules().reload()
        yield container

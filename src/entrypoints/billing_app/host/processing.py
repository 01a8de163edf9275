"""Processing in one call, without a worker."""

from billing_app.container import Container
from billing_core.consumers.runner import ConsumerRunner


async def process_due(container: Container) -> int:
    """Process the events that are due, and what becomes due by them, then run the hooks; return how many that was."""
    runner: ConsumerRunner = container.consumer_runner()
    await runner.register()
    return await _process_events(container) + await runner.run_once()


async def _process_events(container: Container) -> int:
    policy = container.settings().dispatch
    done = 0
    while True:
        claims = await container.queue().claim(limit=policy.batch, lease=policy.lease)
        if claims:
            for outcome in await container.batches().process(claims):
                if outcome.tenant_id is not None and outcome.sequence is not None:
                    container.entitlements().hear(outcome.tenant_id, outcome.sequence)  # before the bus says it
            done += len(claims)
        elif not await container.queue().unpark():
            return done

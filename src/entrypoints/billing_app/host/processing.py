"""Processing in one call, without a worker."""

from billing_app.container import Container


async def process_due(container: Container) -> int:
    """Process everything that is due, and what becomes due by it; return how many events that was."""
    policy = container.settings().dispatch
    done = 0
    while True:
        claims = await container.queue().claim(limit=policy.batch, lease=policy.lease)
        if claims:
            await container.batches().process(claims)
            done += len(claims)
        elif not await container.queue().unpark():
            return done

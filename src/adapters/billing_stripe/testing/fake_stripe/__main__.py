"""Run a fake Stripe from the command line: `python -m billing_stripe.testing.fake_stripe`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta

from billing_stripe.testing.fake_stripe.server import fake_stripe
from billing_stripe.testing.fake_stripe.webhooks import DeliveryPolicy
from billing_stripe.versions import API_VERSIONS

_PORT = 12111
_TICK = timedelta(seconds=1)
_WAITS = (timedelta(seconds=5), timedelta(minutes=1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until it is interrupted. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="billing fake-stripe", description="Run a fake Stripe until Ctrl-C.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=_PORT, help="port to listen on (%(default)s), 0 for a free one")
    parser.add_argument("--secret-key", default="sk_test_fake", help="the only key that is accepted (%(default)s)")
    parser.add_argument("--api-version", default=API_VERSIONS[-1], help="the account's version (%(default)s)")
    parser.add_argument("--webhook-url", action="append", default=[], help="send all events here; may be repeated")
    parser.add_argument("--webhook-secret", default="whsec_fake", help="signs them (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(serve(options))
    except KeyboardInterrupt:
        return 0
    except OSError as exc:
        print(f"Cannot listen on {options.host}:{options.port}: {exc.strerror}", file=sys.stderr)
        return 1
    return 0


async def serve(options: argparse.Namespace) -> None:
    """Serve until canceled, and do what is due as time passes."""
    async with fake_stripe(
        secret_key=options.secret_key,
        api_version=options.api_version,
        host=options.host,
        port=options.port,
        delivery=DeliveryPolicy(waits=_WAITS),
    ) as fake:
        for url in options.webhook_url:
            fake.add_webhook_endpoint(url, secret=options.webhook_secret)
        print(f"The fake Stripe listens on {fake.url} for the key {fake.secret_key}", flush=True)
        while True:
            await asyncio.sleep(_TICK.total_seconds())
            fake.advance(timedelta())


if __name__ == "__main__":
    sys.exit(main())

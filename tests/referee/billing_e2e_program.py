"""The program `billing-e2e`, pointed at a fake: `python billing_e2e_program.py URL run scenario.yml`.

It has no option for another address of Stripe, so the client that it makes is given one.
"""

import sys

import stripe
from billing_e2e.cli import main

_StripeClient = stripe.StripeClient


def client_of_the_fake(key: str, **options: object) -> stripe.StripeClient:
    """Make the client that the program asks for, with the fake's address."""
    return _StripeClient(key, base_addresses={"api": sys.argv[1]}, **options)  # type: ignore[arg-type]


if __name__ == "__main__":
    stripe.StripeClient = client_of_the_fake  # type: ignore[assignment,misc]
    main(sys.argv[2:])

"""A player that lives Stripe's part: tenants with believable lives, their events delivered as Stripe delivers them.

What the tenants' state must be is known from the lives themselves, so that a run can say whether the loop is right.
"""

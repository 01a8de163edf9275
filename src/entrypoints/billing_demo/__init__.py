"""The demo: simulated tenants whose events are delivered to a local server as Stripe delivers them.

The expected state of every tenant follows from the simulation, so a finite run can verify the whole billing loop.
"""

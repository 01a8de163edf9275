"""Contracts of the ports in `billing_core.inbox.ports`."""

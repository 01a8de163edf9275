"""Contracts of the ports in `billing_core.stream.ports`."""

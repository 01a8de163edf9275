"""Contracts of the ports in `billing_core.stream_access.ports`."""

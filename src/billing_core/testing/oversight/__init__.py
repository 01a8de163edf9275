"""Contracts of the ports in `billing_core.oversight.ports`."""

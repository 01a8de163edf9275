"""Contracts of the ports in `billing_core.state.ports`."""

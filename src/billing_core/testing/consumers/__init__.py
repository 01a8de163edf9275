"""Contract suites of the ports in `billing_core.consumers.ports`."""

"""The composition root: the only place that names adapters.

`adapters` are what a container is given, `wiring` is the container, and `opening` and `commands` open what a process
or a command needs, with the means of `resources`.
"""

from billing_app.container.adapters import Adapters, memory_adapters, postgres_adapters
from billing_app.container.commands import (
    SchemaReport,
    bring_schema_up_to_date,
    check_bus,
    find_durability_risks,
    open_operations,
    open_replayer,
    open_token_verifier,
    open_tools,
)
from billing_app.container.gateway import check_stripe, may_call, read_account_id
from billing_app.container.opening import configure_logging, open_container
from billing_app.container.wiring import SNAPSHOT_EVENTS, THIN_EVENTS, Container

__all__ = [
    "Adapters",
    "Container",
    "SNAPSHOT_EVENTS",
    "SchemaReport",
    "THIN_EVENTS",
    "bring_schema_up_to_date",
    "check_bus",
    "check_stripe",
    "configure_logging",
    "find_durability_risks",
    "may_call",
    "memory_adapters",
    "open_container",
    "open_operations",
    "open_replayer",
    "open_token_verifier",
    "open_tools",
    "postgres_adapters",
    "read_account_id",
]

"""The composition root: the only place that names adapters, and where objects are put together.

`wiring` makes the objects of a process, `process` and `commands` open what they need, with the means of `resources`.
"""

from billing_app.container.commands import (
    Operations,
    SchemaReport,
    bring_schema_up_to_date,
    check_bus,
    open_epochs,
    open_operations,
    open_replayer,
    open_revocations,
    open_service,
    open_timeline,
)
from billing_app.container.process import configure_logging, open_container
from billing_app.container.resources import open_verifier
from billing_app.container.wiring import Container

__all__ = [
    "Container",
    "Operations",
    "SchemaReport",
    "bring_schema_up_to_date",
    "check_bus",
    "configure_logging",
    "open_container",
    "open_epochs",
    "open_timeline",
    "open_operations",
    "open_replayer",
    "open_revocations",
    "open_service",
    "open_verifier",
]

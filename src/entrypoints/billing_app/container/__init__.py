"""The composition root: the only place that names adapters.

`adapters` are what a container is given, `wiring` is the container, and `opening` and `commands` open what a process
or a command needs, with the means of `resources`.
"""

from billing_app.container.adapters import Adapters, memory_adapters, postgres_adapters
from billing_app.container.commands import (
    SchemaReport,
    bring_schema_up_to_date,
    find_durability_risks,
    open_operations,
    open_replayer,
    open_token_verifier,
    open_tools,
)
from billing_app.container.gateway import may_call
from billing_app.container.in_memory import open_in_memory
from billing_app.container.installation import (
    API_VERSIONS,
    DatabaseServer,
    HeldAccount,
    RedisServer,
    SeenAccount,
    SeenPrice,
    StripeInspector,
    WebhookTarget,
    check_issuer_keys,
    find_conflict,
    find_held_account,
    inspect_database,
    inspect_redis,
    is_tested,
    open_inspector,
    read_account_id,
)
from billing_app.container.opening import Starting, configure_logging, follow_host_logging, open_container
from billing_app.container.wiring import SNAPSHOT_EVENTS, THIN_EVENTS, Container

__all__ = [
    "Adapters",
    "Container",
    "SNAPSHOT_EVENTS",
    "THIN_EVENTS",
    "DatabaseServer",
    "API_VERSIONS",
    "HeldAccount",
    "RedisServer",
    "SchemaReport",
    "SeenAccount",
    "SeenPrice",
    "Starting",
    "StripeInspector",
    "WebhookTarget",
    "bring_schema_up_to_date",
    "check_issuer_keys",
    "configure_logging",
    "find_conflict",
    "find_durability_risks",
    "find_held_account",
    "follow_host_logging",
    "inspect_database",
    "inspect_redis",
    "is_tested",
    "may_call",
    "memory_adapters",
    "open_container",
    "open_in_memory",
    "open_inspector",
    "open_operations",
    "open_replayer",
    "open_token_verifier",
    "open_tools",
    "postgres_adapters",
    "read_account_id",
]

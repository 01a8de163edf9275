"""The composition root: the only place that names adapters.

`adapters` are what a container is given, `wiring` is the container, and `opening` and `commands` open what a process
needs, with the means of `resources`. `tools` opens what a command needs that only uses the database. Each name below is
imported when it is first asked for: most commands need few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from billing_app.container.adapters import Adapters, memory_adapters, postgres_adapters
    from billing_app.container.commands import open_operations, open_replayer, open_token_verifier
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
    from billing_app.container.logs import configure_logging, follow_host_logging
    from billing_app.container.opening import Starting, open_container
    from billing_app.container.outgoing import open_webhook_sender
    from billing_app.container.schema import SchemaReport, bring_schema_up_to_date
    from billing_app.container.tools import Tools, find_durability_risks, open_tools
    from billing_app.container.wiring import SNAPSHOT_EVENTS, THIN_EVENTS, Container

_NAMES: Final = {
    "adapters": "Adapters memory_adapters postgres_adapters",
    "commands": "open_operations open_replayer open_token_verifier",
    "gateway": "may_call",
    "in_memory": "open_in_memory",
    "installation": (
        "API_VERSIONS DatabaseServer HeldAccount RedisServer SeenAccount SeenPrice StripeInspector WebhookTarget "
        "check_issuer_keys find_conflict find_held_account inspect_database inspect_redis is_tested open_inspector "
        "read_account_id"
    ),
    "logs": "configure_logging follow_host_logging",
    "opening": "Starting open_container",
    "outgoing": "open_webhook_sender",
    "schema": "SchemaReport bring_schema_up_to_date",
    "tools": "Tools find_durability_risks open_tools",
    "wiring": "SNAPSHOT_EVENTS THIN_EVENTS Container",
}
_HOMES: Final = {name: module for module, names in _NAMES.items() for name in names.split()}

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
    "Tools",
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
    "open_webhook_sender",
    "postgres_adapters",
    "read_account_id",
]


def __getattr__(name: str) -> object:
    """Import a name on its first use and keep it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

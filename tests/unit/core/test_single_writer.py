"""BillingService is the only writer of tenants' state: nothing else begins a unit of work or saves into one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import billing_core

SOURCES = [path for path in Path(billing_core.__file__).parents[1].rglob("*.py") if "testing" not in path.parts]
WRITING_CALLS = {"transaction", "save", "settle", "transfer", "lock_tenants", "lock_customers", "lock_payers"}
"""Methods that begin a unit of work or write through it; see `billing_core.state.ports.BillingTransaction`."""
ADAPTERS_OWN = {"billing_postgres", "billing_memory"}
"""They implement these methods, and begin the database's own transactions under the same name."""


def calls(path: Path) -> Iterator[str]:
    """Yield the writing methods that a module calls."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITING_CALLS:
            yield node.func.attr


def test_only_the_service_writes_state() -> None:
    """There is one way from an event to a tenant's rows, wherever the event comes from."""
    writers = {"/".join(path.parts[-2:]): set(calls(path)) for path in SOURCES if not ADAPTERS_OWN & set(path.parts)}
    service, loading, relinking = "state/service.py", "state/loading.py", "state/relinking.py"
    erasing, granting = "state/erasing.py", "state/granting.py"
    assert {name for name, used in writers.items() if "transaction" in used} == {service}
    assert {name for name, used in writers.items() if used & {"save", "transfer"}} == {service, relinking}
    lockers = {service, loading, relinking, erasing, granting}
    assert {name for name, used in writers.items() if "lock_tenants" in used} == lockers
    assert {name for name, used in writers.items() if "lock_payers" in used} == {erasing}
    assert {"transaction", "save", "settle", "lock_tenants", "lock_customers"} <= writers[service]

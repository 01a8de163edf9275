"""Change one condition or number of the domain at a time, and list the changes that no test notices.

    python scripts/mutate_core.py [--file state/precedence.py …] [--sample 20] [--seed 1] [--tests tests/unit/core …]

Needs cosmic-ray; `nox -s mutants -- core` installs it. Works on a copy of the sources in a temporary folder, never on
the checkout. Exit status 1 if a mutant survived.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOMAIN: Final = Path("src/billing_core")
ROOTS: Final = ("src", "src/adapters", "src/entrypoints")
FILES: Final = {
    "state/precedence.py": ["test_ordering.py", "test_refetch.py", "test_replay.py"],
    "state/evidence.py": ["test_ledger.py", "test_replay.py"],
    "state/ledger.py": ["test_ledger.py"],
    "state/announcements.py": ["test_announcements.py"],
    "model/access.py": ["test_access.py"],
    "inbox/dispatch.py": ["test_dispatch.py", "test_thin_events.py"],
    "inbox/batch.py": ["test_dispatch.py", "test_after_commit.py", "test_thin_events.py"],
    "inbox/replay.py": ["test_replay.py"],
    "operations/runner.py": ["operations/test_runner.py"],
    "operations/performing.py": ["operations/test_runner.py", "operations/test_operations.py"],
    "operations/settling.py": ["operations/test_runner.py"],
    "stream/publisher.py": ["test_publisher.py", "test_after_commit.py"],
    "stream/rewrite.py": ["test_rewrite.py"],
    "stream/backfill.py": ["test_backfill.py"],
    "stream/numbering.py": ["test_numbering.py"],
    "stream/epochs.py": ["test_epochs.py"],
    "stream_access/revocation_list.py": ["test_revocation_list.py"],
    "consumers/capacity.py": ["consumers"],
    "consumers/delivery.py": ["consumers/test_runner.py"],
    "consumers/handlers.py": ["consumers"],
    "consumers/runner.py": ["consumers/test_runner.py"],
    "consumers/settling.py": ["consumers"],
    "consumers/values.py": ["consumers"],
    "outgoing/administration.py": ["outgoing/test_administration.py"],
    "outgoing/delivering.py": ["outgoing/test_delivering.py"],
    "outgoing/following.py": ["outgoing/test_following.py"],
    "outgoing/values.py": ["../outgoing_webhooks/test_values.py"],
    "entitlements/cache.py": ["test_entitlement_cache.py"],
    "entitlements/loading.py": ["test_entitlement_cache.py"],
    "entitlements/service.py": ["test_entitlement_cache.py"],
    "model/entitling.py": ["test_features.py", "../../property/test_entitlements.py"],
}
"""Files to mutate, and the tests that are likely to notice; they run first."""
TESTS: Final = ("tests/unit/core", "tests/property/test_replay.py", "tests/property/test_convergence.py")
PYTEST: Final = (
    "-m",
    "pytest",
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "--hypothesis-profile=mutants",
    "-m",
    "not postgres",
)
SKIPPED: Final = (
    "core/ReplaceBinaryOperator_BitOr_.*",  # almost all of them are in annotations
    "core/ReplaceBinaryOperator_(?!Add_Sub|Sub_Add).*",  # one wrong operator proves what ten do
    "core/ReplaceComparisonOperator_(Eq|Is)_(Gt|GtE|Lt|LtE|Is|Eq)$",  # an order where there is none
    "core/ReplaceComparisonOperator_(Gt|GtE|Lt|LtE|Eq|NotEq)_Is(Not)?$",  # small numbers are identical if equal
    "core/ReplaceUnaryOperator_USub_(Invert|Not)",
    "core/RemoveDecorator",
)
"""Operators whose mutants say nothing about tests."""


def configure(copy: Path, file: str, tests: list[str]) -> Path:
    """Write the configuration of a session, whose tests need no server."""
    settings = {
        "module-path": str(DOMAIN / file),
        "timeout": 300.0,
        "excluded-modules": [],
        "test-command": shlex.join([sys.executable, *PYTEST, *tests]),
    }
    lines = ["[cosmic-ray]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    lines += ["[cosmic-ray.distributor]", 'name = "local"']
    lines += ["[cosmic-ray.filters.operators-filter]", f"exclude-operators = {json.dumps(SKIPPED)}"]
    path = copy / "mutants.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def choose(session: Path, count: int, seed: int) -> None:
    """Leave so many of a session's mutants, chosen at random."""
    with closing(sqlite3.connect(session)) as database, database:
        found = database.execute(
            "SELECT job_id FROM mutation_specs WHERE job_id NOT IN (SELECT job_id FROM work_results)"
            " ORDER BY operator_name, occurrence"
        ).fetchall()
        left_out = random.Random(seed).sample(found, max(0, len(found) - count))  # noqa: S311
        for table in ("mutation_specs", "work_items"):
            database.executemany(f"DELETE FROM {table} WHERE job_id = ?", left_out)  # noqa: S608


def main() -> None:
    """Parse the command line, try the mutants and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", action="append", help=f"only this file below {DOMAIN}")
    parser.add_argument("--sample", type=int, help="test this many mutants of each file, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), help="tests that have to notice")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="billing-mutants-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "node_modules", "dist"))
        environment = os.environ | {
            "PYTHONDONTWRITEBYTECODE": "1",  # two mutants of one second and one size would share it
            "PYTHONPATH": os.pathsep.join(str(copy / root) for root in ROOTS),
        }

        def run(module: str, *arguments: object) -> str:
            command = [sys.executable, "-m", module, *map(str, arguments)]
            result = subprocess.run(  # noqa: S603 - the command is made of our own paths
                command, cwd=copy, env=environment, stdout=subprocess.PIPE, check=True, text=True
            )
            return result.stdout

        survivors = 0
        for file in given.file or FILES:
            first = [f"tests/unit/core/{name}" for name in FILES.get(file, [])]
            configuration, session = configure(copy, file, [*first, *given.tests]), copy / "mutants.sqlite"
            session.unlink(missing_ok=True)
            run("cosmic_ray.cli", "baseline", configuration)
            run("cosmic_ray.cli", "init", configuration, session)
            run("cosmic_ray.tools.filters.operators_filter", session, configuration)
            if given.sample is not None:
                choose(session, given.sample, given.seed)
            run("cosmic_ray.cli", "exec", configuration, session)
            survivors += report(file, run("cosmic_ray.cli", "dump", session))
    raise SystemExit(1 if survivors else 0)


def report(file: str, dump: str) -> int:
    """Print the survivors of a session, and return how many there are."""
    survivors = tried = 0
    for line in dump.splitlines():
        _, result = json.loads(line)
        if result is None or result["worker_outcome"] == "skipped":
            continue
        tried += 1
        if result["test_outcome"] == "survived":
            survivors += 1
            print(result["diff"])
    print(f"{file}: {tried} mutants, {survivors} survived", flush=True)
    return survivors


if __name__ == "__main__":
    main()

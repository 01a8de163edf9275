"""Change one condition of the SQL at a time, and list the changes that no test notices.

    python scripts/mutate_sql.py [--file write_inbox] [--sample 20] [--seed 1] [--tests tests/contract …]

Works on a copy of the sources in a temporary folder, never on the checkout. Exit status 1 if a mutant survived.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
QUERIES: Final = Path("src/adapters/billing_postgres/queries")
ROOTS: Final = ("src", "src/adapters", "src/entrypoints")
TESTS: Final = (
    "tests/contract",
    "tests/integration/test_postgres_queries.py",
    "tests/integration/test_expired_rows.py",
    "tests/property/test_queue_life.py",
)
FLIPS: Final = (
    (r" = ", " <> "),
    (r" <> ", " = "),
    (r" < ", " >= "),
    (r" <= ", " > "),
    (r" > ", " <= "),
    (r" >= ", " < "),
    (r"\bAND\b", "OR"),
    (r"\bOR\b", "AND"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bIS (NOT )?DISTINCT FROM\b", "="),
    (r"\bNOT IN\b", "IN"),
    (r"\bDESC\b", "ASC"),
    (r"\bLEFT JOIN\b", "JOIN"),
    (r"\bUNION ALL\b", "UNION"),
    (r"\s+FOR NO KEY UPDATE( OF \w+)?( SKIP LOCKED)?", ""),
    (r" SKIP LOCKED", ""),
    (r" \+ 1\b", ""),
    (r" - 1\b", ""),
)
"""Patterns and their replacements, applied one at a time."""


class Mutant(NamedTuple):
    """One changed place in one statement."""

    file: str
    query: str
    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}.sql:{self.line} {self.query}: {self.before.strip()!r} -> {self.after.strip()!r}"


def mutants(file: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file. Comments stay, and so do the assignments of SET lists: they are no conditions."""
    text = file.read_text(encoding="utf-8")
    query, offset, assigning = "", 0, False
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if named := re.match(r"-- (?:name|part): (\w+)", line):
            query = named[1]
        elif not line.lstrip().startswith("--"):
            for pattern, replacement in FLIPS:
                for match in re.finditer(pattern, line):
                    if assigning_at(match, assigning):
                        continue
                    start, end = offset + match.start(), offset + match.end()
                    changed = text[:start] + replacement + text[end:]
                    yield Mutant(file.stem, query, number, match[0], replacement, changed)
            if keywords := re.findall(r"\b(?:SET|FROM|WHERE|RETURNING)\b|;", line):
                assigning = keywords[-1] == "SET"
        offset += len(line)


def assigning_at(match: re.Match[str], assigning: bool) -> bool:
    """Return whether an equals sign assigns: it follows a lone column in a SET list, which may have begun before."""
    before = match.string[: match.start()]
    column = re.search(r"(\bSET |,|^)\s*\w+$", before)
    return match[0] == " = " and column is not None and (assigning or " SET " in f" {before}")


def survives(mutant: Mutant, copy: Path, tests: list[str]) -> bool:
    """Run the tests on a copy that holds the mutant."""
    path = copy / QUERIES / f"{mutant.file}.sql"
    original = path.read_text(encoding="utf-8")
    path.write_text(mutant.text, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(copy / root) for root in ROOTS)}
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        result = subprocess.run(  # noqa: S603 - the command is made of our own paths
            command, cwd=copy, env=environment, capture_output=True, check=False, timeout=900
        )
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(original, encoding="utf-8")
    if result.returncode not in (0, 1):
        sys.stderr.write(result.stdout.decode() + result.stderr.decode())
        raise SystemExit("pytest did not run")
    return result.returncode == 0


def main() -> None:
    """Parse the command line, try the mutants and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", action="append", help="only this file of queries, without .sql")
    parser.add_argument("--sample", type=int, help="test this many mutants, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), help="tests that have to notice")
    given = parser.parse_args()
    files = sorted((ROOT / QUERIES).glob("*.sql"))
    found = [one for file in files if not given.file or file.stem in given.file for one in mutants(file)]
    if given.sample is not None:
        found = random.Random(given.seed).sample(found, min(given.sample, len(found)))  # noqa: S311
    survivors = []
    with tempfile.TemporaryDirectory(prefix="billing-mutants-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "node_modules", "dist"))
        copy.parent.chmod(0o755)  # under root the test servers run as another user
        for number, mutant in enumerate(found, start=1):
            alive = survives(mutant, copy, given.tests)
            print(f"{number}/{len(found)} {'SURVIVED' if alive else 'killed'} {mutant}", flush=True)
            survivors += [mutant] if alive else []
    print(f"{len(found)} mutants, {len(survivors)} survived")
    raise SystemExit(1 if survivors else 0)


if __name__ == "__main__":
    main()

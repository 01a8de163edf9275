"""Change one condition of the SQL at a time, and list the changes that no test notices.

    python scripts/mutate_sql.py [--file write_inbox …] [--sample 20] [--seed 1] [--tests tests/contract …]

Runs the tests once. After each of them that passed it runs the same test again with each change of the statements that
it executed, until some test failed with it. A changed statement that reads is compared with the original first: where
it returned the same in a test, that test cannot notice. Exit status 1 if a change survived.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import signal
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import pytest
from _pytest.runner import runtestprotocol
from asyncpg.connection import Connection

from billing_postgres import queries

ROOT: Final = Path(__file__).parents[1]
QUERIES: Final = ROOT / "src/adapters/billing_postgres/queries"
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
METHODS: Final = ("fetch", "fetchrow", "fetchval", "execute", "prepare")
PATIENCE: Final = 120
"""Seconds after which a test with a change counts as failed: the change may make it wait without end."""


class Mutant(NamedTuple):
    """One changed place in one statement."""

    file: str
    query: str
    line: int
    place: int
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
                    yield Mutant(file.stem, query, number, start, match[0], replacement, changed)
            if keywords := re.findall(r"\b(?:SET|FROM|WHERE|RETURNING)\b|;", line):
                assigning = keywords[-1] == "SET"
        offset += len(line)


def assigning_at(match: re.Match[str], assigning: bool) -> bool:
    """Return whether an equals sign assigns: it follows a lone column in a SET list, which may have begun before."""
    before = match.string[: match.start()]
    column = re.search(r"(\bSET |,|^)\s*\w+$", before)
    return match[0] == " = " and column is not None and (assigning or " SET " in f" {before}")


class Statements:
    """Finds the mutants that a test could notice, and has all connections run one in place of its originals."""

    def __init__(self, found: Sequence[Mutant]) -> None:
        self.ran: set[Mutant] = set()
        self.noticeable: set[Mutant] = set()
        """Mutants that ran in the present test and, if they read, returned something else than their originals."""
        self.noticed: set[Mutant] = set()
        """Mutants with which some test failed: they need no more tests."""
        self._mutants: defaultdict[str, list[Mutant]] = defaultdict(list)
        self._texts: defaultdict[Mutant, dict[str, str]] = defaultdict(dict)
        self._active: dict[str, str] = {}
        self._fetch = Connection.fetch
        self._busy: set[int] = set()
        for mutant in found:
            originals = queries.load(mutant.file)
            for name, text in queries.parse(mutant.text).items():
                if text != originals[name]:
                    self._mutants[originals[name]].append(mutant)
                    self._texts[mutant][originals[name]] = text
        for method in METHODS:
            setattr(Connection, method, self._around(getattr(Connection, method)))

    @contextlib.contextmanager
    def changed_by(self, mutant: Mutant) -> Iterator[None]:
        """Have every connection run a mutant in place of its originals."""
        self._active = self._texts[mutant]
        try:
            yield
        finally:
            self._active = {}

    def _around(self, method: Any) -> Any:
        async def run(connection: Any, query: str, *args: Any, **options: Any) -> Any:
            result = await method(connection, self._active.get(query, query), *args, **options)
            # fetchrow and fetchval do not call fetch, which compares.
            if query in self._mutants and not self._active and id(connection) not in self._busy:
                self._busy.add(id(connection))
                try:
                    await self._look(connection, query, args)
                finally:
                    self._busy.discard(id(connection))
            return result

        return run

    async def _look(self, connection: Any, query: str, args: Sequence[Any]) -> None:
        for mutant in self._mutants[query]:
            self.ran.add(mutant)
            if mutant in self.noticed or mutant in self.noticeable:
                continue
            if not mutant.file.startswith("read_") or await self._differs(
                connection, query, self._texts[mutant][query], args
            ):
                self.noticeable.add(mutant)

    async def _differs(self, connection: Any, query: str, text: str, args: Sequence[Any]) -> bool:
        """Run the original and the mutant, in a savepoint if a transaction would be lost with an error."""
        inside = connection.is_in_transaction()
        if inside:
            await connection.execute("SAVEPOINT mutant")
        try:
            expected = await self._fetch(connection, query, *args)
            return expected != await self._fetch(connection, text, *args)
        except asyncpg.PostgresError:
            return True
        finally:
            if inside:
                await connection.execute("ROLLBACK TO SAVEPOINT mutant")


class Repeating:
    """A plugin of pytest: runs each test again with the mutants that it could notice."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test, then the same with each mutant."""
        self._statements.noticeable.clear()
        passed = _passes(item, nextitem, log=True)
        for mutant in sorted(self._statements.noticeable) if passed else ():
            with self._statements.changed_by(mutant):
                if not _passes(item, nextitem, log=False):
                    self._statements.noticed.add(mutant)
                    print(f"noticed {mutant} by {item.nodeid}", flush=True)
        return True


def _passes(item: Any, nextitem: pytest.Item | None, *, log: bool) -> bool:
    item._initrequest()  # pytest has no public way to run a test twice
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(PATIENCE)
    try:
        return not any(report.failed for report in runtestprotocol(item, log=log, nextitem=nextitem))
    except TimeoutError:
        return False
    finally:
        signal.alarm(0)


def _give_up(_signal: int, _frame: object) -> None:
    raise TimeoutError("too long")


def main() -> None:
    """Parse the command line, try the mutants and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", action="append", help="only this file of queries, without .sql")
    parser.add_argument("--sample", type=int, help="try this many mutants, chosen at random")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), help="tests that have to notice")
    given = parser.parse_args()
    files = sorted(QUERIES.glob("*.sql"))
    found = [one for file in files if not given.file or file.stem in given.file for one in mutants(file)]
    if given.sample is not None:
        found = random.Random(given.seed).sample(found, min(given.sample, len(found)))  # noqa: S311
    statements = Statements(found)
    options = ["-q", "-s", "-p", "no:cacheprovider", "-m", "postgres", "--hypothesis-profile=mutants"]
    pytest.main([*options, *given.tests], plugins=[Repeating(statements)])
    survivors = [mutant for mutant in found if mutant not in statements.noticed]
    for mutant in survivors:
        print("SURVIVED" if mutant in statements.ran else "NEVER RAN", mutant)
    print(f"{len(found)} mutants, {len(survivors)} survived")
    raise SystemExit(1 if survivors else 0)


if __name__ == "__main__":
    main()

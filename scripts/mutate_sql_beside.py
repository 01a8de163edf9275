"""Run each changed statement that reads beside the original, and list the changes that never made a difference.

    python scripts/mutate_sql_beside.py [--file read_state …] [--tests tests/contract …]

One run of the tests, where `mutate_sql.py` makes one for each mutant. No test can notice what is listed, unless only
an age of less than a second differs. Of the others some test got another result; whether it looks at it,
`mutate_sql.py` says. Exit status 1 if any is listed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest
from asyncpg.connection import Connection
from mutate_sql import QUERIES, ROOT, TESTS, Mutant, mutants

from billing_postgres import queries

METHODS: Final = ("fetch", "fetchrow", "fetchval")
MOMENT: Final = timedelta(seconds=1)
"""By less differs an age, or the current time, between a statement and the same one just after it."""


class Beside:
    """The mutants of statements, by the text of the original, and those that returned something else."""

    def __init__(self, found: Sequence[Mutant]) -> None:
        self.told_apart: set[Mutant] = set()
        self.ran: set[Mutant] = set()
        self._changed: defaultdict[str, list[tuple[Mutant, str]]] = defaultdict(list)
        self._fetch = Connection.fetch
        self._busy: set[int] = set()
        for mutant in found:
            originals = queries.load(mutant.file)
            for name, text in queries.parse(mutant.text).items():
                if text != originals[name]:
                    self._changed[originals[name]].append((mutant, text))

    def install(self) -> None:
        """Have every connection run the mutants after a statement."""
        for name in METHODS:
            setattr(Connection, name, self._followed(getattr(Connection, name)))

    def _followed(self, method: Any) -> Any:
        async def run(connection: Any, query: str, *args: Any, **options: Any) -> Any:
            result = await method(connection, query, *args, **options)
            if query in self._changed and id(connection) not in self._busy:  # fetchrow and fetchval do not call fetch
                self._busy.add(id(connection))
                try:
                    await self._compare(connection, query, args)
                finally:
                    self._busy.discard(id(connection))
            return result

        return run

    async def _compare(self, connection: Any, query: str, args: Sequence[Any]) -> None:
        """Run what is still unnoticed, each in a savepoint if a transaction would be lost with an error."""
        expected = await self._fetch(connection, query, *args)
        for mutant, text in self._changed[query]:
            self.ran.add(mutant)
            if mutant in self.told_apart:
                continue
            inside = connection.is_in_transaction()
            if inside:
                await connection.execute("SAVEPOINT mutant")
            try:
                if not _same(expected, await self._fetch(connection, text, *args)):
                    self.told_apart.add(mutant)
            except asyncpg.PostgresError:
                self.told_apart.add(mutant)
            if inside:
                await connection.execute("ROLLBACK TO SAVEPOINT mutant")


def _same(expected: Sequence[asyncpg.Record], got: Sequence[asyncpg.Record]) -> bool:
    return len(expected) == len(got) and all(
        _near(one, other)
        for row, others in zip(expected, got, strict=True)
        for one, other in zip(row.values(), others.values(), strict=True)
    )


def _near(one: Any, other: Any) -> bool:
    match one, other:
        case timedelta(), timedelta():
            return abs(one - other) < MOMENT
        case datetime(), datetime() if abs(one - datetime.now(UTC)) < 5 * MOMENT:
            return abs(one - other) < MOMENT
        case _:
            return bool(one == other)


def main() -> None:
    """Parse the command line, run the tests and print the changes that made no difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", action="append", help="only this file of queries that read, without .sql")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), help="tests that have to make a difference")
    given = parser.parse_args()
    files = sorted((ROOT / QUERIES).glob("read_*.sql"))
    found = [one for file in files if not given.file or file.stem in given.file for one in mutants(file)]
    beside = Beside(found)
    beside.install()
    # Failing tests do not matter: they ran statements, too.
    pytest.main(["-q", "-p", "no:cacheprovider", "-m", "postgres", "--hypothesis-profile=mutants", *given.tests])
    unnoticed = [one for one in found if one not in beside.told_apart]
    for one in unnoticed:
        print("NO DIFFERENCE" if one in beside.ran else "NEVER RAN", one)
    print(f"{len(found)} mutants, {len(unnoticed)} made no difference")
    raise SystemExit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()

"""Words that this project does not use, so that each thing has one name and the prose is the English of the trade."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import tokenize
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

COINED = """
    mender menders mending mended mend mends
    judging judge judged judges
    rehearse rehearses rehearsed rehearsing rehearsal rehearsals
    doubt doubts doubted doubtful
    doorbell doorbells turnstile turnstiles historian historians
    refill refills refilled refilling refiller
    rechecking rechecker
    somebody nobody anybody whoever whomever
    catalogue catalogues
    anew lest stump stumps watcher watchers auditor auditors
""".split()  # noqa: SIM905 - it reads better than fifty quoted words
"""Private names of things, and words that no on-call engineer writes. Allowed neither in prose nor inside a name."""

PHRASES = (
    "car park",
    "for ever",
    "let go",
    "lets go",
    "put right",
    "puts right",
    "of which",
    "of whom",
    "cannot be had",
    "take leave",
    "takes leave",
    "back to the bell",
)

VAGUE = frozenset({"facts", "turns", "checking", "told", "tells", "rounds"})
"""Fine in prose, but not as a name: they say nothing about what they name."""

RECORDS = (
    "docs/adr",
    "docs/trackers",
    "CHANGELOG.md",
    "src/adapters/billing_postgres/migrations",
    "tests/fixtures",
    "uv.lock",
    "tests/unit/test_words.py",
)
"""Records of what was decided, released or received: they are not rewritten."""

EXCEPTIONS = frozenset({("src/adapters/billing_embedded/system_user.py", "nobody")})
"""The name of a system user."""

RIDDLES = frozenset({"what", "who", "whose", "whom", "those", "whatever", "whichever"})
"""Openings of a sentence whose subject the reader has to guess."""

GENERATED = frozenset({"node_modules", "dist", "build", "site", "__pycache__"})


def test_retired_words_are_not_used() -> None:
    """Neither in code nor in documentation, nor in any other text file."""
    assert not [hit for hit in _lines([*COINED, *PHRASES]) if not _is_exception(hit)]


def test_names_do_not_contain_retired_words() -> None:
    """`lets_nobody_in` is one word to a search for whole words."""
    retired = frozenset(COINED)
    assert not [
        f"{path}: {name}"
        for path, name in _names()
        if (words := retired & set(_parts(name))) and not any((path, word) in EXCEPTIONS for word in words)
    ]


def test_names_say_what_they_name() -> None:
    """A variable called `facts` could be anything."""
    assert not [f"{path}: {name}" for path, name in _names() if name.strip("_").lower() in VAGUE]


def test_docstrings_name_their_subject_first() -> None:
    """A reader who looks a name up finds the thing itself in the first words, not a relative clause."""
    assert not [f"{path}: {first}" for path, first in _docstrings() if first.split()[0].lower() in RIDDLES]


def _docstrings() -> Iterator[tuple[Path, str]]:
    """Yield the first line of every docstring and of every string under an attribute."""
    for path in _files(".py"):
        for node in ast.walk(ast.parse(_text(path))):
            match node:
                case ast.Expr(value=ast.Constant(value=str(text))) if text.strip():
                    yield path, text.strip().splitlines()[0]


def _lines(words: Sequence[str]) -> Sequence[str]:
    """Return the lines that contain one of these words, as `path:number:text`."""
    patterns = [argument for word in words for argument in ("-e", word)]
    excluded = [f":!{path}" for path in RECORDS]
    command = ["git", "grep", "-nwiIF", "--untracked", *patterns, "--", ".", *excluded]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return list(_lines_without_git(words))
    if found.returncode not in (0, 1):  # an unpacked sdist is not a repository
        return list(_lines_without_git(words))
    return found.stdout.splitlines()


def _lines_without_git(words: Sequence[str]) -> Iterator[str]:
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
    for path in _files():
        for number, line in enumerate(_text(path).splitlines(), start=1):
            if pattern.search(line):
                yield f"{path}:{number}:{line}"


def _is_exception(hit: str) -> bool:
    path, _, text = hit.split(":", 2)
    found = {word for word in COINED if re.search(rf"\b{word}\b", text, re.IGNORECASE)}
    return bool(found) and all((path, word) in EXCEPTIONS for word in found)


@cache
def _names() -> frozenset[tuple[str, str]]:
    """Return every name in every Python file, each once per file."""
    return frozenset(
        (str(path), token.string)
        for path in _files(".py")
        for token in tokenize.generate_tokens(io.StringIO(_text(path)).readline)
        if token.type == tokenize.NAME
    )


def _parts(name: str) -> Sequence[str]:
    """Return the words of a name in snake case or camel case."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _files(suffix: str = "") -> Iterator[Path]:
    """Yield the files of the project, relative to its root, without records and generated ones."""
    for directory, folders, names in os.walk(ROOT):
        folders[:] = [each for each in folders if each not in GENERATED and (each == ".ci" or not each.startswith("."))]
        for name in names:
            path = Path(directory, name).relative_to(ROOT)
            if name.endswith(suffix) and not any(path.is_relative_to(record) for record in RECORDS):
                yield path


def _text(path: Path) -> str:
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # an image

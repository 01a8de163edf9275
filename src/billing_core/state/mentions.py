"""Find names in what operators wrote."""

import re
from collections.abc import Collection, Iterable, Sequence
from unicodedata import normalize

_BREAK = re.compile(r"[-.@+]*[^\w.@+-]\W*")
"""Ends a word. A hyphen, dot, @ or plus inside of one does not: `acme-eu` and `ada@acme.example` are one word each."""


class Mentions:
    """Recognizes texts that contain one of some names as whole words, without regard to case.

    `ada@acme.example` is found in "ADA@acme.example called.", not in "lada@acme.example called". A name of a single
    character is not looked for: it says nothing, and is found everywhere.
    """

    def __init__(self, names: Collection[str]) -> None:
        """`names` are ids, e-mail addresses and names, of one word or several."""
        self._names = {words for words in map(_words, names) if len(words.strip()) > 1}

    def among(self, texts: Iterable[str]) -> Sequence[str]:
        """Return those of the texts that contain a name."""
        return [text for text in texts if self.found_in(text)]

    def found_in(self, text: str) -> bool:
        """Return whether the text contains one of the names."""
        words = _words(text)
        return any(name in words for name in self._names)


def _words(text: str) -> str:
    """Return the words of a text, with a blank before and after each."""
    return _BREAK.sub(" ", f" {normalize('NFKC', text).casefold()} ")

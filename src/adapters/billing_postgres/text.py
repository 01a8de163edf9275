"""Texts in the forms that Postgres accepts."""

from collections.abc import Iterable
from typing import Final

_LIMIT: Final = 2000


def storable(text: str | None) -> str | None:
    """Bound a text and replace NUL and lone surrogates, which Postgres refuses, whatever a payload contained."""
    if text is None:
        return None
    return text[:_LIMIT].replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def text_array(texts: Iterable[str]) -> str:
    """Return the literal of a `text[]`.

    Source: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    return "{" + ",".join(['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]) + "}"

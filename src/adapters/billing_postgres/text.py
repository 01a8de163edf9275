"""Texts in the forms that Postgres accepts."""

from collections.abc import Sequence
from typing import Final

_LIMIT: Final = 2000


def storable(text: str | None) -> str | None:
    """Bound a text and replace NUL and lone surrogates, which Postgres refuses, whatever a payload contained."""
    if text is None:
        return None
    return text[:_LIMIT].replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def text_array(texts: Sequence[str | None]) -> str:
    """Return the literal of a `text[]`; None is null.

    Source: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    known = [text for text in texts if text is not None]
    joined = "".join(known)
    if len(known) == len(texts) and '"' not in joined and "\\" not in joined:  # nothing to do for each of them
        return '{"' + '","'.join(known) + '"}' if known else "{}"
    return "{" + ",".join(map(_element, texts)) + "}"


def plain_array(elements: Sequence[int | None]) -> str:
    """Return the literal of an array of numbers or flags, which need no quotes; None is null."""
    return "{" + ",".join(["NULL" if element is None else str(element) for element in elements]) + "}"


def _element(text: str | None) -> str:
    return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

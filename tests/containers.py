"""Containers that are used again: to make one takes longer than most tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from billing_app.container import Container

_FREE: Final[list[Container]] = []


@contextmanager
def container_with(**given: Any) -> Iterator[Container]:
    """Lend a container with these providers, none of whose objects was made before."""
    container = _FREE.pop() if _FREE else Container()
    container.override_providers(**given)
    try:
        yield container
    finally:
        container.reset_override()
        container.reset_singletons()
        _FREE.append(container)

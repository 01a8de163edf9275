"""The base of contract suites."""

import inspect

import pytest


class Suite:
    """Marks the asynchronous tests of a suite, so that they run whatever mode pytest-asyncio is in."""

    def __init_subclass__(cls) -> None:
        """Mark the tests that a subclass defines."""
        super().__init_subclass__()
        for name, member in vars(cls).items():
            if name.startswith("test_") and inspect.iscoroutinefunction(member):
                pytest.mark.asyncio(member)

"""How long tests wait for what has to happen."""

from typing import Final

PATIENCE: Final = 240.0
"""Seconds, less than pytest lets a test run.

A shorter wait proves nothing: on a busy machine, a process may take a minute to start. A test that something happens at
once arranges that otherwise it would never happen.
"""

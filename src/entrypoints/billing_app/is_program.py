"""Whether this process is the program `billing`, whose log is its own, or another one that runs parts of it."""

from contextvars import ContextVar
from typing import Final

IS_PROGRAM: Final = ContextVar("is_program", default=False)

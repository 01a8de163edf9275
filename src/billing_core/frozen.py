"""Value classes that are built for every event: frozen by the type checker, which costs nothing at run time.

attrs freezes a class by a `__setattr__` that raises, and its own `__init__` has to go around that, field by field: it
takes three times as long. Elsewhere `attrs.frozen` is used, and for all that handlers of an application are given.
See docs/adr/0045-frozen-by-the-type-checker.md.
"""

from typing import TYPE_CHECKING

__all__ = ["frozen"]

if TYPE_CHECKING:
    from attrs import frozen
else:
    from functools import partial

    import attrs

    frozen = partial(attrs.define, unsafe_hash=True, on_setattr=attrs.setters.NO_OP)

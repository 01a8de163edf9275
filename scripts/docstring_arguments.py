"""An extension of the builder of the site: `Args:` in a docstring becomes a list; Markdown would run it together."""

import re
from typing import Any, Final

import griffe

_ARGUMENTS: Final = re.compile(r"^Args:\n((?:    .*(?:\n|\Z)|\n)+)", re.MULTILINE)
_ARGUMENT: Final = re.compile(r"^    (\w+): ", re.MULTILINE)


def as_list(docstring: str) -> str:
    """Return a docstring with a Markdown list in place of its arguments."""
    return _ARGUMENTS.sub(lambda found: "Arguments:\n\n" + _ARGUMENT.sub(r"- `\1`: ", found[1]), docstring)


class ArgumentLists(griffe.Extension):
    """Rewrites every docstring before it is shown."""

    def on_object(self, *, obj: griffe.Object, **_more: Any) -> None:
        """Rewrite one docstring, if the object has one."""
        if obj.docstring is not None:
            obj.docstring.value = as_list(obj.docstring.value)

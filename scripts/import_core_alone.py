"""Import every module of billing_core but its test kit, and fail if it loads anything but attrs and cattrs.

Services embed the domain: they must not pay for, or be broken by, a driver, an SDK or a web framework they do not use.
Run it with the interpreter under test; it needs nothing but billing_core there.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

ALLOWED = {
    "billing_core",
    "attr",
    "attrs",
    "cattr",
    "cattrs",
    "typing_extensions",  # cattrs needs it
    "orjson",  # used when installed, never required
}


def import_package(name: str) -> None:
    """Import a package and everything below it, leaving out billing_core.testing, which builds on pytest."""
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(package.__path__, f"{name}."):
        if module.name == "billing_core.testing":
            continue
        if module.ispkg:
            import_package(module.name)
        else:
            importlib.import_module(module.name)


def main() -> int:
    """Report the foreign packages that the import brought in; the exit status is 1 if there are any."""
    before = set(sys.modules)
    import_package("billing_core")
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    foreign = sorted(loaded - ALLOWED - sys.stdlib_module_names)
    if foreign:
        print(f"import billing_core also loads: {', '.join(foreign)}", file=sys.stderr)
    return 1 if foreign else 0


if __name__ == "__main__":
    sys.exit(main())

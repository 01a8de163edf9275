"""The catalog that is provisioned: that of billing.toml, or a first one, which is written there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import attrs

from billing_app.errors import OperatorError
from billing_app.settings import RULES_FILE, Settings
from billing_app.settings.rules import read_rules
from billing_core.model import Plan
from billing_core.model.plan import ROLES

PRICE_MAP: Final = "STRIPE_PRODUCT_PRICE_MAP"
_DEFAULT: Final = files("billing_app.setup") / "default.toml"


@attrs.frozen(kw_only=True)
class Catalog:
    """The plans, and where they are recorded."""

    plans: tuple[Plan, ...]
    new_file: Path | None = None
    """The file that does not exist yet and will hold them."""
    in_price_map: bool = False
    """Whether STRIPE_PRODUCT_PRICE_MAP is to hold them: billing.toml exists, and has no plans."""


def read_catalog(settings: Settings, env_file: Path) -> Catalog:
    """Return the configured catalog; without one, that of the first file."""
    if settings.catalog.plans:
        return Catalog(plans=settings.catalog.plans)
    plans = _default_plans()
    if settings.rules.path is not None:
        prices_only = tuple(attrs.evolve(plan, features=(), seats=None) for plan in plans)
        return Catalog(plans=prices_only, in_price_map=True)
    return Catalog(plans=plans, new_file=env_file.parent / RULES_FILE)


def write_first_file(path: Path) -> None:
    """Write the first billing.toml, as a whole and only if there is none. Raises: OperatorError."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(_DEFAULT.read_bytes())
        with suppress(FileExistsError):
            os.link(unfinished, path)  # unlike a rename, it never replaces what another process wrote meanwhile
    except OSError as exc:
        raise OperatorError(f"{path} cannot be written ({type(exc).__name__}). Check the disk and the folder.") from exc
    finally:
        unfinished.unlink(missing_ok=True)


def price_map(plans: Iterable[Plan], ids: Mapping[str, str]) -> str:
    """Return STRIPE_PRODUCT_PRICE_MAP for plans, with the ids of their prices by lookup key or id.

    Add-ons have no place in it.
    """
    document: dict[str, Any] = {}
    for plan in plans:
        roles: dict[str, Any] = {}
        for price in plan.prices:
            price_id = ids.get(price.price_id or price.lookup_key or "")
            if price_id is None:
                continue
            if price.role == "metered":
                roles.setdefault("metered", {}).setdefault(price.feature, []).append(price_id)
            elif price.role in ROLES[:2]:
                roles.setdefault(price.role, []).append(price_id)
        document[plan.plan_code] = roles
    return json.dumps(document)


def _default_plans() -> tuple[Plan, ...]:
    with as_file(_DEFAULT) as path:
        plans: tuple[Plan, ...] = read_rules(path, required=True).sections["catalog"]["plans"].value
    return plans

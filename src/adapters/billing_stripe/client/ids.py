"""Stripe's ids, recognized by their prefix before they are sent.

An empty id would turn a request for one object into one for the list of all, and an id of another kind could only be
refused. Prices, products and coupons are left out of this: their ids may be chosen.
"""

import re
from collections.abc import Mapping
from typing import Final

_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    kind: re.compile(rf"(?:{prefixes})[A-Za-z0-9_-]{{1,240}}")
    for kind, prefixes in {
        "account": "acct_",
        "configuration": "bpc_",
        "credit_grant": "credgr_",
        "customer": "cus_",
        "event": "evt_",
        "invoice": "in_",
        "payment_method": "pm_|card_|src_|ba_",
        "promotion_code": "promo_",
        "schedule": "sub_sched_",
        "session": "cs_",
        "setup_intent": "seti_",
        "subscription": "sub_(?!sched_)",
        "subscription_item": "si_",
        "tax_id": "txi_|atxi_",
    }.items()
}


def is_id(kind: str, text: object) -> bool:
    """Return whether a text has the form of an id of this kind. Raises KeyError for an unknown kind."""
    return isinstance(text, str) and _PATTERNS[kind].fullmatch(text) is not None


def check_id(kind: str, text: object, *, where: str) -> str:
    """Return an id of this kind. Raises ValueError, naming `where` it stands, for anything else."""
    if not isinstance(text, str) or not is_id(kind, text):
        raise ValueError(f"{where}: not the id of a {kind.replace('_', ' ')}")
    return text

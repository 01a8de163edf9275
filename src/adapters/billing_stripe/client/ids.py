"""Stripe's ids, recognized by their prefix before they are sent.

An empty id would turn a request for one object into one for the list of all, and an id of another kind could only be
refused. The ids of prices and products may be chosen, so that only their characters are checked.
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
        "feature": "feat_",
        "invoice": "in_",
        "meter": "mtr_",
        "payment_method": "pm_|card_|src_|ba_",
        "price": "(?!prod_)",
        "product": "(?!price_)",
        "promotion_code": "promo_",
        "schedule": "sub_sched_",
        "session": "cs_",
        "setup_intent": "seti_",
        "subscription": "sub_(?!sched_)",
        "subscription_item": "si_",
        "tax_id": "txi_|atxi_",
        "webhook_endpoint": "we_",
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

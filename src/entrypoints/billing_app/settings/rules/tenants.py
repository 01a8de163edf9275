"""`[tenants]`: how tenants are found."""

from typing import Final

from billing_app.settings.rules.kinds import PATTERN, word
from billing_app.settings.rules.table import Key, Table
from billing_core.model import TenantRules

TENANTS: Final = Table(
    TenantRules,
    (
        Key(
            "link",
            word("customer", "subscription"),
            "The object that belongs to one tenant: a customer with everything it pays for, or each subscription by "
            "itself (one payer, several tenants).",
        ),
        Key("id_pattern", PATTERN, "The form of your tenant ids. A text of another form links no customer."),
    ),
)

"""How tenants are found: by customer or by subscription, and which texts can be their ids.

Metadata is written by people and by other systems: not every text there is an id.
"""

import re
import unicodedata
from typing import Final, Literal

import attrs

_LONGEST: Final = 200
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs"})
"""Control and format characters, and halves of surrogate pairs."""


def _compiles(_: object, __: object, pattern: str | None) -> None:
    if pattern is not None:
        re.compile(pattern)


@attrs.frozen(kw_only=True)
class TenantRules:
    """Says what names a tenant, and decides whether a text can be the id of one."""

    link: Literal["customer", "subscription"] = "customer"
    """The object that belongs to one tenant: a customer with everything it pays for, or each subscription by itself."""
    id_pattern: str | None = attrs.field(default=None, validator=_compiles)
    """The form of this team's tenant ids, as a regular expression for the whole id; None for any."""

    def fault_of(self, text: str) -> str | None:
        """Return why a text cannot be a tenant id, as the end of a sentence about it; None if it can be one."""
        if not text.strip():
            return "is blank"
        if text != text.strip():
            return "begins or ends with white space"
        if len(text) > _LONGEST:
            return f"is longer than {_LONGEST} characters"
        if not text.isprintable() and any(unicodedata.category(each) in _INVISIBLE for each in text):
            return "contains invisible characters"
        if self.id_pattern is not None and re.fullmatch(self.id_pattern, text) is None:
            return "does not have the form of a tenant id"
        return None

    def accepts(self, text: str) -> bool:
        """Tell whether a text can be a tenant id."""
        return self.fault_of(text) is None

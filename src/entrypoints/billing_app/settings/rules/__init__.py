"""`billing.toml`: the plans that are sold, and who may do what.

`scan` finds the line of each key, `document` reads the file, `kinds` checks single values and `table` whole tables.
`tenants`, `access`, `plans` and `scope` declare the keys of a table each, and `loading` reads them all.
"""

from billing_app.settings.rules.document import value_text
from billing_app.settings.rules.loading import Rules, read_rules
from billing_app.settings.rules.table import Given

__all__ = ["Given", "Rules", "read_rules", "value_text"]

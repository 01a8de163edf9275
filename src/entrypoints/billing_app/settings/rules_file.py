"""The file that says what is sold and who may do what."""

from pathlib import Path

import attrs

from billing_app.settings import parsers
from billing_app.settings.declaration import setting


@attrs.frozen(kw_only=True)
class RulesFileSettings:
    """The place of billing.toml."""

    path: Path | None = setting(
        "BILLING_CONFIG",
        parsers.FILE,
        None,
        "The file that says what is sold and who may do what. By default it is `billing.toml` beside `.env.local`, "
        "if there is one.",
        example="billing.toml",
    )

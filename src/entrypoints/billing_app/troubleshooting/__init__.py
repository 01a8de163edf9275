"""The troubleshooting matrix: every fault that has a cure, as data. Messages name its rows, and a page shows them.

To add a row, write a member; to add a table, write a subclass of `Trouble` and add it to `TABLES`. Then run
`make docs`, and provoke the row in a test that compares the message with `str(row)`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from billing_app.troubleshooting.catalog import CatalogTrouble
from billing_app.troubleshooting.consumers import ConsumerTrouble
from billing_app.troubleshooting.keys import KeyTrouble
from billing_app.troubleshooting.servers import ServerTrouble
from billing_app.troubleshooting.settings import SettingTrouble
from billing_app.troubleshooting.setup import SetupTrouble
from billing_app.troubleshooting.stripe_cli import StripeCliTrouble
from billing_app.troubleshooting.trouble import MATRIX, Trouble
from billing_app.troubleshooting.webhooks import WebhookTrouble

TABLES: Final[Mapping[str, type[Trouble]]] = MappingProxyType(
    {
        "The API key and the account": KeyTrouble,
        "Webhooks": WebhookTrouble,
        "Plans and billing.toml": CatalogTrouble,
        "Settings and tokens": SettingTrouble,
        "Set-up": SetupTrouble,
        "Servers": ServerTrouble,
        "Consumers and outgoing webhooks": ConsumerTrouble,
        "The Stripe CLI and .env.local": StripeCliTrouble,
    }
)
"""The tables by their headings, in the order of the page."""

__all__ = [
    "MATRIX",
    "TABLES",
    "CatalogTrouble",
    "ConsumerTrouble",
    "KeyTrouble",
    "ServerTrouble",
    "SettingTrouble",
    "SetupTrouble",
    "StripeCliTrouble",
    "Trouble",
    "WebhookTrouble",
]

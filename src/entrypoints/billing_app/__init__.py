"""Billing for SaaS teams on Stripe: as a server and a command line, or inside an application.

`from billing_app import open_billing` is all that an application needs. Each name is loaded when it is first asked for,
so that `import billing_app` alone costs nothing and needs no extra.
"""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from billing_app.host import (
        SSE_HEADERS,
        BadPositionError,
        Billing,
        BillingDisabledError,
        NotOpenError,
        StreamRefusedError,
        StreamResetError,
        SyncBilling,
        TooManyStreamsError,
        WebhookAnswer,
        open_billing,
        open_billing_sync,
    )
    from billing_app.settings import TEST_WEBHOOK_SECRET, Settings, SettingsError

_NAMES: Final = MappingProxyType(
    {
        "host": (
            "BadPositionError Billing BillingDisabledError NotOpenError SSE_HEADERS StreamRefusedError "
            "StreamResetError SyncBilling TooManyStreamsError WebhookAnswer open_billing open_billing_sync"
        ),
        "settings": "Settings SettingsError TEST_WEBHOOK_SECRET",
    }
)
"""The public names by the module they come from."""

_HOMES: Final = {name: f"billing_app.{module}" for module, names in _NAMES.items() for name in names.split()}

_EXTRAS: Final = MappingProxyType(
    {
        "stripe": "stripe stamina",
        "postgres": "asyncpg",
        "redis": "redis",
        "server": "aiohttp jwt prometheus_client standardwebhooks structlog dependency_injector",
    }
)
"""The packages that the host needs, by the extra that brings them."""

__all__ = [
    "BadPositionError",
    "Billing",
    "BillingDisabledError",
    "NotOpenError",
    "SSE_HEADERS",
    "Settings",
    "SettingsError",
    "StreamRefusedError",
    "StreamResetError",
    "SyncBilling",
    "TEST_WEBHOOK_SECRET",
    "TooManyStreamsError",
    "WebhookAnswer",
    "open_billing",
    "open_billing_sync",
]


def __getattr__(name: str) -> object:
    """Load a public name on its first use and keep it. Raises ImportError that names the extra that is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value: object = getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        extra = next((extra for extra, packages in _EXTRAS.items() if package in packages.split()), None)
        if extra is None:
            raise
        raise ImportError(
            f"billing_app.{name} needs the package {package!r}, which the extra {extra!r} brings; an application needs "
            "all of them: pip install 'billing-core[host]'"
        ) from missing
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name everything public, loaded or not."""
    return sorted({*globals(), *__all__})

"""The error about an address that cannot be listened on."""

from __future__ import annotations

from billing_app.troubleshooting import ServerTrouble
from billing_core.errors import ConfigurationError


def cannot_listen(host: str, port: int, variable: str, error: OSError) -> ConfigurationError:
    """Return the error about an address that is taken or not this machine's; `variable` sets its port."""
    return ConfigurationError(
        f"cannot listen on {host}:{port} ({error.strerror}): set {variable} to a free port, for example "
        f"{variable}={port + 1}. See {ServerTrouble.PORT_IS_TAKEN}."
    )

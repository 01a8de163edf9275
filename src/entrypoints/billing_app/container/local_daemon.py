"""Local servers that outlive the command which starts them. Unlike `local_servers`, it needs a Unix."""

from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_embedded import EmbeddedError, client
from billing_embedded.data_directory import DataDirectory


def local_servers_are_running(settings: Settings) -> bool:
    """Return whether the local servers respond. Raises: OperatorError."""
    return client.status(DataDirectory.at(settings.embedded.data_dir)).state == "running"


def start_local_servers(settings: Settings) -> None:
    """Start local servers that run until they are stopped, and wait until they are ready. Raises: OperatorError."""
    try:
        client.start_daemon(DataDirectory.at(settings.embedded.data_dir))
    except EmbeddedError as exc:
        raise OperatorError(str(exc)) from exc

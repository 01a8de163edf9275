"""Run a long-running process to its end, whether it stands alone, supervises others or is one of them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from billing_app import runtime
from billing_app.container import configure_logging
from billing_app.errors import OperatorError, StartRefusedError
from billing_app.runtime import Result
from billing_app.settings import Settings
from billing_core.errors import ConfigurationError


def run_process(settings: Settings, main: Coroutine[Any, Any, Result], *, name: str | None = None) -> Result:
    """Run a process with its log, and return what it returns.

    Args:
        settings: the configuration of the process.
        main: what it does.
        name: its name in the log, if it is one of several.

    Raises: StartRefusedError if the configuration speaks against it, and what else ends it.
    """
    runtime.forbid_core_dumps()
    configure_logging(settings, process=name)
    try:
        return runtime.run(main)
    except StartRefusedError:
        raise
    except (ConfigurationError, OperatorError) as exc:
        raise StartRefusedError(f"refusing to start: {exc}") from exc

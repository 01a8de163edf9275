"""State of Postgres, Redis and Stripe as this process finds them by its own use of them, and log lines about it."""

import time
from collections.abc import Callable
from typing import Final

import attrs
import structlog

log = structlog.get_logger()

_REPEATED: Final = 60.0
"""Seconds between two lines about a dependency that stays unavailable."""
_FORGOTTEN: Final = 60.0
"""Seconds after which a use that failed, and was not repeated, no longer counts: another one shows how it is now."""


@attrs.define
class _Failing:
    error: str
    at: float


class Dependency:
    """One dependency of a process. A line says when it goes away and when it is back, and some in between."""

    def __init__(
        self,
        name: str,
        *,
        remedy: str,
        address: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin as available.

        Args:
            name: its name in log lines.
            remedy: what to look at while it is unavailable.
            address: `host:port`, if it is known.
            clock: seconds of a monotonic clock.
        """
        self.address = address
        self.on_loss: Callable[[], None] = _do_nothing
        """Called when it goes away."""
        self._name = name
        self._remedy = remedy
        self._clock = clock
        self._failing: dict[str, _Failing] = {}
        """The uses that failed last, by name: a database may take one kind of write and refuse another."""
        self._failures = 0
        self._lost_at: float | None = None
        self._logged_at = 0.0

    @property
    def error(self) -> str | None:
        """Why its last use failed; None if it works, as far as is known."""
        self._forget()
        return next((failing.error for failing in self._failing.values()), None)

    def failed(self, use: str, error: object) -> None:
        """Note that it could not be used."""
        now = self._clock()
        self._failing[use] = _Failing(str(error), now)
        self._failures += 1
        if self._lost_at is None:
            self._lost_at = now
            self._log_loss(now, use, error)
            self.on_loss()
        elif now - self._logged_at >= _REPEATED:
            self._log_loss(now, use, error)

    def succeeded(self, use: str) -> None:
        """Note that it was used. Cheap while it works."""
        if self._lost_at is None:
            return
        self._failing.pop(use, None)
        self._forget()
        if not self._failing:
            seconds = round(self._clock() - self._lost_at, 1)
            log.info(
                "dependency.recovered",
                dependency=self._name,
                address=self.address,
                seconds=seconds,
                failures=self._failures,
            )
            self._lost_at, self._failures = None, 0

    def _forget(self) -> None:
        now = self._clock()
        self._failing = {use: each for use, each in self._failing.items() if now - each.at < _FORGOTTEN}

    def _log_loss(self, now: float, use: str, error: object) -> None:
        self._logged_at = now
        lost_at = now if self._lost_at is None else self._lost_at
        log.warning(
            "dependency.unavailable",
            dependency=self._name,
            address=self.address,
            use=use,
            error=str(error),
            seconds=round(now - lost_at, 1),
            failures=self._failures,
            remedy=self._remedy,
        )


def _do_nothing() -> None:
    """Nothing depends on it."""


@attrs.frozen
class Dependencies:
    """The dependencies of a process."""

    database: Dependency = attrs.field(
        factory=lambda: Dependency(
            "postgres",
            remedy="Webhooks get 503 and Stripe repeats them. Check that the server runs, that it is no standby, that "
            "its disk has room, and what its own log says.",
        )
    )
    bus: Dependency = attrs.field(
        factory=lambda: Dependency(
            "redis",
            remedy="Streams are served from Postgres, within two seconds. Check that the server runs, that it is no "
            "replica, has memory left and can write its append-only file.",
        )
    )
    stripe: Dependency = attrs.field(
        factory=lambda: Dependency(
            "stripe", remedy="Operations are settled later, by a worker. See https://status.stripe.com."
        )
    )

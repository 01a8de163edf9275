"""The result of one check, the same for a start, which refuses, and for `billing doctor`, which reports."""

from __future__ import annotations

from enum import Enum

import attrs

from billing_app.troubleshooting import Trouble


class CheckStatus(Enum):
    """The result of one check. The values are part of `billing doctor --json`."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@attrs.frozen
class CheckResult:
    """One check with its status, what it found and how to fix it."""

    check: str
    status: CheckStatus
    detail: str
    remedy: str | None = None
    """None when the status is OK."""
    trouble: Trouble | None = None
    """The row of the troubleshooting matrix, if there is one."""
    stops_start: bool = True
    """Whether a server or worker refuses to start for it, if it failed; not for what may pass by itself."""

    def __str__(self) -> str:
        """Return all of it as sentences, for a log line or an error."""
        see = "" if self.trouble is None else f" See {self.trouble}."
        return f"{self.detail.rstrip('.')}.{'' if self.remedy is None else f' {self.remedy}'}{see}"


def ok(check: str, detail: str) -> CheckResult:
    """Return the result of a check that found nothing wrong."""
    return CheckResult(check, CheckStatus.OK, detail)


def warn(check: str, detail: str, remedy: str, trouble: Trouble | None = None) -> CheckResult:
    """Return a result that an operator should look at, and that stops nothing."""
    return CheckResult(check, CheckStatus.WARN, detail, remedy, trouble)


def fail(
    check: str, detail: str, remedy: str, trouble: Trouble | None = None, *, stops_start: bool = True
) -> CheckResult:
    """Return a result with which billing does not work as promised."""
    return CheckResult(check, CheckStatus.FAIL, detail, remedy, trouble, stops_start)

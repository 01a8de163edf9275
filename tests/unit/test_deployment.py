"""The files in ops/ and the image: valid for the programs that read them, and as hardened as the documentation says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from tests.programs import missing

from billing_app.cli import cli
from billing_app.settings import Settings

ROOT: Final = Path(__file__).parents[2]
KUBERNETES: Final = ROOT / "ops/kubernetes"
UNITS: Final = sorted((ROOT / "ops/systemd").glob("*.service"))
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version().rpartition(".")[0]
EXPOSURE: Final = 15
"""In tenths, of `systemd-analyze security`: 0 is a service that can do nothing, 100 one that can do everything."""


def resources() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return every manifest that the kustomization names, with its name."""
    for file in kustomization()["resources"]:
        for resource in yaml.safe_load_all((KUBERNETES / file).read_text(encoding="utf-8")):
            yield f"{resource['kind']} {resource['metadata']['name']}", resource


def kustomization() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
    return loaded


RESOURCES: Final = dict(resources())
JOBS: Final = {
    name: each["spec"].get("jobTemplate", each)["spec"] for name, each in RESOURCES.items() if "spec" in each
}
PODS: Final = {name: spec["template"] for name, spec in JOBS.items() if "template" in spec}


def commands() -> set[str]:
    """Return the commands of units and pods."""
    units = [re.findall(r"^ExecStart=\S+ (.+)$", unit.read_text(encoding="utf-8"), re.MULTILINE) for unit in UNITS]
    return {each for (each,) in units} | {" ".join(pod["spec"]["containers"][0]["args"]) for pod in PODS.values()}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", RESOURCES)
def test_manifests_are_valid(name: str, version: str) -> None:
    """By the schemas of Kubernetes, with no field that it does not know."""
    kubernetes_validate.validate(RESOURCES[name], version, strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    """A file that is left out would never be applied."""
    assert {*kustomization()["resources"], "kustomization.yaml"} == {each.name for each in KUBERNETES.iterdir()}


def test_there_is_a_pod_for_each_part() -> None:
    """So that the tests below are not empty."""
    assert PODS.keys() == {
        "Job billing-migrate",
        "CronJob billing-prune",
        "Deployment billing-server",
        "Deployment billing-worker",
    }


@pytest.mark.parametrize("name", PODS)
def test_pods_may_do_nothing_that_they_need_not(name: str) -> None:
    """As the restricted pod security standard asks, and read-only."""
    spec = PODS[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == kustomization()["images"][0]["name"]
    assert container["resources"]["limits"].keys() == {"memory"}  # a limit of processor time delays every request


@pytest.mark.parametrize("name", ["Deployment billing-server", "Deployment billing-worker"])
def test_probes_ask_for_what_they_decide(name: str) -> None:
    """Only readiness looks at databases: a restart would not bring one back."""
    (container,) = PODS[name]["spec"]["containers"]
    paths = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    ports = {port["name"] for port in container["ports"]}
    assert {container[probe]["httpGet"]["port"] for probe in paths} <= ports


@pytest.mark.parametrize("name", ["Deployment billing-server", "Deployment billing-worker"])
def test_processes_have_the_time_to_end(name: str) -> None:
    """The sleep before the signal and the shutdown itself end before the pod is killed."""
    settings = RESOURCES["ConfigMap billing"]["data"]
    spec = PODS[name]["spec"]
    assert spec["terminationGracePeriodSeconds"] >= 5 + int(settings["BILLING_SHUTDOWN_SECONDS"])


def test_services_budgets_and_policies_select_pods_that_exist() -> None:
    """A selector with a typing error selects nothing, without an error."""
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    for name, resource in RESOURCES.items():
        spec = resource.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector", {}))
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= each.items() for each in labels), name


def test_the_settings_exist() -> None:
    """A variable that is misspelled would be ignored."""
    assert not unknown(RESOURCES["ConfigMap billing"]["data"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_valid(unit: Path, tmp_path: Path) -> None:
    """By systemd itself; the program of the unit is replaced by one that exists here."""
    copies = [tmp_path / each.name.replace("@", "@1") for each in UNITS]
    for each, copy in zip(UNITS, copies, strict=True):
        copy.write_text(each.read_text(encoding="utf-8").replace("/opt/billing/bin/billing", sys.executable), "utf-8")
    asked = tmp_path / unit.name.replace("@", "@1")
    checked = subprocess.run([systemd(), "verify", str(asked)], capture_output=True, text=True, check=False)
    own = [line for line in checked.stderr.splitlines() if "billing" in line]
    assert (checked.returncode, own) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_hardened(unit: Path, tmp_path: Path) -> None:
    """The exposure that systemd computes is low."""
    copy = shutil.copyfile(unit, tmp_path / unit.name.replace("@", "@1"))
    command = [systemd(), "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(copy)]
    assessed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert assessed.returncode == 0, assessed.stdout + assessed.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_name_secrets_by_files(unit: Path) -> None:
    """A secret in an environment file is in the environment of the process; each is named by a file instead."""
    text = unit.read_text(encoding="utf-8")
    named = dict(re.findall(r"^Environment=(\w+)=%d/(\w+)$", text, re.MULTILINE))
    loaded = dict(re.findall(r"^LoadCredential=(\w+):(\S+)$", text, re.MULTILINE))
    assert {*named.values()} == loaded.keys() != set()
    assert not unknown(named)


def test_each_process_of_a_machine_has_its_own_port_for_metrics() -> None:
    """All of them read the same settings, so that the units give the ports; the example of Prometheus scrapes them."""
    server, worker = (
        re.search(r"^ExecStart=.*?(?: --processes (\d))? --metrics-port (\S+)$", text, re.MULTILINE)
        for text in (
            (ROOT / "ops/systemd" / name).read_text("utf-8")
            for name in ("billing-server.service", "billing-worker@.service")
        )
    )
    assert server is not None
    assert worker is not None
    ports = [int(server[2]) + index for index in range(int(server[1]))]
    ports += [int(worker[2].replace("%i", instance)) for instance in "12"]
    scraped = yaml.safe_load((ROOT / "ops/prometheus/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    (targets,) = (job["static_configs"][0]["targets"] for job in scraped if job["job_name"] == "billing")
    assert targets == [f"127.0.0.1:{port}" for port in ports]
    assert len({*ports}) == 4


SECRETS: Final = {
    "database_url": "postgresql://billing@127.0.0.1:1/billing",
    "redis_url": "redis://127.0.0.1:1/0",
    "stripe_secret_key": "sk_test_51AbcdefghijklmnopqrstuvWXYZ",
    "stripe_webhook_secret": "whsec_AbcdefghijklmnopqrstuvWXYZ",
    "jwt_secret": "0123456789abcdef0123456789abcdef",
}
"""Contents of /etc/billing/secrets. No database listens at port 1."""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_load_the_secrets_that_their_commands_need(
    unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With billing on, as on every machine that serves: a command that refuses its settings would never run."""
    monkeypatch.chdir(tmp_path)
    for name in SECRETS:
        (tmp_path / name).write_text(SECRETS[name], encoding="utf-8")
    text = unit.read_text(encoding="utf-8")
    files = re.findall(r"^Environment=(\w+)=%d/(\w+)$", text, re.MULTILINE)
    given = {"ENABLE_BILLING": "true", **{variable: str(tmp_path / name) for variable, name in files}}
    if "Type=oneshot" in text:
        (command,) = re.findall(r"^ExecStart=\S+ (.+)$", text, re.MULTILINE)
        ran = CliRunner().invoke(cli, command.split(), env=given)
        assert "Postgres at 127.0.0.1:1 refuses connections" in str(ran.exception)
    else:
        assert not Settings.examine(given)[1]


@pytest.mark.parametrize("command", sorted(commands()))
def test_commands_exist(command: str) -> None:
    """With their options: an unknown one is refused before the help is shown."""
    shown = CliRunner().invoke(cli, [*command.split(), "--help"])
    assert (shown.exit_code, shown.output.startswith("Usage: ")) == (0, True), shown.output


def unknown(variables: Mapping[str, str]) -> Collection[str]:
    """Return what the settings say about variables that are none."""
    nothing = Path("there is no such file")
    return Settings.examine({**variables, "BILLING_CONFIG": ""}, nothing)[0].warnings


def systemd() -> str:
    return shutil.which("systemd-analyze") or missing("There is no systemd-analyze (Debian: apt-get install systemd).")


def test_the_image_runs_as_a_user_without_rights() -> None:
    """With a numeric id, which Kubernetes can compare; its base can be pinned by a digest."""
    stages = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")
    assert re.search(r"^USER 10001:10001$", stages[-1], re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", stages[-1], re.MULTILINE)
    assert "ARG BASE=python:" in stages[0]  # a build may pin it: --build-arg BASE=python:3.13-slim@sha256:…


@pytest.mark.parametrize("service", ["migrate", "server", "worker"])
def test_containers_of_compose_are_hardened(service: str) -> None:
    """Read-only, without capabilities, and limited in processes and memory."""
    spec = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"][service]
    assert (spec["read_only"], spec["cap_drop"], spec["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert spec["pids_limit"] > 0
    assert spec["mem_limit"]

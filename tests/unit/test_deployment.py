"""The files in ops/ and the image: valid for the programs that read them, and as hardened as the documentation says."""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from tests.programs import missing

from billing_app.cli import cli
from billing_app.settings import Settings, declared_sections

ROOT: Final = Path(__file__).parents[2]
KUBERNETES: Final = ROOT / "ops/kubernetes"
UNITS: Final = sorted((ROOT / "ops/systemd").glob("*.service"))
DROP_INS: Final = sorted((ROOT / "ops/systemd").glob("*.service.d/*.conf"))
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
    shutil.copytree(DROP_INS[0].parent, tmp_path / DROP_INS[0].parent.name)
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


def credentials(*files: Path) -> dict[str, str]:
    """Return the credentials of units and drop-ins: by the variable that names its file, the name of each."""
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    return dict(re.findall(r"^Environment=(\w+)=%d/(\w+)$", text, re.MULTILINE))


@pytest.mark.parametrize("file", [*UNITS, *DROP_INS], ids=lambda file: file.name)
def test_units_name_secrets_by_files(file: Path) -> None:
    """A secret in an environment file is in the environment of the process; each is named by a file instead."""
    text = file.read_text(encoding="utf-8")
    loaded = dict(re.findall(r"^LoadCredential=(\w+):(\S+)$", text, re.MULTILINE))
    assert loaded == {name: f"/etc/billing/secrets/{name}" for name in credentials(file).values()} != {}
    assert not unknown(credentials(file))


SECRET_SETTINGS: Final = {
    setting.env for section in declared_sections() for setting in section.settings.values() if setting.secret
} - {"BILLING_DEMO_TICKET_SECRET"}
"""The secrets that a process may need; the demo makes its own."""
OF_THE_DATABASE: Final = {"DATABASE_URL", "DATABASE_DIRECT_URL"}
OPTIONAL: Final = {"DATABASE_DIRECT_URL", "BILLING_METRICS_TOKEN"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_load_every_secret(unit: Path) -> None:
    """Optional ones are in drop-ins: a unit does not start without the files that it names."""
    needed = OF_THE_DATABASE if "Type=oneshot" in unit.read_text(encoding="utf-8") else SECRET_SETTINGS
    assert credentials(unit).keys() == {f"{name}_FILE" for name in needed - OPTIONAL}
    assert credentials(*DROP_INS).keys() == {f"{name}_FILE" for name in OPTIONAL}


@pytest.mark.parametrize("name", PODS)
def test_pods_get_the_secrets_that_they_need(name: str) -> None:
    """From keys of one Secret that have their names, and no other key of it: one that leaks says little."""
    (container,) = PODS[name]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "billing"}}]
    keys = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"]}
    needed = OF_THE_DATABASE if name in ("Job billing-migrate", "CronJob billing-prune") else SECRET_SETTINGS
    assert keys.keys() == needed
    assert all((key["name"], key["key"]) == ("billing", variable) for variable, key in keys.items())
    optional = {variable for variable, key in keys.items() if key.get("optional")}
    assert optional == {*OPTIONAL, "BILLING_JWT_SECRET"} & needed  # an issuer may sign the tokens instead


def test_the_kustomization_lists_the_keys_of_the_secret() -> None:
    """Its comment is all that says how to make the Secret."""
    text = (KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")
    listed = re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)
    assert sorted(listed) == sorted(SECRET_SETTINGS)


@pytest.mark.parametrize("name", PODS)
def test_services_set_no_variable_of_a_pod(name: str) -> None:
    """The Service `billing` would set BILLING_PORT and others, which are settings or look like them."""
    assert "Service billing" in RESOURCES
    assert PODS[name]["spec"]["enableServiceLinks"] is False


def test_a_job_of_a_schedule_ends() -> None:
    """One that hangs would keep all later ones from starting, since two may not run at once."""
    scheduled = [each["spec"] for each in RESOURCES.values() if each["kind"] == "CronJob"]
    assert scheduled
    for spec in scheduled:
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 24 * 3600


def test_pods_of_a_deployment_are_on_several_machines() -> None:
    """The end of one machine must not be the end of all workers; a budget lets another one be drained."""
    deployments = {name: each["spec"] for name, each in RESOURCES.items() if each["kind"] == "Deployment"}
    budgets = [each["spec"]["selector"] for each in RESOURCES.values() if each["kind"] == "PodDisruptionBudget"]
    for spec in deployments.values():
        (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"] == spec["selector"]
        assert spec["selector"] in budgets
        assert spec["replicas"] > 1


def test_pods_reach_no_private_address_by_https() -> None:
    """There are the API of the cluster and the metadata service of the cloud."""
    policy = RESOURCES["NetworkPolicy billing-out"]["spec"]
    (public,) = (rule for rule in policy["egress"] if {"port": 443} in rule["ports"])
    (destination,) = public["to"]
    left_out = [ipaddress.ip_network(each) for each in destination["ipBlock"]["except"]]
    for address in ("10.96.0.1", "100.100.100.200", "169.254.169.254", "172.20.0.1", "192.168.0.1"):
        assert any(ipaddress.ip_address(address) in network for network in left_out), address


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
    "database_direct_url": "postgresql://billing@127.0.0.1:1/billing",
    "redis_url": "redis://127.0.0.1:1/0",
    "stripe_secret_key": "sk_test_51AbcdefghijklmnopqrstuvWXYZ",
    "stripe_webhook_secret": "whsec_AbcdefghijklmnopqrstuvWXYZ",
    "jwt_secret": "0123456789abcdef0123456789abcdef",
    "metrics_token": "0123456789abcdef0123456789abcdef",
}
"""Contents of /etc/billing/secrets. No database listens at port 1."""


@pytest.mark.parametrize("drop_ins", [[], DROP_INS], ids=["required", "all"])
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_load_the_secrets_that_their_commands_need(
    unit: Path, drop_ins: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With billing on, as on every machine that serves: a command that refuses its settings would never run."""
    monkeypatch.chdir(tmp_path)
    for name in SECRETS:
        (tmp_path / name).write_text(SECRETS[name], encoding="utf-8")
    text = unit.read_text(encoding="utf-8")
    files = credentials(unit, *drop_ins)
    given = {"ENABLE_BILLING": "true", **{variable: str(tmp_path / name) for variable, name in files.items()}}
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


def test_the_image_is_built_of_locked_packages() -> None:
    """The program that builds ours, too: in an environment of its own it would be whatever is newest."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    dependencies, project = re.findall(r"\buv sync (.+)$", text, re.MULTILINE)
    assert "--frozen" in dependencies.split()
    assert "--group build" in dependencies
    assert "--frozen" in project.split()
    assert "--no-build-isolation-package billing-core" in project
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert declared["dependency-groups"]["build"] == declared["build-system"]["requires"]


@pytest.mark.parametrize("service", ["migrate", "server", "worker"])
def test_containers_of_compose_are_hardened(service: str) -> None:
    """Read-only, without capabilities, and limited in processes and memory."""
    spec = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"][service]
    assert (spec["read_only"], spec["cap_drop"], spec["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert spec["pids_limit"] > 0
    assert spec["mem_limit"]

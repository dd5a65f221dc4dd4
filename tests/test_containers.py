"""The compose file and the Dockerfile: valid, true of what exists, closed by default."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from vestigo.store.location import locate

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sysconfig.get_path("scripts"))
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+)(:\?|:-)?")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text("utf-8"))


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_file_matches_published_schema() -> None:
    run(str(PROGRAMS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(FILE))


def test_dockerfile_passes_lint() -> None:
    run(str(PROGRAMS / "hadolint"), str(ROOT / "Dockerfile"))


def test_compose_file_defines_expected_services(compose: dict[str, Any]) -> None:
    assert compose["services"].keys() == {"postgres", "label-studio", "ray-head", "ray-worker", "serve", "ui"}


def test_each_service_has_health_check(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "healthcheck" not in service] == []


def test_published_ports_bind_loopback(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_volumes_and_networks_are_declared(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    mounts = [volume.split(":")[0] for service in services for volume in service.get("volumes", ())]
    assert {mount for mount in mounts if not mount.startswith("${")} == compose["volumes"].keys()
    assert {network for service in services for network in service["networks"]} == compose["networks"].keys()
    assert {config["source"] for service in services for config in service.get("configs", ())} == {"store"}


def test_store_file_is_readable(compose: dict[str, Any], tmp_path: Path) -> None:
    store = tmp_path / "store.toml"
    store.write_text(compose["configs"]["store"]["content"], "utf-8")
    location = locate(store, create=False)
    assert (location.database.host, location.database.password) == ("postgres", None)
    assert location.data == "/var/lib/vestigo"
    assert "archive:/var/lib/vestigo" in compose["services"]["ray-worker"]["volumes"]


def test_secrets_have_no_default_and_variables_are_documented() -> None:
    variables = dict(VARIABLE.findall(FILE.read_text("utf-8")))
    secrets = [name for name in variables if name.endswith(("PASSWORD", "TOKEN"))]
    assert secrets
    assert all(variables[name] == ":?" for name in secrets)
    example = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert example.keys() == variables.keys()
    assert all(example[name] == "" for name in secrets)


def test_image_contains_every_source_root() -> None:
    copied = set(re.findall(r"^COPY ([\w/]+) \1$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    assert copied == {"models", "platform", "workers", "benchmarks/src/vestigo_benchmarks", "ui", "migrations"}
    admitted = set(re.findall(r"^!([\w/]+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))
    assert copied < admitted

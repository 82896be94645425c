"""The Dockerfile and the compose file of examples/serve: linted, and what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import compose_spec
import pytest

from dspy_mux.mux.pool_file import PoolFile

from ..support.dockerfile import instructions, last

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "examples" / "serve"


@pytest.fixture(scope="module")
def dockerfile():
    return instructions(SERVE / "Dockerfile")


@pytest.fixture(scope="module")
def services():
    compose = compose_spec.PyCompose.from_yaml((SERVE / "compose.yaml").read_text("utf-8"))
    compose.validate()
    return compose.to_dict()["services"]


def test_the_dockerfile_has_no_lint():
    lint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([lint, SERVE / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_without_privileges_and_says_whether_it_is_ready(dockerfile):
    assert last(dockerfile, "USER").rest.isdigit()
    assert last(dockerfile, "USER").rest != "0"
    assert "/readyz" in last(dockerfile, "HEALTHCHECK").rest


def test_the_image_is_built_of_what_its_context_holds(dockerfile):
    kept = {
        line[1:]
        for line in (SERVE / "Dockerfile.dockerignore").read_text("utf-8").split()
        if line.startswith("!")
    }
    copied = [each.words for each in dockerfile if each.name == "COPY"]
    sources = {name for *names, _ in copied for name in names if not names[0].startswith("--")}
    assert sources == kept
    assert all((ROOT / name).exists() for name in sources)


def test_keys_come_from_the_environment_alone(services, dockerfile):
    found = {
        name: value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if "KEY" in name or "PASSWORD" in name
    }
    assert len(found) == 3
    assert all(value.startswith("${") and ":?" in value for value in found.values())
    assert not [each for each in dockerfile if each.name in ("ARG", "ENV") and "KEY" in each.rest]


def test_only_this_machine_reaches_the_services(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8900:8900"]


def test_the_models_of_the_pool_are_those_that_are_fetched(services):
    pool = PoolFile.load(SERVE / "pool.toml")
    wanted = {member.model.partition("/")[2] for member in pool.members}
    *_, script = services["models"]["entrypoint"]
    assert set(script.replace("ollama pull ", "").split(" && ")) == wanted
    hosts = {member.api_base.split("//")[1].partition(":")[0] for member in pool.members}
    assert hosts <= set(services)

"""The files of deploy/, as far as they can be looked at without Docker and Kubernetes: what they name is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest
import yaml

from sam_dash.cli import _parser
from sam_dash.runs.environment import REPRODUCIBLE
from sam_dash.surroundings import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
UNITS = sorted(DEPLOY.glob("*.service"))


def containers() -> list[dict]:
    of = (m["spec"]["template"]["spec"]["containers"] for m in MANIFESTS if "template" in m["spec"])
    return list(chain.from_iterable(of))


def commands() -> list[list[str]]:
    """Every command of ours in these files, from `python` on."""
    image = json.loads(re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[1])
    services = [s["command"] for s in COMPOSE["services"].values() if "command" in s]
    units = [re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)[1].split() for unit in UNITS]
    return [image, *services, *(c["args"] for c in containers() if "args" in c), *units]


def test_every_command_is_one_that_exists() -> None:
    assert len(commands()) == 1 + 2 + 2 + 2
    for program, flag, module, *options in commands():
        assert (Path(program).name, flag) == ("python", "-m")
        assert find_spec(module), module
        if module == "sam_dash":
            assert callable(_parser().parse_args(options).command)
        else:
            assert {o for o in options if o.startswith("--")} <= _dask_options(module)


def _dask_options(module: str) -> set[str]:
    """The options that a command of dask's has."""
    return {o for p in import_module(module).main.params for o in (*p.opts, *p.secondary_opts)}


def test_services_wait_for_services_that_are_there_and_the_password_is_in_no_url() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"db", "scheduler", "worker", "app"}
    assert {name for s in services.values() for name in s.get("depends_on", {})} <= set(services)
    assert {v.partition(":")[0] for s in services.values() for v in s.get("volumes", [])} == set(COMPOSE["volumes"])
    ours = services["app"]["environment"]
    assert ours == services["worker"]["environment"]
    assert "PGPASSWORD" in ours
    assert ours["SAM_DASH_STORE"] == "postgresql+psycopg://sam@db/sam"
    assert services["app"]["ports"] == ["127.0.0.1:8501:8501"], "nobody else's machine reaches it"


def test_what_is_copied_into_the_image_is_there_and_its_threads_are_the_workers_own() -> None:
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        assert [s for s in sources if not (ROOT / s).exists()] == []
    for name, value in REPRODUCIBLE.items():
        assert f"{name}={value}" in DOCKERFILE
        assert f"{name}={value}" in (DEPLOY / "sam-dash-worker@.service").read_text()
    assert "USER sam" in DOCKERFILE


def test_every_manifest_selects_what_it_makes_and_secrets_are_references() -> None:
    made = {m["spec"]["template"]["metadata"]["labels"]["app"] for m in MANIFESTS if "template" in m["spec"]}
    assert made == {"db", "scheduler", "worker", "app"}
    for m in MANIFESTS:
        selector = m["spec"]["selector"]
        assert selector.get("matchLabels", selector)["app"] == m["metadata"]["name"]
    named = [e for c in containers() for e in c.get("env", []) if "PASSWORD" in e["name"]]
    assert len(named) == 3
    assert all("secretKeyRef" in e["valueFrom"] for e in named)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text().replace("/opt/sam-dash/.venv/bin/python", "/bin/true").replace("User=sam", "User=root")
        (tmp_path / unit.name).write_text(re.sub(r"(?m)^WorkingDirectory=.*$", f"WorkingDirectory={tmp_path}", text))
    names = [str(tmp_path / unit.name.replace("@.", "@0.")) for unit in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

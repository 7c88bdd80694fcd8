"""The wheel: what is in it, that its library needs what it declares and no more, and that it serves the dashboard."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from deploy import locked
from tests.browser.driver import served

ROOT = Path(__file__).parents[1]
SITE = Path(sysconfig.get_paths()["purelib"])
LIBRARY = re.search(r"## In your own code\n.*?```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)

RECORDED = """
import torch
from sam_dash.record import Recorder
from sam_dash.runs.store import Store
with Recorder("mine", variant="sam", m=8, rho=.1, store="store.db") as r:
    r.log(1, train_loss=.5)
    r.save(torch.nn.Linear(2, 2))
print(Store("store.db").run(r.key)["status"])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(out), str(ROOT)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def environment(folder: Path, wheel: Path | None = None) -> Path:
    """An environment with the wheel and nothing else; its folder of packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
    if wheel:
        subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return next(folder.glob("lib/python*/site-packages"))


def needed(requirements: list[str] | None, found: set[str] | None = None) -> set[str]:
    """The names of the distributions that requirements lead to, as they are installed here."""
    found = set() if found is None else found
    for requirement in map(Requirement, requirements or []):
        name = requirement.name.lower()
        if (requirement.marker is None or requirement.marker.evaluate({"extra": ""})) and name not in found:
            try:
                further = distribution(name).requires
            except PackageNotFoundError:
                continue
            found.add(name)
            needed(further, found)
    return found


def lend(names: set[str], packages: Path) -> None:
    """Link what those distributions installed here into another environment."""
    for name in names:
        tops = {Path(file).parts[0] for file in distribution(name).files or [] if ".." not in Path(file).parts}
        for top in tops - {"__pycache__"}:
            (packages / top).unlink(missing_ok=True)
            (packages / top).symlink_to(SITE / top)


def test_one_top_level_name_is_installed_and_it_is_typed(wheel) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"sam_dash"}
    assert {"sam_dash/py.typed", "sam_dash/dashboard/app.py", "sam_dash/dashboard/.streamlit/config.toml"} <= set(names)
    pages = {f"sam_dash/dashboard/{page.relative_to(ROOT)}" for page in (ROOT / "pages").glob("*.py")}
    assert pages <= set(names)


def test_the_library_runs_the_example_of_the_readme_on_what_it_declares_alone(wheel, tmp_path) -> None:
    packages = environment(tmp_path / "env", wheel)
    found = next(packages.glob("sam_dash-*.dist-info/METADATA")).read_text("utf-8")
    lend(needed(re.findall(r"^Requires-Dist: (.*)$", found, flags=re.MULTILINE)), packages)
    assert LIBRARY is not None
    python, where = str(tmp_path / "env" / "bin" / "python"), {"cwd": tmp_path, "capture_output": True, "text": True}
    ran = subprocess.run([python, "-c", LIBRARY[1]], **where, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Estimate(" in ran.stdout
    recorded = subprocess.run([python, "-c", RECORDED], **where, check=False)
    assert (recorded.returncode, recorded.stderr) == (0, "")
    assert recorded.stdout == "done\n"
    command = [str(tmp_path / "env" / "bin" / "sam-dash"), "export", "--store", "store.db", "--out", "out"]
    told = subprocess.run(command, **where, check=False)
    assert told.returncode == 2
    assert "pip install 'sam-dash[dashboard]'" in told.stderr
    assert told.stderr.count("\n") == 1


def test_the_wheel_serves_the_dashboard(wheel, tmp_path) -> None:
    packages = environment(tmp_path / "env", wheel)
    (packages / "lent.pth").write_text(str(SITE))
    program = tmp_path / "env" / "bin"
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served", serve=(str(program / "sam-dash"), "serve"), cwd=tmp_path) as address:
        assert urllib.request.urlopen(f"{address}/_stcore/health").read() == b"ok"
        html = urllib.request.urlopen(address).read().decode()
        assert "streamlit" in html.lower()
    look = (
        "from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file({str(packages / 'sam_dash' / 'dashboard' / 'app.py')!r}, default_timeout=60).run()\n"
        "assert not at.exception, at.exception\n"
        "print(at.title[0].value, len(at.get('plotly_chart')))"
    )
    env = os.environ | {"SAM_DASH_STORE": str(tmp_path / "store.db")}
    seen = subprocess.run(
        [program / "python", "-c", look], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.strip() == "m-sharpness of SAM 1"


@pytest.mark.parametrize("file", ["requirements.txt", "tests/requirements.txt", "tests/requirements-no-deps.txt"])
def test_what_is_installed_is_what_is_pinned(file) -> None:
    """What one package asks for must not bring another version of a second, such as torch."""
    lines = [line for line in (ROOT / file).read_text("utf-8").splitlines() if not line.startswith("#")]
    pinned = {r.name: r.specifier for r in map(Requirement, lines)}
    assert len(pinned) == len(lines) > 0
    found = {name: Version(version(name)).public for name in pinned}
    assert {name: v for name, v in found.items() if not pinned[name].contains(v, prereleases=True)} == {}


def test_the_lock_has_all_that_the_app_needs_as_it_is_installed_each_with_hashes() -> None:
    """Else `--no-deps` would leave something out; one that is only for another Python or system may stand beside it."""
    found = locked.entries(locked.LOCK.read_text("utf-8"))
    lines = locked.ASKED.read_text("utf-8").splitlines()
    pins = {pin for of in found.values() for pin, *_ in of}
    assert {line.replace("[distributed]", "").lower() for line in lines} <= pins
    a_hash = re.compile(locked.HASH + "[0-9a-f]{64}")
    assert all(hashes and all(map(a_hash.fullmatch, hashes)) for of in found.values() for _, *hashes in of)
    names = {name.lower().replace("_", "-") for name in needed(lines)}
    assert len(names) > 60
    assert names <= set(found)


def test_what_cuda_needs_is_installed_with_a_torch_that_asks_for_it_alone() -> None:
    found = locked.entries(locked.LOCK.read_text("utf-8"))
    plain = locked.chosen(found, ["filelock", "setuptools>=77"])
    cuda = locked.chosen(found, ["filelock", 'nvidia-nccl-cu13==2.29.7; platform_system == "Linux"'])
    assert "torch" not in cuda
    assert set(plain) < set(cuda) == set(found) - {"torch"}
    assert all(name.startswith(("nvidia-", "cuda-", "triton")) for name in set(cuda) - set(plain))
    assert locked.entries(locked.written(found)) == found


def test_a_build_of_torch_that_the_lock_does_not_have_is_refused(tmp_path, monkeypatch) -> None:
    def missing(_name: str) -> None:
        raise PackageNotFoundError

    def other(_requirement: str, folder: Path) -> Path:
        (folder / "torch-0-forged.whl").write_bytes(b"forged")
        return folder / "torch-0-forged.whl"

    monkeypatch.setattr(locked, "distribution", missing)
    monkeypatch.setattr(locked, "wheel", other)
    monkeypatch.setattr(locked.subprocess, "run", lambda *_, **__: pytest.fail("something is installed"))
    with pytest.raises(SystemExit, match=r"torch-0-forged\.whl, which pip takes here, is a build of torch that"):
        locked.install()

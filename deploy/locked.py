"""All that the app needs at one version and by its hash: `python deploy/locked.py` installs it, with `renew` it writes
requirements.lock anew (make lock). Needs nothing but pip, and uv to renew.

torch has several builds of one version: with CUDA on PyPI, for the CPU alone elsewhere, as pip's settings say. The one
that pip takes is held against the hashes of all that the lock has, and what only CUDA needs goes with that build alone.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
ASKED = ROOT / "requirements.txt"
CUDA = ("nvidia-", "cuda-", "triton")
HASH = "    --hash=sha256:"
RENEW = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]


def entries(text: str) -> dict[str, list[list[str]]]:
    """The lock's packages: each entry's lines, several where a version depends on the Python."""
    found: dict[str, list[list[str]]] = {}
    for block in re.findall(r"^[\w.-]+(?:\[\w+\])?==.*(?:\n +--hash.*)*", text, flags=re.MULTILINE):
        lines = [line.removesuffix("\\").rstrip() for line in block.splitlines()]
        found.setdefault(re.split(r"[=\[]", lines[0])[0], []).append(lines)
    return found


def written(found: dict[str, list[list[str]]]) -> str:
    """The text of these packages, as pip reads it."""
    return "".join(" \\\n".join(lines) + "\n" for name in sorted(found) for lines in found[name])


def wheel(requirement: str, folder: Path) -> Path:
    """The build of torch that pip takes here."""
    subprocess.run([*PIP, "download", "--no-deps", "--dest", str(folder), requirement], check=True)
    return next(folder.glob("torch-*.whl"))


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def chosen(found: dict[str, list[list[str]]], needs: list[str]) -> dict[str, list[list[str]]]:
    """What goes with a torch that asks for `needs`: all but itself, and without CUDA where it asks for none."""
    cuda = any(need.startswith(CUDA) for need in needs)
    return {k: v for k, v in found.items() if k != "torch" and (cuda or not k.startswith(CUDA))}


def install() -> None:
    """Install the lock here; ends with a message where pip takes a build of torch that it does not have."""
    found = entries(LOCK.read_text("utf-8"))
    ((pin, *hashes),) = found["torch"]
    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name), ""
        try:
            torch = distribution("torch")
            there = torch.version.split("+")[0] == pin.partition("==")[2]
        except PackageNotFoundError:
            there = False
        if there:
            needs = torch.requires or []
        else:
            file = wheel(pin, folder)
            if HASH + digest(file) not in hashes:
                raise SystemExit(
                    f"sam-dash: {file.name}, which pip takes here, is a build of torch that requirements.lock does not "
                    f"have. Without the lock: {sys.executable} -m pip install -r requirements.txt; "
                    f"touch {sys.prefix}/.run"
                )
            with zipfile.ZipFile(file) as archive:
                about = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
                needs = re.findall(r"^Requires-Dist: (.*)$", archive.read(about).decode(), flags=re.MULTILINE)
            lines = f"{file} --hash=sha256:{digest(file)}\n"
        (folder / "chosen.txt").write_text(lines + written(chosen(found, needs)), encoding="utf-8")
        subprocess.run([*PIP, "install", "--require-hashes", "--no-deps", "-r", str(folder / "chosen.txt")], check=True)


def renew() -> None:
    """Write the lock anew; of torch the build that pip takes here is added to those of PyPI, as are those it had."""
    ran = subprocess.run([*RENEW, str(ASKED)], check=True, capture_output=True, text=True)
    found = entries(ran.stdout)
    ((pin, *hashes),) = found["torch"]
    old = entries(LOCK.read_text("utf-8")).get("torch", [[""]])[0] if LOCK.exists() else [""]
    with tempfile.TemporaryDirectory() as name:
        hashes.append(HASH + digest(wheel(pin, Path(name))))
    found["torch"] = [[pin, *sorted({*hashes, *(old[1:] if old[0] == pin else [])})]]
    LOCK.write_text("# made by `make lock` from requirements.txt\n" + written(found), encoding="utf-8")


if __name__ == "__main__":
    try:
        {"install": install, "renew": renew}[sys.argv[1] if len(sys.argv) > 1 else "install"]()
    except subprocess.CalledProcessError as error:  # which has said why
        raise SystemExit(error.returncode) from None

"""What this process is told by its environment, and what those that it starts are told. Imports nothing of ours."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cache_dir() -> Path:
    """Where what can be made anew is kept, parsed data sets and the like: $XDG_CACHE_HOME/sam-dash."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sam-dash"


def data_dir() -> Path:
    """Where the user's own is kept, such as the store: $XDG_DATA_HOME/sam-dash."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "sam-dash"


def paths(variable: str) -> list[Path]:
    """The files and folders that a variable names, separated as in PATH."""
    return [Path(name).expanduser().absolute() for name in os.environ.get(variable, "").split(os.pathsep) if name]


def child(**more: str) -> dict[str, str]:
    """The environment of a process that is to import this package, with `more` in it."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def private(folder: Path) -> Path:
    """The folder, made for this user alone where it is missing; the two above are closed to others at once."""
    for root in (data_dir(), cache_dir()):
        if folder.is_relative_to(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(OSError):  # somebody else's, as where several share it on purpose
                if root.stat().st_mode & 0o077:
                    root.chmod(0o700)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def private_file(path: Path) -> None:
    """Make a file for this user alone, in a folder that is so; one that is there stays as it is."""
    private(path.parent)
    if not path.exists():
        path.touch(mode=0o600)

"""Files of weights that the operator has registered: those that SAM_DASH_CHECKPOINTS names. Torch-free."""

from __future__ import annotations

from pathlib import Path

from sam_dash.surroundings import paths

ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
FLAT = "w"
"""The name of a flat vector of all parameters in a file of this dashboard's."""
MOST = 500  # files that a folder may hold to be listed


def registered() -> list[Path]:
    """The files that the environment variable SAM_DASH_CHECKPOINTS names, and those in folders that it names, newest
    first; several are separated as in PATH.
    """
    found: dict[Path, float] = {}
    for path in paths("SAM_DASH_CHECKPOINTS"):
        for file in sorted(path.rglob("*"))[:MOST] if path.is_dir() else [path]:
            if file.suffix in ENDINGS and file.is_file():
                found[file] = file.stat().st_mtime
    return sorted(found, key=lambda file: -found[file])

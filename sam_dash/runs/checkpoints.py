"""Checkpoints of recorded runs: files beside the store, listed in it. Torch-free; `sam_dash.record` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import insert, select

from sam_dash.runs.store import Store
from sam_dash.runs.tables import artifacts, checkpoint_folder, locate
from sam_dash.surroundings import private

NAMED = "checkpoint:"  # the artifact's name goes on with the step


class Checkpoint(NamedTuple):
    """The weights of a run after `step` steps: a state_dict in a file of so many bytes, .safetensors or .pt."""

    run: str
    step: int
    path: Path
    size: int


def place(url: str | Path | None, key: str, step: int, ending: str) -> Path:
    """Where the checkpoint of a run of the store at `url` belongs; the folder is made."""
    folder = checkpoint_folder(locate(url)) / key
    private(folder)
    return folder / f"step-{step:08d}.{ending}"


def register(store: Store, key: str, step: int, path: Path) -> Checkpoint:
    """List a file as the run's checkpoint of a step; one that was listed for that step is replaced."""
    found = Checkpoint(key, step, path, path.stat().st_size)
    row = {"run": key, "name": f"{NAMED}{step}"}
    data = json.dumps({"path": str(path), "size": found.size}).encode()
    with store.write() as c:
        c.execute(artifacts.delete().where(artifacts.c.run == key, artifacts.c.name == row["name"]))
        c.execute(insert(artifacts).values(**row, data=data))
    return found


def listed(store: Store, keys: Sequence[str] | None = None) -> list[Checkpoint]:
    """The checkpoints of some runs, or of all, by run and step; those whose files have gone are left out."""
    wanted = select(artifacts).where(artifacts.c.name.startswith(NAMED, autoescape=True))
    if keys is not None:
        wanted = wanted.where(artifacts.c.run.in_(keys))
    with store.read() as c:
        rows = c.execute(wanted).all()
    found = []
    for run, name, data in rows:
        with suppress(ValueError, KeyError, TypeError):
            about = json.loads(data)
            path = Path(about["path"])
            if path.is_file():
                found.append(Checkpoint(run, int(name.removeprefix(NAMED)), path, int(about["size"])))
    return sorted(found)

"""A study as one zip: tables, specification, environment, figures with their numbers, a README with the captions.

``python -m sam_dash run config.json`` repeats it; `read` takes it in again, from anyone, so everything is checked.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sam_dash.maths.estimate import Estimate
from sam_dash.results import words
from sam_dash.results.drawing import captions
from sam_dash.results.files import export, gallery, texts
from sam_dash.results.numbers import recorded, tables
from sam_dash.results.numbers.study import EXAMPLE, Study, read_curves, read_estimators
from sam_dash.results.views.view import Curves
from sam_dash.runs.merge import Foreign
from sam_dash.runs.report import ACTIVE, STATUSES, Measurement
from sam_dash.runs.spec import SpecError, SweepSpec, from_dict
from sam_dash.runs.store import Store

Render = Callable[[go.Figure, str], bytes]
MAX_FILES, MAX_BYTES = 1000, 500_000_000
FORMATS = ("SVG", "PDF")


def write(study: Study, store: Store | None, render: Render | None, why_not: str = "") -> bytes:
    """The zip of a study of the store, or of the bundled example (`store` is None). Without `render`, no figures."""
    files = _tables(study.id, store) if store is not None else _example()
    lines = [_intro(study), "## Figures\n"]
    for picture in gallery.pictures(study, _curves(study, store)):
        files[f"figures/{picture.name}.csv"] = export.csv(picture.frame)
        lines.append(f"**{picture.name}** (`figures/{picture.name}.*`): {picture.caption}\n")
        if render is not None:
            files |= {f"figures/{picture.name}.{kind.lower()}": render(picture.figure, kind) for kind in FORMATS}
    if note := gallery.elsewhere(study):
        lines.append(f"{note}\n")
    if render is None:
        lines.append(f"No figure files are in this bundle. {why_not}\n")
    table, caption = texts.results(study), texts.caption(study)
    files["table.md"], files["table.tex"] = texts.markdown(table, caption), texts.latex(table, caption)
    lines += ["## Results\n", texts.markdown(table, caption)]
    files["README.md"] = "\n".join(lines)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"study-{study.id[:6]}/{name}", content)
    return out.getvalue()


def _curves(study: Study, store: Store | None) -> Curves:
    """What the finished runs recorded over time."""
    if store is None:
        return recorded.among(recorded.bundled())
    done = list(study.runs.loc[study.runs["status"] == "done", "run"])
    return lambda quantities, points: recorded.stored(store, done, quantities, recorded.steps_per_epoch(study), points)


def _tables(study_id: str, store: Store) -> dict[str, str | bytes]:
    config = next(row["spec"] for row in store.sweeps() if row["id"] == study_id)
    return {
        "runs.csv": export.csv(export.runs_frame(store, study_id)),
        "curves.csv": export.csv(export.curves_frame(store, study_id)),
        "estimators.csv": export.csv(export.estimators_frame(store, study_id)),
        "config.json": json.dumps(config, indent=2) + "\n",
        "environment.json": json.dumps(store.environments(study_id), indent=2) + "\n",
    }


def _example() -> dict[str, str | bytes]:
    plain = ("runs.csv", "config.json", "environment.json")
    files: dict[str, str | bytes] = {name: (EXAMPLE / name).read_bytes() for name in plain}
    frames = {"curves.csv": read_curves(EXAMPLE), "estimators.csv": read_estimators(EXAMPLE)}
    return files | {name: export.csv(frame) for name, frame in frames.items() if frame is not None}


def _intro(study: Study) -> str:
    return f"""# {study.name}

{captions.setting(study.spec)}. {captions.excluded(study)}

Made by sam-dash. `runs.csv` has a row a run, `curves.csv` a row a number (per-step values of
runs of more than {export.LONG} steps as means over windows), `estimators.csv` how each was measured,
`environment.json` the versions. Accuracies are fractions. To repeat it:

```bash
python -m sam_dash run config.json
```
"""


def read(name: str, content: bytes) -> tuple[list[SweepSpec], list[Foreign]]:
    """The sweeps and runs of a bundle; SpecError, in words, for anything that is not one."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = _members(archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise SpecError(f"{name}: not a readable zip ({error})") from None
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from None
    try:
        config = json.loads(files["config.json"])
        sweeps = [from_dict(SweepSpec, c) for c in (config if isinstance(config, list) else [config])]
        return sweeps, _runs(sweeps, files)
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SpecError(f"{name}: cannot be read ({str(error).splitlines()[0]})") from None


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The known files by name, wherever in the archive they lie; nothing is written to disk."""
    found = archive.infolist()
    if len(found) > MAX_FILES or sum(f.file_size for f in found) > MAX_BYTES:
        raise SpecError(f"more than {MAX_FILES} files or {MAX_BYTES // 10**6} MB unpacked")
    out = {}
    for wanted in ("config.json", "runs.csv", "curves.csv", "estimators.csv"):
        at = [f for f in found if Path(f.filename).name == wanted]
        if len(at) > 1:
            raise SpecError(f"{wanted} is in it {len(at)} times")
        if at:
            out[wanted] = archive.read(at[0])
    missing = [n for n in ("config.json", "runs.csv", "curves.csv") if n not in out]
    if missing:
        raise SpecError(f"no {captions.listed(missing)} in it; expected a zip from “Take away”")
    return out


def _runs(sweeps: Sequence[SweepSpec], files: dict[str, bytes]) -> list[Foreign]:
    specs = {r.key: r for sweep in sweeps for r in sweep.runs()}
    table = _csv(files["runs.csv"], "runs.csv", ("run", "status", "seconds"))
    curves = _csv(files["curves.csv"], "curves.csv", ("run", "step", "epoch", "quantity", "value", "stderr"))
    for frame, file in ((table, "runs.csv"), (curves, "curves.csv")):
        strange = sorted(set(frame["run"]) - set(specs))
        if strange:
            raise SpecError(f"{file} has a run {strange[0]!r} that config.json does not describe")
    bad = sorted(set(table["status"]) - set(STATUSES))
    if bad:
        raise SpecError(f"runs.csv has a status {bad[0]!r}")
    quality = _quality(files.get("estimators.csv"))
    every_step = curves["quantity"].isin(words.RECORDED)
    numbers = curves[~every_step].merge(quality, on=["run", "step", "quantity"], how="left")
    per_step = curves[every_step]
    measured: dict[str, list[Measurement]] = {}
    for r in numbers.fillna({"method": "imported", "budget": 0, "converged": "True", "dof": math.inf}).itertuples():
        row: Any = r
        estimate = Estimate(
            float(row.value), float(row.stderr), str(row.method)[:64], int(row.budget), float(row.residual),
            str(row.converged) in ("True", "1", "1.0"), float(row.dof),
        )  # fmt: skip
        measured.setdefault(row.run, []).extend(
            Measurement.at(int(row.step), float(row.epoch), {str(row.quantity): estimate})
        )
    series: dict[str, dict[str, np.ndarray]] = {}
    for (run, quantity), rows in per_step.groupby(["run", "quantity"]):
        rows = rows.sort_values("step")
        if list(rows["step"]) == list(range(len(rows))):  # the example's are thinned: not per step
            series.setdefault(str(run), {})[str(quantity)] = rows["value"].to_numpy(np.float32)
    out = []
    for row in table.itertuples():
        ended = row.status not in ACTIVE
        out.append(
            Foreign(
                row.run, row.status if ended else "interrupted", "" if ended else "not finished where it was exported",
                float(row.seconds), measured.get(row.run, []), series.get(row.run, {}),
            )
        )  # fmt: skip
    return out


def _quality(content: bytes | None) -> pd.DataFrame:
    columns = ("run", "step", "quantity", *tables.QUALITY)
    if content is None:
        return pd.DataFrame(columns=list(columns)).astype({"run": str, "step": float, "quantity": str})
    return _csv(content, "estimators.csv", columns, {"dof": math.inf}).drop_duplicates(["run", "step", "quantity"])


def _csv(content: bytes, name: str, columns: Sequence[str], later: Mapping[str, float] = {}) -> pd.DataFrame:
    """A table with these columns; `later`: those that a file of an earlier version lacks, and their value then."""
    text = ("run", "quantity", "status", "method", "converged")
    frame = pd.read_csv(io.BytesIO(content), dtype={c: str for c in text})
    frame = frame.assign(**{c: value for c, value in later.items() if c not in frame})
    for column in columns:
        if column not in frame:
            raise SpecError(f"{name} has no column {column!r}")
        if column not in text:
            try:
                frame[column] = pd.to_numeric(frame[column]).astype(float)
            except (ValueError, TypeError):
                raise SpecError(f"{name}: column {column!r} is not all numbers") from None
    if name == "runs.csv" and frame["run"].duplicated().any():
        raise SpecError("runs.csv has a run twice")
    if name != "runs.csv" and frame[["run", "quantity", "step"]].isna().any().any():
        raise SpecError(f"{name} has rows without run, step or quantity")
    return frame[list(columns)]

"""A study as one zip: tables, specification, environment, figures with their numbers, a README with the captions.

``python -m sam_dash run config.json`` repeats it; `sam_dash.results.files.brought` reads it again.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping

import plotly.graph_objects as go

from sam_dash.results.drawing import captions
from sam_dash.results.files import export, gallery, texts
from sam_dash.results.numbers import looks, recorded
from sam_dash.results.numbers.study import EXAMPLE, Study, read_curves, read_estimators
from sam_dash.results.views.looked import Looked
from sam_dash.results.views.view import Curves
from sam_dash.runs.store import Store

Render = Callable[[go.Figure, str], bytes]
FORMATS = ("SVG", "PDF")
NO_FIGURES = "No figure files are in this bundle. {}\n"


def write(study: Study, store: Store | None, render: Render | None, why_not: str = "") -> bytes:
    """The zip of a study of the store, or of the bundled example (`store` is None). Without `render`, no figures."""
    files = _tables(study.id, store) if store is not None else _example()
    lines = [_intro(study), "## Figures\n"]
    found, told = _figures(gallery.pictures(study, curves(study, store)), render)
    files |= found
    lines += told
    if note := gallery.elsewhere(study):
        lines.append(f"{note}\n")
    if render is None:
        lines.append(NO_FIGURES.format(why_not))
    table, caption = texts.results(study), texts.caption(study)
    files["table.md"], files["table.tex"] = texts.markdown(table, caption), texts.latex(table, caption)
    lines += ["## Results\n", texts.markdown(table, caption)]
    files["README.md"] = "\n".join(lines)
    return _zip(f"study-{study.id[:6]}", files)


def of_checkpoints(at: Looked, render: Render | None, why_not: str = "") -> bytes:
    """The zip of one or two checkpoints that were looked at: figures with their numbers, what was asked, the table."""
    files, told = _figures(gallery.of_checkpoints(at), render)
    answers = {seen.name: seen.answer for seen in at.seen}
    table = looks.table(answers)
    files["numbers.csv"] = export.csv(table)
    files["looks.json"] = json.dumps({s.name: s.look.to_dict() for s in at.seen}, indent=2) + "\n"
    lines = [f"# {texts.harmless(captions.listed([s.name for s in at.seen]))}\n"]
    lines += [f"{texts.harmless(at.setting)}. Made by sam-dash.\n"]
    lines += ["## Figures\n", *told, *([NO_FIGURES.format(why_not)] if render is None else [])]
    files["README.md"] = "\n".join([*lines, "## Numbers\n", f"In `numbers.csv`. {looks.caption(answers)}\n"])
    return _zip(named(at), files)


def named(at: Looked) -> str:
    """The name of that zip, without its ending; the keys of the answers are in it."""
    return "-".join(["checkpoints", *(seen.look.key[:6] for seen in at.seen)])


def _figures(pictures: Iterable[gallery.Picture], render: Render | None) -> tuple[dict[str, str | bytes], list[str]]:
    """The files of figures, and what a README says of each."""
    files: dict[str, str | bytes] = {}
    lines = []
    for picture in pictures:
        files[f"figures/{picture.name}.csv"] = export.csv(picture.frame)
        lines.append(f"**{picture.name}** (`figures/{picture.name}.*`): {texts.harmless(picture.caption)}\n")
        if render is not None:
            files |= {f"figures/{picture.name}.{kind.lower()}": render(picture.figure, kind) for kind in FORMATS}
    return files, lines


def _zip(folder: str, files: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}/{name}", content)
    return out.getvalue()


def curves(study: Study, store: Store | None) -> Curves:
    """What the finished runs recorded over time."""
    if store is None:
        return recorded.among(recorded.bundled())
    done = list(recorded.with_curves(study, study.runs)["run"])
    return lambda quantities, points: recorded.stored(store, done, quantities, recorded.steps_per_epoch(study), points)


def _tables(study_id: str, store: Store) -> dict[str, str | bytes]:
    config = next(row["spec"] for row in store.sweeps() if row["id"] == study_id)
    return {
        "runs.csv": export.csv(export.runs_frame(store, study_id)),
        "curves.csv": export.csv(export.curves_frame(store, study_id)),
        "estimators.csv": export.csv(export.estimators_frame(store, study_id)),
        "config.json": json.dumps(config, indent=2) + "\n",
        "environment.json": json.dumps(store.environments(study_id), indent=2) + "\n",
        **export.labels_file(store, study_id),
    }


def _example() -> dict[str, str | bytes]:
    plain = ("runs.csv", "config.json", "environment.json")
    files: dict[str, str | bytes] = {name: (EXAMPLE / name).read_bytes() for name in plain}
    frames = {"curves.csv": read_curves(EXAMPLE), "estimators.csv": read_estimators(EXAMPLE)}
    return files | {name: export.csv(frame) for name, frame in frames.items() if frame is not None}


AGAIN = """To repeat it:

```bash
python -m sam_dash run config.json
```
"""
NOT_AGAIN = """The runs were recorded in loops of their own: `config.json` says what is known of them, and they cannot
be repeated from it.
"""


def _intro(study: Study) -> str:
    return f"""# {texts.harmless(study.name)}

{texts.harmless(captions.setting(study.spec))}. {texts.harmless(captions.excluded(study))}

Made by sam-dash. `runs.csv` has a row a run, `curves.csv` a row a number (per-step values of
runs of more than {export.LONG} steps as means over windows), `estimators.csv` how each was measured,
`environment.json` the versions. Accuracies are fractions. {NOT_AGAIN if study.recorded else AGAIN}"""

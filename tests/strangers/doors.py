"""What strangers send: a strategy for each door, real input that is bent, and what the door does with it."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from sam_dash.audit import Report
from sam_dash.problems import own_files
from sam_dash.problems.arrays import DataError
from sam_dash.problems.datasets import DATASETS
from sam_dash.results.files import brought, bundle
from sam_dash.results.numbers import study as studies
from sam_dash.runs import cost, presets
from sam_dash.runs.merge import merge
from sam_dash.runs.recording import sweep_from
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store
from sam_dash.ui import fields

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=30),
    st.sampled_from([
        "", "1e400", "inf", "nan", "-0", "٣", "1" * 5000, "0-99999999999", "![x](http://127.0.0.1/a.png)",
        "<img src=x>", "=cmd|'/c calc'!A1", "npz:/etc/passwd", "npz:/dev/zero", "file:/etc/passwd", "npz:" + "a" * 300,
        "\x00", "\ud800", "mlp:" + "-".join(["4096"] * 10_000), "mlp:4096", "resnet18:4096", "transformer:8", "../../x",
        "{" * 200,
    ]),
)  # fmt: skip
"""A value of any kind, and texts that have done harm elsewhere."""
JSON = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


class Door(NamedTuple):
    """Where something comes in: examples of it, and what is done with one; a message where it is refused."""

    examples: st.SearchStrategy[Any]
    take: Callable[[Any, Path], str]


@st.composite
def bent(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON value that was good, with some of its parts replaced, left out or added."""
    found = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(0, 3))):
        at = found
        while isinstance(at, dict | list) and at:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = draw(st.sampled_from(keys))
            if not isinstance(at[key], dict | list) or not at[key] or draw(st.booleans()):
                what = draw(st.sampled_from(["odd", "gone", "more"]))
                if what == "gone":
                    del at[key]
                elif what == "more" and isinstance(at, dict):
                    at[draw(st.text(max_size=8))] = draw(JSON)
                else:
                    at[key] = draw(JSON)
                break
            at = at[key]
    return found


# specifications: the config.json of a bundle, or of a command line


def _configs() -> list[Any]:
    run = {"id": "r" + "0" * 11, "name": "a", "source": "", "variant": "sam", "m": 4, "knobs": {"rho": 0.1}, "seed": 0}
    recorded = {
        "recorded": "mine", "network": "net", "batch": 8, "steps_per_epoch": 4, "settings": {"lr": 0.1}, "runs": [run],
    }  # fmt: skip
    return [*(preset.sweep.to_dict() for preset in presets.PRESETS.values()), recorded]


def specification(config: Any, _folder: Path) -> str:
    """Refused, or priced in words."""
    try:
        sweep = brought._sweep(config, own=False)
        assert sweep_from(json.loads(json.dumps(sweep.to_dict()))).key == sweep.key
        cost.preview([sweep], {}, 2) if not sweep.key.startswith("r") else None
    except SpecError as error:
        return str(error)
    return ""


# links


@st.composite
def links(draw: st.DrawFn) -> dict[str, str]:
    """The query of a preset's link with some of its values bent."""
    preset = draw(st.sampled_from(list(presets.PRESETS.values())))
    query = {k: v if isinstance(v, str) else v[-1] for k, v in fields.query(preset.sweep).items() if v}
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from([*query, "study", "form_tab"]) | st.text(max_size=8))
        query[name] = str(draw(ODD))
    return query


def link(query: dict[str, str], _folder: Path) -> str:
    """What of a link the form is given, and the sweep that the form then describes."""
    kept, wrong = fields.tidied(query, DATASETS)
    base = (
        presets.PRESETS[kept["preset"]].sweep
        if kept.get("preset") in presets.PRESETS
        else presets.get(presets.FIRST).sweep
    )
    values = fields.values_of(base)
    for name in kept:
        if name in fields.SCALARS or name in ("network", "seeds", "dataset"):
            knob = fields.SCALARS.get(name)
            values[name] = (
                fields.grammar.value(name, knob, kept[name]) if knob and kept[name] else kept[name] or values[name]
            )
    try:
        cost.preview([fields.sweep(values, base)], {}, 2)
    except SpecError as error:
        return "; ".join([*wrong, str(error)])
    return "; ".join(wrong)


# bundles


@cache
def parts() -> dict[str, bytes]:
    """The files of a real bundle: the example's, cut to few rows."""
    found = studies.from_folder(studies.EXAMPLE)
    assert found is not None
    with zipfile.ZipFile(io.BytesIO(bundle.write(found, None, None))) as archive:
        files = {Path(name).name: archive.read(name) for name in archive.namelist() if "/figures/" not in name}
    runs = [line.split(b",")[0] for line in files["runs.csv"].splitlines()[1:4]]
    for name in ("curves.csv", "estimators.csv"):
        head, *lines = files[name].splitlines(keepends=True)
        files[name] = head + b"".join(
            line for line in lines if line.split(b",")[0] in runs and zlib.crc32(line) % 9 == 0
        )
    return files


CELLS = [
    b"=cmd|'/c calc'!A1",
    b"nan",
    b"inf",
    b"1e300",
    b"-1",
    b"",
    b"\xff",
    b"0.5",
    b"x" * 70,
    b"\x00",
    b'"',
    b"1e400",
    b"tr_H",
]


@st.composite
def bundles(draw: st.DrawFn) -> bytes:
    """A zip with cells, files, its specification or its bytes bent."""
    files = dict(parts())
    how = draw(st.sampled_from(["config", "cells", "files", "bytes", "whole", "bomb"]))
    if how == "config":
        files["config.json"] = json.dumps(draw(bent(json.loads(files["config.json"]))), allow_nan=True).encode(
            "utf-8", "surrogatepass"
        )
    if how == "cells":
        name = draw(st.sampled_from(["runs.csv", "curves.csv", "estimators.csv"]))
        lines = files[name].split(b"\n")
        for _ in range(draw(st.integers(1, 4))):
            i = draw(st.integers(0, min(12, len(lines) - 1)))
            cells = lines[i].split(b",")
            cells[draw(st.integers(0, len(cells) - 1))] = draw(st.sampled_from(CELLS) | st.binary(max_size=6))
            lines[i] = b",".join(cells) if draw(st.booleans()) or i == 0 else lines[i] + b"\n" + b",".join(cells)
        files[name] = b"\n".join(lines)
    if how == "files":
        name = draw(st.sampled_from(list(files)))
        files[name] = draw(
            st.binary(max_size=60) | st.just(b"[" * 50_000) | st.just(b"{}") | st.just(b"[1" + b"0" * 6000 + b"]")
        )
    if how == "bomb":
        files[draw(st.sampled_from(["curves.csv", "config.json", "estimators.csv"]))] = b"1," * draw(
            st.integers(10**6, 2 * 10**7)
        )
    out = io.BytesIO()
    with zipfile.ZipFile(
        out,
        "w",
        draw(st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])) if how != "bomb" else zipfile.ZIP_DEFLATED,
    ) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return torn(draw, out.getvalue()) if how == "bytes" else out.getvalue()


def torn(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes, some of them others, or cut."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1) | st.integers(max(0, len(data) - 400), len(data) - 1))
        data[at] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)) | st.just(len(data)))])


def bring(content: bytes, folder: Path) -> str:
    """Refused, or in the store, where all that is read of a study can be read."""
    try:
        found = brought.read("a.zip", content)
        store = Store(folder / "brought.db")
        try:
            merged = merge(store, *found, source="a.zip")
            for sweep in merged.sweeps:
                found = studies.from_store(store, sweep)
                assert found is not None
                bundle._tables(sweep, store)
        finally:
            store.close()
            for path in folder.glob("*.db*"):
                path.unlink()
    except SpecError as error:
        return str(error)
    return ""


# arrays


KINDS = ["f4", "f8", "i8", "u1", "bool", "c8", "U3", "O", "M8[s]", "V4", "f2"]
SHAPES = [(), (0,), (6,), (6, 4), (6, 1), (6, 2, 2), (5, 4), (0, 4), (6, 0)]
NUMBERS = {"f": [np.nan, np.inf, 1e38, -1.0], "i": [-1, 0, 9999, 10_000]}
FORGED = ["(1000000000000, 4)", "(6, 1000000000)", "(-1,)", "(10**9,)", "6", "(True,)"]
FORGED_KINDS = ["<f4", "<U999999999", "|O", "|V2147483647", "nonsense"]


@st.composite
def arrays(draw: st.DrawFn) -> bytes:
    """An .npz with arrays, headers or bytes bent."""
    x, y = np.ones((6, 4), "f4"), np.array([0, 1] * 3)
    named: dict[str, np.ndarray] = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from([*named, "x", "y", "data", "../x", "ü"]))
        how = draw(st.sampled_from(["odd", "gone", "value"]))
        if how == "gone":
            named.pop(name, None)
        elif how == "value" and name in named and (values := NUMBERS.get(named[name].dtype.kind)):
            named[name] = np.full_like(named[name], draw(st.sampled_from(values)))
        else:
            named[name] = np.zeros(draw(st.sampled_from(SHAPES)), draw(st.sampled_from(KINDS)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw(st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]))) as archive:
        for name, array in named.items():
            file = io.BytesIO()
            np.lib.format.write_array(file, array, allow_pickle=True)
            forged = draw(st.integers(0, 5)) == 0
            archive.writestr(f"{name}.npy", draw(headers()) if forged else file.getvalue())
    content = out.getvalue()
    return torn(draw, content) if draw(st.integers(0, 2)) == 0 else content


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """An array whose header says more than there is."""
    kind, shape = draw(st.sampled_from(FORGED_KINDS)), draw(st.sampled_from(FORGED))
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + b"\0" * 96


def upload(content: bytes, _folder: Path) -> str:
    """Refused, or kept and described."""
    try:
        own_files.keep("a.npz", content)
    except DataError as error:
        return str(error)
    return ""


# reports of an audit

_REPORT = {
    "m": 8, "rho": [0.05], "common": None, "left": 0.0, "steps": 2, "ranks": 1, "light": "green",
    "lines": [{"what": "m", "found": "8", "light": "green", "change": "", "expected": "", "evidence": ""}],
}  # fmt: skip


def report(found: Any, _folder: Path) -> str:
    """What a report's headline and lines are, or why it is none."""
    try:
        assert Report.from_json(json.dumps(found)).headline()
    except ValueError as error:
        return str(error)
    return ""


DOORS = {
    "specifications": Door(
        st.sampled_from(range(len(_configs()))).flatmap(lambda i: bent(_configs()[i])) | JSON, specification
    ),
    "links": Door(links(), link),
    "bundles": Door(bundles(), bring),
    "arrays": Door(arrays(), upload),
    "audits": Door(bent(_REPORT) | JSON, report),
}

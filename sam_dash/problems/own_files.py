"""The user's own files: checked, and kept under the hash of their content; a .csv becomes arrays on the way."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sam_dash.problems.arrays import NPZ, DataError, sha256
from sam_dash.problems.layouts import split
from sam_dash.problems.npz import MAX_LABEL, read
from sam_dash.surroundings import data_dir, private

if TYPE_CHECKING:
    import pandas as pd

TARGETS = ("target", "label", "class", "y")  # what the column of the labels is called, where nobody says


def folder() -> Path:
    """$XDG_DATA_HOME/sam-dash/data."""
    return data_dir() / "data"


def known() -> list[str]:
    """The names, as a Problem takes them, of what was kept before."""
    return [f"{NPZ}{path}" for path in sorted(folder().glob("*.npz"))]


def keep(name: str, content: bytes) -> str:
    """Check and keep an .npz of that name; its data set name. DataError says what is wrong with it."""
    private(folder())
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).stem)[:40] or "data"
    handle, made = tempfile.mkstemp(".part", stem, folder())
    new = Path(made)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        read(new)
        path = folder() / f"{stem}-{sha256(new)}.npz"
        new.replace(path)
    except DataError as error:
        raise DataError(str(error).replace(new.name, Path(name).name)) from None
    finally:
        new.unlink(missing_ok=True)
    return f"{NPZ}{path}"


def keep_csv(name: str, content: bytes, target: str = "") -> str:
    """Keep a table with a column of labels as arrays, four fifths of its rows for training; its data set name.

    `target`: the column; one that is called as one of `TARGETS` where left out. DataError says what is wrong.
    """
    table = _table(name, content)
    column = _target(table, target, name)
    y = _target_values(table.pop(column), name)
    x_train, y_train, x_test, y_test = split(_numbers(table, name), y)
    out = io.BytesIO()
    np.savez(out, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return keep(name, out.getvalue())


def columns(name: str, content: bytes) -> list[str]:
    """The columns of a table, first of all that which holds the labels by its name, if one does, else the last."""
    found = list(map(str, _table(name, content).columns))
    first = next((column for column in found if column.lower() in TARGETS), found[-1])
    return [first, *(column for column in found if column != first)]


def _table(name: str, content: bytes) -> pd.DataFrame:
    import pandas as pd

    try:
        first = content.decode("utf-8-sig").partition("\n")[0].strip()
        table = pd.read_csv(io.BytesIO(content), sep=max(",;\t", key=first.count), encoding="utf-8-sig")
    except ValueError as error:  # not text, no columns, or ragged
        raise DataError(f"{name} cannot be read as a .csv: {str(error).splitlines()[0]}") from None
    index = table.columns[0]
    if str(index).startswith("Unnamed") and (table[index] == np.arange(len(table))).all():  # of DataFrame.to_csv
        table = table.drop(columns=index)
    if len(table.columns) < 2:
        raise DataError(
            f"{name}: expected two columns or more, separated by comma, semicolon or tab, got {first[:40]!r}"
        )
    if all(map(_is_number, table.columns)):
        raise DataError(f"{name}: its first line is numbers ({first[:40]}): expected the names of the columns")
    return table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _target(table: pd.DataFrame, target: str, name: str) -> str:
    named = [str(c) for c in table.columns]
    if target in named:
        return target
    usual = [c for c in named if c.lower() in TARGETS]
    if not target and len(usual) == 1:
        return usual[0]
    listed = ", ".join(named[:12]) + (", ..." if len(named) > 12 else "")
    why = f"no column {target!r}" if target else "which column holds the labels?"
    raise DataError(f"{name}: {why} Name one with --target; there are {listed}")


def _target_values(column: pd.Series, name: str) -> np.ndarray:
    """Class numbers from 0, in the order of the values; numbers that are not whole as they are."""
    import pandas as pd

    if column.isna().any():
        raise DataError(f"{name}: {column.name!r} has no value in row {_row(column.isna())}; expected a label in each")
    if pd.api.types.is_float_dtype(column) and (column % 1 != 0).any():
        return column.to_numpy(dtype=np.float64)
    values, y = np.unique(column.to_numpy(dtype=str if column.dtype == object else None), return_inverse=True)
    if len(values) > MAX_LABEL + 1:
        raise DataError(
            f"{name}: {column.name!r} has {len(values)} different values: expected classes, {MAX_LABEL + 1} at most"
        )
    return y


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    import pandas as pd

    for label, column in table.items():
        if not pd.api.types.is_numeric_dtype(column):
            text = next(str(value) for value in column if not isinstance(value, int | float))
            raise DataError(
                f"{name}: {label!r} holds text, such as {text[:30]!r}: expected numbers; leave it out, or make numbers "
                "of it (pandas.get_dummies)"
            )
        if not np.isfinite(column).all():
            bad = ~np.isfinite(column)
            raise DataError(f"{name}: {label!r} has no finite number in row {_row(bad)}; fill it in or leave it out")
    return table.to_numpy(dtype=np.float64)


def _row(bad: pd.Series) -> int:
    """The line of the file, the header being the first."""
    return int(np.flatnonzero(bad)[0]) + 2

"""Read a `.csv`: numeric columns make one row [features], one column is the label."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ConfigError, Problem, near_miss

Array = npt.NDArray[Any]

_SHOWN = 10
"""Problems of one file that are listed; a wrong separator breaks every line the same way."""


def read_csv(path: Path, *, label: str | None) -> tuple[Array, Array, tuple[str, ...]]:
    """Return (rows float32 [n, features], labels, names of the features).

    The first line is the header. Labels are int64 when every one is a whole number without a decimal point, float64
    when every one is a number, else text.

    Args:
        path: a comma-separated UTF-8 file.
        label: the label's column; None: the last one.

    Raises:
        ConfigError: unreadable, no header, no rows, unknown label column, uneven lines, cells that are no numbers; all
            at once.
    """
    header, lines = _lines(path)
    if label is not None and label not in header:
        raise ConfigError(f"there is no column `{label}`", where=f"{path}: csv_label", hint=near_miss(label, header))
    at = len(header) - 1 if label is None else header.index(label)
    problems = [
        Problem(f"has {len(cells)} cells, and the header has {len(header)}", f"{path}:{number}")
        for number, cells in lines
        if len(cells) != len(header)
    ]
    _raise(problems)
    features = [name for i, name in enumerate(header) if i != at]
    cells = [[cell for i, cell in enumerate(row) if i != at] for _, row in lines]
    _raise(_not_numbers(cells, features, lines, path))
    rows = np.array(cells, np.float32)
    return rows, _labels([row[at] for _, row in lines], f"{path}: column `{header[at]}`"), tuple(features)


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and (line number, cells) of each line that is not empty, cells stripped."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"cannot be read: {error}", where=str(path), hint="save it as comma-separated UTF-8"
        ) from None
    if len(lines) < 2:
        raise ConfigError("holds no rows", where=str(path), hint="the first line is the header, then one line per row")
    header = lines[0][1]
    if len(header) < 2:
        raise ConfigError(
            f"has only one column, `{header[0]}`",
            where=str(path),
            hint="columns are separated by commas: at least one feature and the label",
        )
    # pandas calls columns without names 0, 1, 2 …
    if all(_is_number(name) for name in header) and header != [str(i) for i in range(len(header))]:
        hint = "put a line with the names of the columns above it: without one the first row would be lost"
        raise ConfigError("has no header: its first line holds numbers only", where=f"{path}:{lines[0][0]}", hint=hint)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ConfigError(f"the header has {', '.join(f'`{n}`' for n in twice)} twice", where=str(path))
    return header, lines[1:]


def _not_numbers(
    cells: list[list[str]], features: list[str], lines: list[tuple[int, list[str]]], path: Path
) -> list[Problem]:
    return [
        Problem(f"`{cell}` in column `{name}` is not a number", f"{path}:{number}", "features must be numeric")
        for row, (number, _) in zip(cells, lines, strict=True)
        for cell, name in zip(row, features, strict=True)
        if not _is_number(cell)
    ]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _labels(values: list[str], where: str) -> Array:
    missing = [i for i, v in enumerate(values) if not v]
    if missing:
        raise ConfigError(f"{len(missing)} labels are empty (first in row {missing[0]})", where=where)
    for kind in (np.int64, np.float64):
        try:
            return np.array(values, kind)
        except (ValueError, OverflowError):
            continue
    return np.array(values, str)


def _raise(problems: list[Problem]) -> None:
    if len(problems) > _SHOWN:
        more = Problem(f"and {len(problems) - _SHOWN} more like these")
        raise ConfigError.of([*problems[:_SHOWN], more])
    if problems:
        raise ConfigError.of(problems)

"""`.csv` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecompile.data.dataset import Dataset
from edgecompile.data.load import load_dataset
from edgecompile.errors import ConfigError
from edgecompile.recipe import DataSection

GOOD = "a,b,kind\n1,2.5,wet\n-3e2, 4,dry\n\n5,6,wet\n"


def load(tmp_path: Path, text: str | bytes, **section: str) -> Dataset:
    (tmp_path / "d.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_dataset("d.csv", DataSection(**section), base=tmp_path)  # type: ignore[arg-type]


def test_numbers_are_rows_and_the_last_column_is_the_label(tmp_path: Path) -> None:
    data = load(tmp_path, GOOD)
    x = data.inputs["*"]
    assert x.dtype == np.float32
    assert x.tolist() == [[1, 2.5], [-300, 4], [5, 6]]
    assert data.class_names == ("dry", "wet")
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 1]


def test_the_label_column_can_be_named(tmp_path: Path) -> None:
    data = load(tmp_path, "\ufeffkind,a,b\r\n2,1,2\r\n0,3,4\r\n", csv_label="kind")
    assert data.inputs["*"].tolist() == [[1, 2], [3, 4]]
    assert data.labels is not None
    assert (data.labels.dtype, data.labels.tolist()) == (np.int64, [2, 0])


def test_numbers_with_a_point_are_targets(tmp_path: Path) -> None:
    data = load(tmp_path, "a,y\n1,0.5\n2,1\n")
    assert data.labels is not None
    assert (data.labels.dtype, data.labels.tolist()) == (np.float64, [0.5, 1.0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rows"),
        ("a,b\n", "holds no rows"),
        ("a;b\n1;2\n", "has only one column, `a;b`"),
        ("0.5,1,0\n0.1,2,1\n", "d.csv:1: has no header: its first line holds numbers only"),
        ("a,a,y\n1,2,3\n", "the header has `a` twice"),
        ("a,y\n1,2\n3\n4,5,6\n", "d.csv:3: has 1 cells, and the header has 2"),
        ("a,y\n1,2\n3\n4,5,6\n", "d.csv:4: has 3 cells, and the header has 2"),
        ("a,b,y\nx,2,0\n1,,0\n", "d.csv:2: `x` in column `a` is not a number"),
        ("a,b,y\nx,2,0\n1,,0\n", "d.csv:3: `` in column `b` is not a number"),
        ("a,y\n1,2\n1,\n", "1 labels are empty (first in row 1)"),
        ("a,y\n1,-2\n1,3\n", "labels are negative in row 0"),
        (b"a,y\n\xff\xfe,2\n", "cannot be read"),
        ('a,y\n"1,2\n', "cannot be read"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)


def test_columns_may_have_the_numbers_that_pandas_gives(tmp_path: Path) -> None:
    assert len(load(tmp_path, "0,1,2\n0.5,1,0\n0.1,2,1\n")) == 2


def test_many_wrong_lines_are_summed_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "a,y\n" + "x,1\n" * 30)
    assert len(caught.value.problems) == 11
    assert caught.value.problems[-1].what == "and 20 more like these"


def test_an_unknown_label_column_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD, csv_label="kinds")
    assert "there is no column `kinds`" in str(caught.value)
    assert "did you mean `kind`?" in str(caught.value)

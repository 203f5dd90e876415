"""Data from a user's function, and how its faults are told."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgecompile.data.dataset import Dataset
from edgecompile.data.load import load_dataset
from edgecompile.errors import ConfigError
from edgecompile.recipe import DataSection, Preprocess


def load(base: Path, code: str, source: str = "my_data:rows", section: DataSection | None = None) -> Dataset:
    file = base / f"{source.partition(':')[0].replace('.', '/')}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("import numpy as np\n" + code)
    return load_dataset(source, section or DataSection(), base=base)


def failure(base: Path, code: str, source: str = "my_data:rows") -> str:
    with pytest.raises(ConfigError) as caught:
        load(base, code, source)
    return str(caught.value)


@pytest.mark.parametrize(
    "result",
    [
        "np.zeros((4, 2)), np.arange(4)",
        "[[0, 0]] * 4, [0, 1, 2, 3]",
        "{'x': np.zeros((4, 2)), 'y': np.arange(4)}, None",
        "{'x': np.zeros((4, 2)), 'labels': np.arange(4), 'groups': None}",
        "Dataset({'*': np.zeros((4, 2))}, np.arange(4))",
    ],
)
def test_what_a_function_may_return(tmp_path: Path, result: str) -> None:
    code = f"from edgecompile.data.dataset import Dataset\ndef rows():\n    return {result}\n"
    data = load(tmp_path, code)
    assert data.inputs["*"].shape == (4, 2)
    if "None" not in result.partition("}")[2]:
        assert data.labels is not None
        assert data.labels.tolist() == [0, 1, 2, 3]
    assert data.source == "my_data:rows"


def test_inputs_by_name_and_class_names(tmp_path: Path) -> None:
    code = (
        "from edgecompile.data.dataset import Dataset\n"
        "def rows():\n"
        "    x = np.ones((4, 2))\n"
        "    return Dataset({'a': x, 'b': x}, np.arange(4), np.array([1, 1, 2, 2]), ('p', 'q', 'r', 's'))\n"
    )
    section = DataSection(preprocess=Preprocess(scale=(2.0,)))
    data = load(tmp_path, code, section=section)
    assert data.batch("b").max() == 2.0
    assert data.class_names == ("p", "q", "r", "s")
    assert data.groups is not None


def test_packages_and_neighbours_are_found_from_the_recipes_folder(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("N = 3\n")
    code = "import neighbour\ndef rows():\n    import neighbour\n    return np.zeros((neighbour.N, 2))[:3], None\n"
    assert len(load(tmp_path, code, "pack.age.module:rows")) == 3
    assert str(tmp_path) not in sys.path


def test_two_projects_with_modules_of_one_name(tmp_path: Path) -> None:
    for n in (2, 5):
        assert len(load(tmp_path / str(n), f"def rows():\n    return np.zeros(({n}, 2)), None\n")) == n


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def rows():\n    return 1 / 0\n", "my_data.py:3: `my_data:rows` raised ZeroDivisionError: division by zero"),
        ("def rows():\n    np.load('gone.npy')\n", "my_data.py:3: `my_data:rows` raised FileNotFoundError"),
        ("def rows(:\n", "my_data.py:2: `my_data:rows` raised SyntaxError"),
        ("import not_there\n", "my_data.py:2: `my_data:rows` raised ModuleNotFoundError: No module named 'not_there'"),
        ("raise SystemExit\n", "my_data.py:2: `my_data:rows` raised SystemExit"),
        ("def rows(n):\n    return n\n", "`my_data:rows` raised TypeError: rows() missing 1 required positional"),
        ("def rows():\n    yield 1\n", "returned generator"),
        ("def rows():\n    return np.zeros(3), 1, 2\n", "returned tuple"),
        ("def rows():\n    return [[1], [1, 2]], [0, 1]\n", "`x` cannot be made an array"),
        ("def rows():\n    return np.zeros((3, 2)), np.arange(2)\n", "disagree in their number of rows"),
        ("def row():\n    pass\n", "`rows` does not exist in `my_data`"),
        ("def row():\n    pass\n", "did you mean `row`?"),
        ("rows = 3\n", "`rows` is not a function in `my_data`"),
    ],
)
def test_faults_are_the_users_with_file_and_line(tmp_path: Path, code: str, said: str) -> None:
    assert said in failure(tmp_path, code)


def test_a_missing_module_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "my_data.py").touch()
    with pytest.raises(ConfigError) as caught:
        load_dataset("my_dta:rows", DataSection(), base=tmp_path)
    assert "there is no module `my_dta`" in str(caught.value)
    assert "did you mean `my_data`?" in str(caught.value)
    with pytest.raises(ConfigError, match=r"there is no module `gone`"):
        load_dataset("gone.deeper:rows", DataSection(), base=tmp_path / "empty")


def test_names_of_loaded_packages_are_refused(tmp_path: Path) -> None:
    assert "the module name `json` is taken by a package that is already loaded" in failure(tmp_path, "", "json:rows")
    assert "`pytest` is taken" in failure(tmp_path, "", "pytest:rows")


def test_the_users_traceback_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "def rows():\n    raise KeyError('x')\n")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_function_that_gives_rows_without_labels(tmp_path: Path) -> None:
    data = load(tmp_path, "def rows():\n    return {'x': np.zeros((4, 2), np.uint8)}\n")
    assert data.labels is None
    assert np.array_equal(data.raw("*"), np.zeros((4, 2)))

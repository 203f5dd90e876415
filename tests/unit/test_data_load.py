"""Loading data: what every source gives, and what is said when it is wrong."""

from __future__ import annotations

import io
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile.data.dataset import Dataset
from edgecompile.data.load import check_source, load_dataset, source_digest
from edgecompile.errors import ConfigError
from edgecompile.recipe import DataSection, Preprocess, Quantized

X = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4)
Y = np.array([0, 1, 2, 0, 1, 2])


def save(path: Path, **arrays: Any) -> str:
    np.savez_compressed(path, **arrays)
    return path.name


def failure(tmp_path: Path, section: DataSection | None = None, **arrays: Any) -> str:
    """What the user reads when these arrays are loaded."""
    source = save(tmp_path / "d.npz", **arrays)
    with pytest.raises(ConfigError) as caught:
        load_dataset(source, section or DataSection(), base=tmp_path)
    return str(caught.value)


def load(tmp_path: Path, section: DataSection | None = None, **arrays: Any) -> Dataset:
    return load_dataset(save(tmp_path / "d.npz", **arrays), section or DataSection(), base=tmp_path)


# ---------------------------------------------------------------------------------------------------- arrays


def test_x_and_y_are_the_only_input_and_the_labels(tmp_path: Path) -> None:
    data = load(tmp_path, x=X, y=Y.astype(np.uint8))
    assert tuple(data.inputs) == ("*",)
    assert data.inputs["*"].dtype == np.uint8
    assert data.labels is not None
    assert (data.labels.dtype, data.labels.tolist()) == (np.int64, Y.tolist())
    assert data.source == "d.npz"


def test_inputs_by_name_with_labels_groups_and_class_names(tmp_path: Path) -> None:
    names = np.array(["a", "b", "c"])
    data = load(tmp_path, left=X, right=X * 2, labels=Y, groups=np.array(list("ppqqrr")), class_names=names)
    assert set(data.inputs) == {"left", "right"}
    assert data.groups is not None
    assert data.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.class_names == ("a", "b", "c")


def test_text_arrays_of_other_names_are_notes(tmp_path: Path) -> None:
    assert tuple(load(tmp_path, x=X, y=Y, names=np.array(["file"] * 6)).inputs) == ("*",)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (Y[:, None], Y),
        (np.eye(3)[Y], Y),
        (np.eye(3, dtype=bool)[Y], Y),
        (np.array([[0.0], [1.0], [1.0], [0.0], [1.0], [0.0]]), [0, 1, 1, 0, 1, 0]),
        (np.array([True, False, True, False, True, False]), [1, 0, 1, 0, 1, 0]),
        (np.array(["b", "a", "c", "b", "a", "c"]), [1, 0, 2, 1, 0, 2]),
    ],
    ids=["column", "one-hot", "one-hot bool", "float 0/1", "bool", "text"],
)
def test_labels_become_class_numbers(tmp_path: Path, y: np.ndarray, expected: Any) -> None:
    labels = load(tmp_path, x=X, y=y).labels
    assert labels is not None
    assert labels.dtype == np.int64
    assert labels.tolist() == list(expected)


def test_targets_of_a_regression_stay_what_they_are(tmp_path: Path) -> None:
    section = DataSection(metric="mae")
    for y in (np.eye(3, dtype=np.float32)[Y], np.array([0.0, 1, 0, 1, 0, 1]), np.array([-3, 2, 0, 1, 4, 5])):
        labels = load(tmp_path, section, x=X, y=y).labels
        assert labels is not None
        assert np.array_equal(labels, y)


def test_multi_label_rows_are_not_one_hot(tmp_path: Path) -> None:
    y = np.array([[1, 1, 0]] * 6)
    labels = load(tmp_path, x=X, y=y).labels
    assert labels is not None
    assert labels.shape == (6, 3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y": Y}, "there is no numeric array of rows; arrays: `y`"),
        ({"x": X, "y": Y[:4], "groups": Y[:5]}, "disagree in their number of rows: x 6, labels 4, groups 5"),
        ({"x": X[:0], "y": Y[:0]}, "there are no rows"),
        ({"x": X.astype(complex), "y": Y}, "`x` holds complex128, which is not numeric"),
        ({"x": np.float32(3)}, "`x` is a single number, not rows"),
        ({"x": np.zeros((6, 0))}, r"rows of `x` are empty"),
        ({"x": X, "y": Y, "labels": Y}, "there are both `y` and `labels`"),
        ({"x": X, "y": Y - 1}, "labels are negative in rows 0, 3 (smallest -1)"),
        ({"x": X, "y": np.array([0, 1, np.nan, 1, 0, 1])}, "labels are NaN or Inf in row 2"),
        ({"x": X, "y": Y, "class_names": np.array(["a", "b"])}, "labels go up to 2 in rows 2, 5, and there are 2"),
        ({"x": X, "y": Y, "class_names": Y}, "`class_names` must be a list of texts"),
        ({"x": X, "y": Y, "class_names": np.array(["a\nb", "c", "d"])}, "cannot be lines of a text file: 'a\\nb'"),
        ({"x": X, "y": np.array(["a", " b", "c"] * 2)}, "cannot be lines of a text file: ' b'"),
        ({"x": X, "y": Y, "class_names": np.array(["a", "b", "a"])}, "class names are there twice: `a`"),
        ({"x": X, "y": Y.astype("S")}, "labels hold bytes, which is neither numeric nor text"),
        ({"x": X, "y": (Y.astype(np.int64) - 1).astype(np.uint64)}, "labels do not fit int64 in rows 0, 3"),
        ({"x": X, "y": Y.astype("M8[s]")}, "labels hold datetime64[s], which is neither numeric nor text"),
        ({"x": X, "y": Y, "groups": X}, "`groups` must be one whole number or text per row; it is uint8 [6, 4]"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    assert said in failure(tmp_path, **arrays)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    section = DataSection(preprocess=Preprocess(mean=(1.0, 2.0, 3.0), resize=(8, 8)))
    said = failure(tmp_path, section, x=X, y=Y - 1, groups=X, class_names=Y)
    for part in ("negative", "`groups`", "`class_names`", "`mean` has 3 numbers", "not images"):
        assert part in said


@pytest.mark.parametrize(
    ("how", "x", "said"),
    [
        (Preprocess(scale=(1.0, 2.0)), X, "`scale` has 2 numbers, and the last axis of `x` has 4"),
        (Preprocess(resize=(2, 2)), X, "`resize` is set, and rows of `x` are 4, not images"),
        (Preprocess(quantized=Quantized(scale=0.5, zero_point=3)), X / 2, "`quantized` is set, and `x` holds float64"),
    ],
)
def test_preprocessing_that_cannot_be_applied(tmp_path: Path, how: Preprocess, x: np.ndarray, said: str) -> None:
    assert said in failure(tmp_path, DataSection(preprocess=how), x=x, y=Y)


def test_preprocessing_is_kept_per_input(tmp_path: Path) -> None:
    section = DataSection(preprocess=Preprocess(scale=0.5), inputs={"right": Preprocess(offset=1.0)})  # type: ignore[arg-type]
    data = load(tmp_path, section, left=X, right=X)
    assert np.array_equal(data.batch("left"), X.astype(np.float32) / 2)
    assert np.array_equal(data.batch("right"), X.astype(np.float32) + 1)


# ------------------------------------------------------------------------------------------------- labels file


def test_labels_file_names_the_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\ufeffzero\none\ntwo\n\n", "utf-8")
    section = DataSection(labels="labels.txt")
    assert load(tmp_path, section, x=X, y=Y).class_names == ("zero", "one", "two")
    data = load(tmp_path, section, x=X, y=np.array(["two", "one", "one", "two", "zero", "zero"]))
    assert data.labels is not None
    assert data.labels.tolist() == [2, 1, 1, 2, 0, 0]
    said = failure(tmp_path, section, x=X, y=np.array(["tow"] * 6))
    assert "the class `tow` is not in the labels file" in said
    assert "did you mean `two`?" in said
    assert "disagree" in failure(tmp_path, section, x=X, y=Y, class_names=np.array(["a", "b", "c"]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no class names"),
        (b"a\n\nb\n", "an empty line between names"),
        (b"a\nb\na\n", "the name `a` is there twice"),
        (b"\xff\xfe\x00", "cannot be read"),
        (None, "no such file"),
    ],
)
def test_wrong_labels_files(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
    assert said in failure(tmp_path, DataSection(labels="labels.txt"), x=X, y=Y)


# -------------------------------------------------------------------------------------------- files nobody vouches for


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    said = failure(tmp_path, x=np.array([[1], [1, 2]], dtype=object), y=np.arange(2))
    assert "d.npz: x: holds Python objects (a pickle)" in said


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    said = failure(tmp_path, x=np.zeros((100_000_000,), np.uint8))
    assert "decompression bomb, or constant data" in said
    assert "np.savez" in said


def test_declared_sizes_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecompile.data.npz.MAX_BYTES", 1000)

    assert "at most 1000 B are read" in failure(tmp_path, x=np.zeros(1100, np.uint8))


@pytest.mark.parametrize("cut", [0, 1, 10, 100, 200, 300])
def test_a_truncated_file(tmp_path: Path, cut: int) -> None:
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, x=X, y=Y)
    (tmp_path / "d.npz").write_bytes(whole.read_bytes()[:cut])
    with pytest.raises(ConfigError, match=r"is not an \.npz file, or is damaged"):
        load_dataset("d.npz", DataSection(), base=tmp_path)


def test_flipped_bits_end_in_an_error_or_the_same_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, x=rng.integers(0, 255, (6, 40), np.uint8), y=Y)
    content = whole.read_bytes()
    reference = load_dataset("whole.npz", DataSection(), base=tmp_path).sha256()
    said = []
    for position in rng.integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "d.npz").write_bytes(damaged)
        try:
            digest = load_dataset("d.npz", DataSection(), base=tmp_path).sha256()
        except ConfigError as error:
            said.append(error.problems[0].what)
            continue
        assert digest == reference
    assert len(said) > 100
    assert all(said)


def test_a_member_that_the_directory_lost(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "whole.npz", x=X, y=Y)
    damaged = bytearray((tmp_path / "whole.npz").read_bytes())
    first = damaged.index(b"PK\x01\x02")
    second = damaged.index(b"PK\x01\x02", first + 4)
    # The first entry's comment length (offset 32) swallows the second entry.
    damaged[first + 32 : first + 34] = (damaged.index(b"PK\x05\x06") - second).to_bytes(2, "little")
    (tmp_path / "d.npz").write_bytes(damaged)
    with pytest.raises(ConfigError, match="its directory lists 1 of 2 arrays"):
        load_dataset("d.npz", DataSection(), base=tmp_path)


def npy(header: bytes, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (b"no array", "is not an array"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }\n"), "its header promises"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 2), }\n"), "its header says shape (-2, 2)"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", b"\0" * 12), "its header promises 8 B"),
        (npy(b"__import__('os')\n"), "is not an array"),
        (npy(b"{'descr': '<f4'\n"), "is not an array"),
    ],
)
def test_members_that_lie(tmp_path: Path, member: bytes, said: str) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", member)
    with pytest.raises(ConfigError) as caught:
        load_dataset("d.npz", DataSection(), base=tmp_path)
    assert said in str(caught.value)


def test_an_archive_without_arrays(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w"):
        pass
    with pytest.raises(ConfigError, match="holds no arrays"):
        load_dataset("d.npz", DataSection(), base=tmp_path)


@pytest.mark.parametrize("name", ["d.npz", "d.csv"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(name)  # it exists, and opening it fails even for root
        with pytest.raises(ConfigError, match=r"cannot be read: "):
            load_dataset(name, DataSection(), base=tmp_path)
        with pytest.raises(ConfigError, match=r"cannot be read: "):
            source_digest(name, DataSection(), base=tmp_path)


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "d.npz").symlink_to(tmp_path / "d.npz")
    with pytest.raises(ConfigError, match="no such file"):
        load_dataset("d.npz", DataSection(), base=tmp_path)


def test_groups_may_be_a_column(tmp_path: Path) -> None:
    groups = load(tmp_path, x=X, groups=np.arange(6)[:, None] // 2).groups
    assert groups is not None
    assert groups.tolist() == [0, 0, 1, 1, 2, 2]


def test_fortran_order_and_old_headers(tmp_path: Path) -> None:
    x = np.asfortranarray(np.arange(24.0).reshape(6, 2, 2))
    assert np.array_equal(load(tmp_path, x=x).inputs["*"], x)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, X, version=(2, 0))
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", stream.getvalue())
    assert np.array_equal(load_dataset("d.npz", DataSection(), base=tmp_path).inputs["*"], X)


# --------------------------------------------------------------------------------------------------- which source


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("vall.npz", "did you mean `val.npz`?"),
        ("gone/val.npz", "there is no folder"),
        ("val.npy", "np.savez_compressed"),
        ("val.tfrecord", "`val.tfrecord` is not a data source"),
    ],
)
def test_sources_that_are_none(tmp_path: Path, source: str, said: str) -> None:
    for name in ("val.npz", "val.npy", "val.tfrecord"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError) as caught:
        check_source(source, base=tmp_path, key="data.validation")
    assert said in str(caught.value)
    assert caught.value.problems[0].where == f"data.validation = {source}"


# ---------------------------------------------------------------------------------------------------- digests


def digests(tmp_path: Path, change: Callable[[], object], source: str, section: DataSection) -> tuple[str, str]:
    before = source_digest(source, section, base=tmp_path)
    assert source_digest(source, section, base=tmp_path) == before
    change()
    return before, source_digest(source, section, base=tmp_path)


def test_digest_follows_content_and_section_but_not_the_gate(tmp_path: Path) -> None:
    source = save(tmp_path / "d.npz", x=X, y=Y)
    before, after = digests(tmp_path, lambda: save(tmp_path / "d.npz", x=X, y=Y[::-1]), source, DataSection())
    assert before != after
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    for other in (
        DataSection(preprocess=Preprocess(scale=(2.0,))),
        DataSection(labels="labels.txt"),
        DataSection(metric="mae"),
    ):
        assert source_digest(source, other, base=tmp_path) != after
    assert source_digest(source, DataSection(seed=3, output="logits"), base=tmp_path) == after


def test_digest_of_a_folder_follows_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "cat"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(b"1")
    before, after = digests(tmp_path, lambda: (folder / "1.png").rename(folder / "2.png"), "images", DataSection())
    assert before != after
    before, after = digests(tmp_path, lambda: (folder / "2.png").write_bytes(b"2"), "images", DataSection())
    assert before != after
    before, after = digests(tmp_path, lambda: (folder / ".DS_Store").write_bytes(b"2"), "images", DataSection())
    assert before == after


def test_digest_of_a_function_is_that_of_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows_for_digest.py"
    file.write_text(
        "import numpy as np\ndef rows():\n    return np.load('d.npy'), None\n".replace("d.npy", str(tmp_path / "d.npy"))
    )
    np.save(tmp_path / "d.npy", X)
    change = lambda: np.save(tmp_path / "d.npy", X + 1)  # noqa: E731
    before, after = digests(tmp_path, change, "rows_for_digest:rows", DataSection())
    assert before != after

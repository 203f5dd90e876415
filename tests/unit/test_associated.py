"""Files that a `.tflite` brings along: read, kept through rewrites, and used where they name classes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from metadata_files import AXIS_LABELS, SCORE_CALIBRATION, VALUE_LABELS, metadata, with_metadata
from nets import Net, written

import edgecompile
from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.intake import Intake
from edgecompile.passes.quantize import Quantize
from edgecompile.target import Scheme
from edgecompile.tflite import tflm
from edgecompile.tflite.associated import METADATA, AssociatedError, label_files, read_archive, read_lines, with_archive
from edgecompile.tflite.class_names import ClassNames, class_names
from edgecompile.tflite.edit import read_model, write_model
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.inline import inline

LABELS = {"labels.txt": b"cat\ndog\nbird\n\n"}
NAMES = ("cat", "dog", "bird")
LISTED = [("labels.txt", AXIS_LABELS, "en")]


def floats(outputs: int = 3) -> bytes:
    net = Net()
    x = net.flat(net.conv(net.input("x", [1, 4, 4, 3]), 8, 3, "relu"))
    return net.done({"y": net.softmax(net.dense(x, outputs))})


def told(folder: Path, content: bytes) -> ClassNames:
    path = written(content, folder)
    return class_names(path, read_graph(path))


@pytest.mark.parametrize("absolute", [False, True], ids=["by itself", "appended by zip"])
def test_names_come_from_the_archive(tmp_path: Path, absolute: bool) -> None:
    content = with_metadata(floats(), LISTED, files=LABELS, absolute=absolute)
    assert read_archive(content) == LABELS
    found = told(tmp_path, content)
    assert (found.names, found.output, found.axis) == (NAMES, 0, True)
    assert "`labels.txt` (en)" in found.findings[0].what


def test_the_first_of_several_files_counts_and_calibration_is_no_label_file(tmp_path: Path) -> None:
    listed = [("scores.csv", SCORE_CALIBRATION, ""), *LISTED, ("labels_de.txt", AXIS_LABELS, "de")]
    files = {"scores.csv": b"1,2,3\n", "labels_de.txt": b"Katze\nHund\nVogel\n", **LABELS}
    found = told(tmp_path, with_metadata(floats(), listed, files=files))
    assert found.names == NAMES
    assert "`labels_de.txt`" in found.findings[0].consequence


def test_names_of_numbers_in_an_output_need_not_be_as_many_as_its_values(tmp_path: Path) -> None:
    found = told(tmp_path, with_metadata(floats(10), [("labels.txt", VALUE_LABELS, "")], files=LABELS))
    assert (found.names, found.axis) == (NAMES, False)


@pytest.mark.parametrize(
    ("listed", "files", "why"),
    [
        (LISTED, {"other.txt": b"x"}, "names `labels.txt`, which the file does not hold"),
        (LISTED, {"labels.txt": b"a\nb\n"}, "it has 2 names, and output `y` has 3 values"),
        (LISTED, {"labels.txt": b"a\na\nb\n"}, "the name `a` is there twice"),
        (LISTED, {"labels.txt": b"a\n\nb\n"}, "cannot be a line of labels.txt"),
        (LISTED, {"labels.txt": b"\xff\xfe\x00"}, "cannot be read"),
        (LISTED, {"labels.txt": b"\n"}, "it is empty"),
    ],
)
def test_names_that_cannot_be_used_are_told(
    tmp_path: Path, listed: list[tuple[str, int, str]], files: dict[str, bytes], why: str
) -> None:
    found = told(tmp_path, with_metadata(floats(), listed, files=files))
    assert found.names == ()
    assert [f.severity for f in found.findings] == ["warning"]
    assert why in found.findings[0].what


def test_damaged_archives_are_told_and_left_out(tmp_path: Path) -> None:
    content = with_metadata(floats(), LISTED, files=LABELS)
    at = content.index(b"cat\n")
    for broken in (content[:at] + b"rat" + content[at + 3 :], content.replace(b"PK\x01\x02", b"XX\x01\x02")):
        with pytest.raises(AssociatedError):
            read_archive(broken)
        assert "cannot be read" in told(tmp_path, broken).findings[0].what
        assert read_archive(write_model(read_model(broken))) == {}
    assert read_archive(content[:-1]) == {}  # cut off: no archive any more
    assert "does not hold" in told(tmp_path, content[:-1]).findings[0].what


def test_an_archive_that_claims_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 27))
    with pytest.raises(AssociatedError, match="its files hold"):
        read_archive(floats() + path.read_bytes())


def test_damaged_metadata_is_told_at_every_byte() -> None:
    whole = metadata(LISTED, [("other.txt", VALUE_LABELS, "")])
    assert [(f.name, f.output) for f in label_files(np.frombuffer(whole, np.uint8))] == [
        ("labels.txt", 0), ("other.txt", 1)
    ]  # fmt: skip
    for at in range(len(whole)):
        for value in (0, 1, 127, 255):
            broken = np.frombuffer(whole, np.uint8).copy()
            broken[at] = value
            try:
                label_files(broken)
            except AssociatedError:
                continue
    for length in range(len(whole)):
        try:
            label_files(np.frombuffer(whole[:length], np.uint8))
        except AssociatedError:
            continue


def test_files_follow_every_rewrite_in_the_same_bytes() -> None:
    content = with_metadata(floats(), LISTED, files=LABELS, absolute=True)
    again = write_model(read_model(content))
    assert read_archive(again) == LABELS
    assert write_model(read_model(again)) == again
    assert inline(content) == content
    with zipfile.ZipFile(io.BytesIO(again)) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def taken(folder: Path, content: bytes, *, tflm: bool = False) -> Outcome:
    (folder / "taken").mkdir()
    source = Artifact.of(written(content, folder), Kind.TFLITE)
    return Intake(tflm=tflm).run(source, Context(out=folder / "taken", log=folder / "log"))


@pytest.mark.parametrize("scheme", ["int8", "float16", "dynamic", "float32"])
def test_files_and_metadata_are_kept_by_every_scheme(tmp_path: Path, scheme: Scheme) -> None:
    content = with_metadata(floats(), LISTED, files=LABELS)
    door = taken(tmp_path, content)
    assert "metadata-labels" in {f.rule for f in door.findings}
    (tmp_path / "out").mkdir()
    rows = Dataset(inputs={"x": np.random.default_rng(0).normal(size=(8, 4, 4, 3)).astype(np.float32)})
    ctx = Context(out=tmp_path / "out", calibration=rows, log=tmp_path / "log")
    made = Quantize(scheme=scheme).run(door.artifact, ctx).artifact.path
    assert read_archive(made.read_bytes()) == LABELS
    assert METADATA in read_graph(made).metadata
    assert class_names(made, read_graph(made)).names == NAMES


def test_microcontrollers_get_none_of_it_and_it_is_said(tmp_path: Path) -> None:
    door = taken(tmp_path, with_metadata(floats(), LISTED, files=LABELS), tflm=True)
    content = door.artifact.path.read_bytes()
    assert read_archive(content) == {}
    assert METADATA not in read_graph(door.artifact.path).metadata
    assert b"M001" not in content
    (left,) = [f for f in door.findings if f.rule == "metadata-left-out"]
    assert "labels.txt" in left.what


def test_rows_are_numbered_as_the_model_numbers_its_classes() -> None:
    x = np.zeros((3, 2), np.float32)
    folders = Dataset(inputs={"*": x}, labels=np.array([0, 1, 2]), class_names=("bird", "cat", "dog"))
    found = folders.numbered(NAMES)
    assert found.labels is not None
    assert found.labels.tolist() == [2, 0, 1]
    assert found.class_names == NAMES
    plain = Dataset(inputs={"*": x}, labels=np.array([0, 1, 2]))
    assert plain.numbered(NAMES).class_names == NAMES
    assert plain.numbered(NAMES[:2]) is plain
    others = Dataset(inputs={"*": x}, labels=np.array([0, 1, 1]), class_names=("cat", "horse"))
    assert others.numbered(NAMES) is others
    targets = Dataset(inputs={"*": x}, labels=np.zeros(3, np.float32))
    assert targets.numbered(NAMES) is targets


def test_lines_and_no_files() -> None:
    assert read_lines(b"\xef\xbb\xbfa \r\nb\r\n") == ("a", "b")
    assert with_archive(b"x", {}) == b"x"


@pytest.mark.skipif(not tflm.installed(), reason="TFLite Micro's interpreter is not installed")
def test_a_bundle_has_the_names_and_the_model_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    source = written(with_metadata(floats(), LISTED, files=LABELS), tmp_path, "m.tflite")
    rows = np.random.default_rng(0).normal(size=(40, 4, 4, 3)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)
    built = edgecompile.build_all(
        source, targets=["linux-x86_64", "nucleo-l4r5zi"], calibration=tmp_path / "rows.npz", out=tmp_path / "out"
    )
    for one, kept in zip(built, (LABELS, {}), strict=True):
        assert (one.path / "labels.txt").read_text("utf-8").split() == list(NAMES)
        for file in one.path.glob("*.tflite"):
            assert read_archive(file.read_bytes()) == kept

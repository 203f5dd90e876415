"""The content of .h5 files is checked before Keras opens them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile.errors import ModelError
from edgecompile.training.h5 import check_weights, read_header

h5py = pytest.importorskip("h5py", reason="the tensorflow extra is not installed")
pytestmark = pytest.mark.tf

DENSE = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {"name": "d"}}]}}


def h5_file(path: Path, config: object = DENSE, *, version: object = "2.15.0") -> Path:
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = config if isinstance(config, str | bytes) else json.dumps(config)
        if version is not None:
            file.attrs["keras_version"] = version
        file["model_weights/d/kernel"] = np.ones((3, 2), np.float32)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_header(path, allow_code=False)
    return str(caught.value)


@pytest.mark.parametrize("version", ["2.15.0", b"2.15.0"])
def test_header(tmp_path: Path, version: Any) -> None:
    header = read_header(h5_file(tmp_path / "m.h5", version=version), allow_code=False)
    assert header.version == "2.15.0"
    assert header.config == DENSE


def test_a_file_that_does_not_say_its_version_is_an_old_one(tmp_path: Path) -> None:
    assert read_header(h5_file(tmp_path / "m.h5", version=None), allow_code=False).version == "1"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "holds no model: it has weights only"),
        ("{broken", "its model config cannot be read"),
        ("[" * 100_000, "its model config cannot be read"),
        ("[1]", "does not hold an object"),
    ],
)
def test_no_config(tmp_path: Path, config: object, message: str) -> None:
    assert message in refusal(h5_file(tmp_path / "m.h5", config))


def test_code_is_refused_and_can_be_allowed(tmp_path: Path) -> None:
    layers = [{"class_name": "Lambda", "config": {"name": "double"}}]
    path = h5_file(tmp_path / "m.h5", {"class_name": "Sequential", "config": {"layers": layers}})
    assert "layer double: `Lambda` holds a Python function" in refusal(path)
    assert read_header(path, allow_code=True).config["class_name"] == "Sequential"


def test_links_to_other_files(tmp_path: Path) -> None:
    path = h5_file(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/d/bias"] = h5py.ExternalLink("/etc/passwd", "x")
    assert "`/model_weights/d/bias` is a link to the file `/etc/passwd`" in refusal(path)


def test_numbers_in_other_files(tmp_path: Path) -> None:
    path = h5_file(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("raw", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    assert "`/raw` keeps its numbers in another file" in refusal(path)


def test_numbers_of_a_virtual_dataset(tmp_path: Path) -> None:
    path = h5_file(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
        file.create_virtual_dataset("mapped", layout)
    assert "`/mapped` keeps its numbers in another file" in refusal(path)


def test_groups_that_hold_each_other(tmp_path: Path) -> None:
    path = h5_file(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/d/up"] = file["model_weights"]
        file["model_weights/d/soft"] = h5py.SoftLink("/nowhere")
    assert read_header(path, allow_code=False).version == "2.15.0"


def test_sizes_that_the_file_cannot_hold(tmp_path: Path) -> None:
    path = h5_file(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (1 << 20, 1 << 14), "f4", chunks=(1, 1024), compression="gzip")
    assert "is a bomb" in refusal(path)


def archive_with(weights: bytes, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.weights.h5", weights)
    return path


def test_weights_in_keras_archives_are_checked_too(tmp_path: Path) -> None:
    inner = h5_file(tmp_path / "inner.h5")
    check_weights(archive_with(inner.read_bytes(), tmp_path / "sound.keras"))
    with pytest.raises(ModelError, match=r"`model.weights.h5` in it is damaged"):
        check_weights(archive_with(inner.read_bytes()[:700], tmp_path / "cut.keras"))
    with h5py.File(inner, "a") as file:
        file["away"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(ModelError, match="`/away` is a link to the file `/etc/passwd`"):
        check_weights(archive_with(inner.read_bytes(), tmp_path / "linked.keras"))


def test_flipped_bytes_give_an_answer_or_an_error(tmp_path: Path) -> None:
    data = h5_file(tmp_path / "m.h5").read_bytes()
    path = tmp_path / "flipped.h5"
    refused = 0
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            read_header(path, allow_code=False)
        except ModelError:
            refused += 1
    assert refused > 20

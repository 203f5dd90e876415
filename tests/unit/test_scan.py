"""What a model file is and whether it may be loaded, without TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from saved_models import node, saved_model

from edgecompile.errors import ModelError
from edgecompile.training import archive
from edgecompile.training.scan import scan_source, source_format

DENSE = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {"name": "head", "units": 3, "activation": "relu"},
    "registered_name": None,
}


def model_config(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}


def keras_file(path: Path, config: object, *, weights: bytes = b"w" * 100, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        file.writestr("model.weights.h5", weights)
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def refusal(path: Path, *, allow_code: bool = False) -> str:
    with pytest.raises(ModelError) as caught:
        scan_source(path, allow_code=allow_code)
    return str(caught.value)


# ----------------------------------------------------------------------------------------------- what it is


def test_formats_by_content(tmp_path: Path) -> None:
    named = keras_file(tmp_path / "model.bin", model_config(DENSE))
    assert source_format(named) == "keras v3"
    flat = tmp_path / "model.dat"
    flat.write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    assert source_format(flat) == "tflite"
    hdf = tmp_path / "model"
    hdf.write_bytes(h5_header(version=0, length=96) + bytes(32))
    assert source_format(hdf) == "keras h5"
    assert source_format(saved_model(tmp_path / "saved", [node("x", "Placeholder")])) == "saved model"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.keras", None, "no such file"),
        ("empty.keras", b"", "is empty"),
        ("text.keras", b"not a model at all", "not a .keras file inside"),
        ("text.txt", b"not a model at all", "not a model that TensorFlow reads"),
        ("model.pkl", b"\x80\x04\x95xxxxxxxxxxxxx", "a pickle: opening it would run code"),
        ("model.onnx", b"\x08\x07\x12\x07pytorchxxx", "an ONNX model"),
        ("saved_model.pb", b"\x08\x01\x12\xff\xff", "give the folder that holds `saved_model.pb`"),
    ],
)
def test_not_a_model(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert message in refusal(path)


def test_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "model.keras").mkdir()
    assert "is a folder without a `saved_model.pb`" in refusal(tmp_path / "model.keras")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keras_file(tmp_path / "m.keras", model_config(DENSE))

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read: Permission denied" in refusal(path)


def test_scan_needs_neither_tensorflow_nor_h5py() -> None:
    code = (
        "import sys\n"
        "from edgecompile.training.scan import scan_source\n"
        "import edgecompile.passes.convert\n"
        "heavy = {'tensorflow', 'keras', 'tf_keras', 'h5py', 'ai_edge_litert'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ----------------------------------------------------------------------------------------------- .keras archives


def test_a_sound_file_passes(tmp_path: Path) -> None:
    scan_source(keras_file(tmp_path / "m.keras", model_config(DENSE)), allow_code=False)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_cut_off(tmp_path: Path, share: float) -> None:
    data = keras_file(tmp_path / "m.keras", model_config(DENSE)).read_bytes()
    (tmp_path / "cut.keras").write_bytes(data[: int(len(data) * share)])
    assert "damaged or cut off" in refusal(tmp_path / "cut.keras")


def test_every_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    """Checksums cover content; a flip in a field that nothing reads (times, versions) changes nothing."""
    data = keras_file(tmp_path / "m.keras", model_config(DENSE), weights=bytes(range(256))).read_bytes()
    path = tmp_path / "flipped.keras"
    refused = 0
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        try:
            scan_source(path, allow_code=False)
        except ModelError:
            refused += 1
    assert refused > 0.7 * len(data)


def test_a_flipped_weight_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", json.dumps(model_config(DENSE)))
        file.writestr("model.weights.h5", b"weights" * 50)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"weightsweights", b"weightsweighty", 1))
    assert "`model.weights.h5` fails its checksum" in refusal(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["archive/data.pkl", "archive/version"], "is a PyTorch file"),
        (["x.npy", "y.npy"], "is an .npz of arrays"),
        (["readme.txt"], "Keras did not write it"),
        (["config.json"], "Keras did not write it"),
    ],
)
def test_other_zip_files(tmp_path: Path, names: list[str], message: str) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "{}")
    assert message in refusal(path)


@pytest.mark.parametrize("name", ["../../evil.py", "/etc/evil", "..\\evil"])
def test_paths_that_leave_the_archive(tmp_path: Path, name: str) -> None:
    path = keras_file(tmp_path / "m.keras", model_config(DENSE), **{name: b"x"})
    assert "points outside the file" in refusal(path)


def test_one_name_twice(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "m.keras", model_config(DENSE))
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("config.json", "{}")
    assert "one name twice" in refusal(path)


def test_other_compression(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", "{}")
    assert "encrypted or packed in a way that Keras does not use" in refusal(path)


def test_zip_bomb(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "m.keras", model_config(DENSE), weights=bytes(80 * 1024 * 1024))
    assert path.stat().st_size < 200_000
    message = refusal(path, allow_code=True)
    assert "is a zip bomb" in message
    assert "would unpack to 83,8" in message


def test_declared_size_past_any_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keras_file(tmp_path / "m.keras", model_config(DENSE))
    monkeypatch.setattr(archive, "MAX_MODEL_BYTES", 100)
    assert "no model for a device does" in refusal(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"{not json", "`config.json` cannot be read"),
        (b"[1, 2]", "`config.json` does not hold an object"),
        (b"\xff\xfe\x00", "`config.json` cannot be read"),
        (b'{"a":' * 100_000, "`config.json` cannot be read"),
    ],
)
def test_config_that_is_none(tmp_path: Path, config: bytes, message: str) -> None:
    assert message in refusal(keras_file(tmp_path / "m.keras", config))


# ----------------------------------------------------------------------------------------------- SavedModel


def test_saver_ops_are_normal_where_only_the_saver_runs(tmp_path: Path) -> None:
    folder = saved_model(
        tmp_path / "m",
        [
            node("x", "Placeholder"),
            node("call", "StatefulPartitionedCall", ["x"], ["body"]),
            node("saver", "StatefulPartitionedCall", ["filename"], ["traced_save"]),
            node("filename", "Placeholder"),
        ],
        functions={
            "body": [node("y", "Relu", ["x"])],
            "traced_save": [node("w", "SaveV2"), node("s", "ShardedFilename")],
        },
        outputs=["call:0"],
    )
    scan_source(folder, allow_code=False)


@pytest.mark.parametrize(
    "op", ["ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "MatchingFiles", "PrintV2", "RpcCall"]
)
def test_ops_that_reach_out(tmp_path: Path, op: str) -> None:
    folder = saved_model(tmp_path / "m", [node("x", "Placeholder"), node("bad/one", op, ["x"])], outputs=["x:0"])
    message = refusal(folder)
    assert message.startswith(f"node bad/one: the op `{op}` touches files or runs code")
    assert "--allow-code" in message
    scan_source(folder, allow_code=True)


@pytest.mark.parametrize("way", ["signature", "control", "function", "as op", "method", "nested"])
def test_a_save_that_the_model_can_run_is_refused(tmp_path: Path, way: str) -> None:
    """Overwriting a file with SaveV2 is as bad as with WriteFile."""
    save = node("save", "SaveV2", ["x"])
    plain = node("out", "Identity", ["x"])
    nodes: dict[str, list[bytes]] = {
        "signature": [save],
        "control": [node("out", "Identity", ["x", "^save"]), save],
        "function": [node("out", "PartitionedCall", ["x"], ["body"])],
        "as op": [node("out", "body", ["x"])],
        "method": [plain],
        "nested": [node("out", "PartitionedCall", ["x"], ["outer"])],
    }
    folder = saved_model(
        tmp_path / "m",
        [node("x", "Placeholder"), *nodes[way]],
        functions={"body": [save], "outer": [node("inner", "While", [], ["other", "body"])], "other": []},
        outputs=["save:0" if way == "signature" else "out:0"],
        methods=["body"] if way == "method" else [],
    )
    assert "the op `SaveV2` touches files" in refusal(folder)


def test_two_nodes_of_one_name_both_count(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "m", [node("x", "Relu"), node("x", "ReadFile")], outputs=["x:0"])
    assert "ReadFile" in refusal(folder)


@pytest.mark.parametrize(
    "content", [b"", b"\x12\xff\x01abc", b"\x12\x05\x12\x03\x0a\x09z", b"\x0b\x0b\x0b", b"\x08\x01"]
)
def test_damaged_saved_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    assert "copy the whole folder again" in refusal(tmp_path)


def test_saved_model_past_2_gib(tmp_path: Path) -> None:
    file = tmp_path / "saved_model.pb"
    with file.open("wb") as sparse:
        sparse.truncate((1 << 31) + 1)
    assert "larger than a protocol buffer can be" in refusal(tmp_path)


def test_the_real_saved_model_passes(edgecompile_data: Path) -> None:
    scan_source(edgecompile_data / "kws" / "kws_ref_model", allow_code=False)


# ----------------------------------------------------------------------------------------------- .h5 headers


def h5_header(*, version: int, length: int, width: int = 8) -> bytes:
    """Return the first 64 bytes of an HDF5 file that says it is length bytes long."""
    addresses = bytes(8) + b"\xff" * 8 + length.to_bytes(8, "little")
    if version < 2:
        fixed = bytes([version, 0, 0, 0, 0, width, width, 0, 4, 0, 16, 0, 0, 0, 0, 0]) + (bytes(4) if version else b"")
    else:
        fixed = bytes([version, width, width, 0])
    return (b"\x89HDF\r\n\x1a\n" + fixed + addresses).ljust(64, b"\0")


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_h5_length(tmp_path: Path, version: int) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(h5_header(version=version, length=64))
    scan_source(path, allow_code=False)
    path.write_bytes(h5_header(version=version, length=1000))
    assert "is cut off: 64 of 1,000 bytes are there" in refusal(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (h5_header(version=9, length=64), "its HDF5 header is not one"),
        (h5_header(version=0, length=64)[:30], "its HDF5 header is not one"),
        (h5_header(version=0, length=64, width=4), "4-byte addresses"),
    ],
)
def test_damaged_h5_header(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.h5").write_bytes(content)
    assert message in refusal(tmp_path / "m.h5")


def test_the_real_h5_passes_and_its_half_does_not(edgecompile_data: Path, tmp_path: Path) -> None:
    real = edgecompile_data / "ic" / "pretrainedResnet.h5"
    scan_source(real, allow_code=False)
    (tmp_path / "half.h5").write_bytes(real.read_bytes()[:100_000])
    assert "is cut off: 100,000 of" in refusal(tmp_path / "half.h5")

"""Bad inputs: the documented exit code, what/where/hint, no traceback, nothing written."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import SAMPLES, Cli, command, environment

DATA = Path(__file__).parents[1] / "data"
SAMPLE = SAMPLES / "digits-cnn"

Make = Callable[[Path], list[str]]


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name: of the case.
        code: the exit code that the README documents.
        told: text that must be in the message.
        make: writes the bad files into a folder and returns the arguments of `build`.
    """

    name: str
    code: int
    told: str
    make: Make


def _good(folder: Path, *, model: Path = DATA / "image_float.tflite") -> list[str]:
    """Return arguments of a build that works, for a case to spoil."""
    rng = np.random.default_rng(0)
    shutil.copy(model, folder / model.name)
    x = rng.normal(size=(60, 6, 5, 2)).astype(np.float32)
    np.savez(folder / "val.npz", x=x, y=np.arange(60, dtype=np.int64) % 4)
    return [str(folder / model.name), "--target", "linux-x86_64", "--data", str(folder / "val.npz")]


def _model(change: Callable[[bytes], bytes], source: Path, name: str = "") -> Make:
    def make(folder: Path) -> list[str]:
        args = _good(folder)
        broken = folder / (name or source.name)
        broken.write_bytes(change(source.read_bytes()))
        return [str(broken), *args[1:]]

    return make


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    """Flip a bit in every 97th byte of the middle: nothing that a reader checks stays as it was."""
    changed = bytearray(content)
    for at in range(len(changed) // 4, 3 * len(changed) // 4, 97):
        changed[at] ^= 0x10
    return bytes(changed)


def _arrays(**changes: object) -> Make:
    """Return a case whose rows or labels are changed; None removes an array."""

    def make(folder: Path) -> list[str]:
        args = _good(folder)
        with np.load(folder / "val.npz") as held:
            arrays = dict(held)
        for name, change in changes.items():
            if change is None:
                arrays.pop(name)
            else:
                arrays[name] = change(arrays[name]) if callable(change) else np.asarray(change)
        np.savez(folder / "val.npz", **arrays)
        return args

    return make


def _args(*more: str, drop: tuple[str, ...] = ()) -> Make:
    def make(folder: Path) -> list[str]:
        args = _good(folder)
        for flag in drop:
            at = args.index(flag)
            del args[at : at + 2]
        return [*args, *(a.replace("{}", str(folder)) for a in more)]

    return make


def _file(name: str, content: bytes | str, *arguments: str) -> Make:
    """Return a case with one more file; `{}` in arguments is the folder."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return _args(*arguments)(folder)

    return make


def _nan(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[7, 3, 3, 1] = np.nan
    return x


def _nan_to_train(folder: Path) -> list[str]:
    args = _good(folder)
    with np.load(folder / "val.npz") as held:
        np.savez(folder / "train.npz", x=_nan(held["x"]), y=held["y"])
    return [*args, "--train", str(folder / "train.npz")]


def _bomb(folder: Path) -> list[str]:
    """Write a `.keras` of some kilobytes whose weights would unpack to 2 GB of zeros."""
    args = _good(folder)
    bomb = zipfile.ZipFile(folder / "bomb.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with zipfile.ZipFile(SAMPLE / "model.keras") as source, bomb as target:
        for name in source.namelist():
            if name != "model.weights.h5":
                target.writestr(name, source.read(name))
        with target.open("model.weights.h5", "w", force_zip64=True) as member:
            block = bytes(1 << 24)
            for _ in range(128):
                member.write(block)
    return [str(folder / "bomb.keras"), *args[1:]]


def _npz_bomb(folder: Path) -> list[str]:
    args = _good(folder)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (1 << 36,)})
    with zipfile.ZipFile(folder / "val.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(1 << 20))
    return args


def _keras(change: Callable[[dict[str, object]], None]) -> Make:
    """Return a case whose `.keras` has another config.json."""

    def make(folder: Path) -> list[str]:
        args = _good(folder)
        with zipfile.ZipFile(SAMPLE / "model.keras") as source, zipfile.ZipFile(folder / "m.keras", "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    change(config)
                    content = json.dumps(config).encode()
                target.writestr(name, content)
        return [str(folder / "m.keras"), *args[1:]]

    return make


def _as_lambda(config: dict[str, object]) -> None:
    layer = config["config"]["layers"][1]  # type: ignore[index]
    layer["class_name"] = "Lambda"
    layer["config"] = {"name": "boom", "function": {"class_name": "__lambda__", "config": {"code": "4wEAAA=="}}}


def _as_os_system(config: dict[str, object]) -> None:
    layer = config["config"]["layers"][1]  # type: ignore[index]
    layer.update(module="os", class_name="system", registered_name=None)


def _as_custom(config: dict[str, object]) -> None:
    layer = config["config"]["layers"][1]  # type: ignore[index]
    layer.update(module="my_layers", class_name="Fancy", registered_name="my>Fancy")


def _folder(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return [str(folder / "empty"), *_good(folder)[1:]]


def _read_only(folder: Path) -> list[str]:
    args = _good(folder)
    (folder / "out").write_text("I am a file", "utf-8")
    return args


def _pipe(folder: Path) -> list[str]:
    """Return a case whose model and data are pipes that nobody writes to: reading one would wait forever."""
    args = _good(folder)
    (folder / "val.npz").unlink()
    os.mkfifo(folder / "val.npz")
    os.mkfifo(folder / "pipe.tflite")
    return [str(folder / "pipe.tflite"), *args[1:]]


def _text(content: str) -> Callable[[bytes], bytes]:
    return lambda _: content.encode()


FLOAT = DATA / "image_float.tflite"
KERAS = SAMPLE / "model.keras"
CASES = (
    # the model
    Case("truncated tflite", 3, "", _model(_half, FLOAT)),
    Case("flipped tflite", 3, "", _model(_flipped, FLOAT)),
    Case("truncated keras", 3, "", _model(_half, KERAS)),
    Case("flipped keras", 3, "", _model(_flipped, KERAS)),
    Case("text as tflite", 3, "notes.tflite", _model(_text("hello"), FLOAT, "notes.tflite")),
    Case("empty file as keras", 3, "empty.keras", _model(_text(""), KERAS, "empty.keras")),
    Case("h5 magic and nothing else", 3, "", _model(lambda _: b"\x89HDF\r\n\x1a\n" + bytes(64), KERAS, "stub.h5")),
    Case("an empty folder", 3, "empty", _folder),
    Case("no such model", 3, "no such file", lambda folder: ["absent.keras", *_good(folder)[1:]]),
    Case("zip bomb as keras", 3, "", _bomb),
    Case("lambda layer", 3, "--allow-code", _keras(_as_lambda)),
    Case("a layer that is os.system", 3, "os", _keras(_as_os_system)),
    Case("custom layer", 3, "Fancy", _keras(_as_custom)),
    Case("pipes", 3, "data is read more than once", _pipe),
    Case("open dimensions", 2, "--shape", _model(lambda b: b, DATA / "series_open_time.tflite")),
    Case("a shape that contradicts the model", 2, "1×9×9×2", _args("--shape", "1,9,9,2")),
    Case("a shape of an input that is not there", 2, "imag", _args("--shape", "imag=1,6,5,2")),
    Case("a shape that is no shape", 2, "--shape", _args("--shape", "1,x,5,2")),
    # the data
    Case("no such data", 2, "nope.npz", _args("--data", "nope.npz", drop=("--data",))),
    Case("data of no known kind", 2, "data.bin", _file("data.bin", b"x", "--data", "{}/data.bin")),
    Case("truncated npz", 2, "", lambda f: (_args()(f), (f / "val.npz").write_bytes(_half((f / "val.npz").read_bytes())))[0]),
    Case("npz that would unpack to 64 GB", 2, "", _npz_bomb),
    Case("wrong shape", 2, "6×5×2", _arrays(x=lambda x: np.repeat(x, 2, axis=1))),
    Case("wrong number of channels", 2, "6×5×2", _arrays(x=lambda x: x[..., :1])),
    Case("text as rows", 2, "", _arrays(x=np.full((60, 6), "a"))),
    Case("pickled objects", 2, "", _arrays(x=np.array([{}] * 60, dtype=object))),
    Case("NaN", 2, "row 7 of 60", _arrays(x=_nan)),
    Case("NaN in training rows", 2, "training data train.npz", _nan_to_train),
    Case("no rows", 2, "", _arrays(x=lambda x: x[:0], y=lambda y: y[:0])),
    Case("fewer labels than rows", 2, "60", _arrays(y=lambda y: y[:10])),
    Case("a label beyond the classes", 2, "4", _arrays(y=lambda y: np.where(y == 3, 9, y))),
    Case("a negative label", 2, "-1", _arrays(y=lambda y: y - 1)),
    Case("a metric that needs labels and has none", 2, "label", lambda f: [*_arrays(y=None)(f), "--metric", "top1"]),
    Case("an input that the model does not have", 2, "image", _file("n.csv", "a,b,label\n1,2,0\n3,4,1\n", "--data", "{}/n.csv")),
    Case("csv with words for numbers", 2, "", _file("n.csv", "a,b,label\n1,two,0\n3,4,1\n", "--data", "{}/n.csv")),
    Case("a function that is not there", 2, "no_such_module", _args("--data", "no_such_module:rows")),
    Case("a function that raises", 2, "boom", _file("mine_bad.py", "def rows():\n    raise OSError('boom')\n", "--data", "mine_bad:rows")),
    # names, keys, numbers
    Case("unknown target", 2, "did you mean `coral`", _args("--target", "corall")),
    Case("no target", 2, "--target", _args(drop=("--target",))),
    Case("unknown recipe", 2, "did you mean `int8`", _args("--recipe", "int88")),
    Case("no such recipe file", 2, "mine.toml", _args("--recipe", "{}/mine.toml")),
    Case("recipe that is no TOML", 2, "r.toml", _file("r.toml", "a = = 1", "--recipe", "{}/r.toml")),
    Case("unknown pass", 2, "did you mean `quantize`", _file("r.toml", '[[passes]]\nname = "quantise"\n', "--recipe", "{}/r.toml")),
    Case("a pass outside `[[passes]]`", 2, "a pass is an entry `[[passes]]` with its `name",
         _file("r.toml", "[quantize]\nmode = 'int8'\n", "--recipe", "{}/r.toml")),
    Case("unknown key", 2, "did you mean `max_drop`", _file("r.toml", "[gate]\nmaxdrop = 1\n", "--recipe", "{}/r.toml")),
    Case("unknown field of a pass", 2, "did you mean", _file("r.toml", '[[passes]]\nname = "quantize"\nschem = "int8"\n', "--recipe", "{}/r.toml")),
    Case("unknown metric", 2, "did you mean `top1`", _args("--metric", "top11")),
    Case("a scheme that the target does not take", 2, "coral", _args("--target", "coral", "--recipe", "float16", drop=("--target",))),
    Case("a negative drop", 2, "max_drop", _args("--max-drop", "-1")),
    Case("a drop in percent", 2, "0.02", _args("--max-drop", "2", "--metric", "top1")),
    Case("a scale that is no number", 2, "scale", _args("--scale", "big")),
    Case("unknown option", 2, "--data", _args("--dta", "x")),
    Case("data that a script forgot to set", 2, "data.validation", _args("--data", "", drop=("--data",))),
    Case("a log that is a folder", 2, "--log", _args("--log", "{}")),
    Case("an output folder that is a file", 2, "out", _read_only),
)  # fmt: skip


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 30
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(case: Case, cli: Cli, tmp_path: Path) -> None:
    args = case.make(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    done = cli("build", *args, "--out", tmp_path / "out", "--json")
    assert done.returncode == case.code, done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == case.code
    assert all(p["what"] for p in error["problems"])
    assert all(p["where"] or p["hint"] for p in error["problems"]), error
    assert case.told in json.dumps(error, ensure_ascii=False)
    assert "Traceback" not in done.stdout + done.stderr
    assert "\n  File " not in done.stderr
    after = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if "__pycache__" not in p.parts}
    assert after == before, "something was written"


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file sizes makes every longer write fail as a full disk does."""
    args = _good(tmp_path)

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    done = subprocess.run(
        [sys.executable, "-c", _IGNORE_SIGNAL, *command("build", *args, "--out", tmp_path / "out")[3:]],
        env=environment(tmp_path / "cache"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small,
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out/*"))


_IGNORE_SIGNAL = (
    "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "from edgecompile.cli.entry import run; sys.exit(run(sys.argv[1:]))"
)

"""Nothing that lies in the working folder is imported: not by the command, and by none of the processes it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nets import Net, chain, written
from small_models import residual, stored

from edgecompile import tools
from edgecompile.tflite import tflm

COMMAND = Path(sys.executable).with_name("edgecompile")
THIRD_PARTY = (
    "numpy", "yaml", "PIL", "typer", "rich", "pydantic", "jinja2", "scipy", "flatbuffers", "ai_edge_litert",
    "litert_quantizer", "tensorflow", "keras", "tf_keras", "tflite_micro", "bitarray", "ethosu", "lxml", "six", "absl",
    "sitecustomize", "usercustomize",
)  # fmt: skip


def hostile(folder: Path, *names: str) -> None:
    """Fill folder with modules that leave a trace in it and fail."""
    for name in names:
        text = f"open({str(folder / 'ran.txt')!r}, 'a').write({name!r} + ' ')\nraise SystemExit('foreign code ran')\n"
        (folder / f"{name}.py").write_text(text, "utf-8")


def ran(folder: Path) -> str:
    trace = folder / "ran.txt"
    return trace.read_text("utf-8") if trace.exists() else ""


def run(folder: Path, argv: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        argv,
        cwd=folder,
        env={**clean, "EDGECOMPILE_CACHE": str(folder / "cache"), "CI": "true", "COLUMNS": "120", **env},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def convolutions(folder: Path) -> Path:
    net = Net()
    x = net.conv(net.input("x", [1, 6, 6, 3]), 8, 3, "relu")
    return written(net.done({"y": net.conv(x, 4)}), folder, "m.tflite")


def rows(folder: Path) -> Path:
    np.savez(folder / "rows.npz", x=np.random.default_rng(0).normal(size=(32, 6, 6, 3)).astype(np.float32))
    return folder / "rows.npz"


@pytest.mark.slow
@pytest.mark.skipif(not COMMAND.is_file(), reason="the command is not installed beside this Python")
@pytest.mark.parametrize("target", ["linux-x86_64", "nucleo-l4r5zi", "corstone-300-u55-128"])
def test_the_command_and_its_processes_take_nothing_from_there(tmp_path: Path, target: str) -> None:
    """Probe, TFLite Micro and Vela, in a folder with the names of the whole standard library."""
    if target != "linux-x86_64" and not tflm.installed():
        pytest.skip("TFLite Micro's interpreter is not installed")
    if target.startswith("corstone") and not COMMAND.with_name("vela").is_file():
        pytest.skip("Vela is not installed")
    hostile(tmp_path, *THIRD_PARTY, *(name for name in sys.stdlib_module_names if not name.startswith("_")))
    argv = [str(COMMAND), "build", str(convolutions(tmp_path)), "-t", target, "--calibration", str(rows(tmp_path))]
    done = run(tmp_path, argv)
    assert ran(tmp_path) == ""
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_runtime_quantizer_takes_nothing_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecompile.data.dataset import Dataset
    from edgecompile.tflite.engines import Settings, runtime_quantizer
    from edgecompile.tflite.graph import read_graph
    from edgecompile.tflite.ranges import Range

    source = written(chain("LEAKY_RELU"), tmp_path, "m.tflite")
    hostile(tmp_path, *THIRD_PARTY, "types", "json", "typing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    ranges = {t.name: Range(-4.0, 4.0) for t in read_graph(source).tensors if not t.constant}
    data = Dataset(inputs={"x": np.zeros((1, 6, 6, 3), np.float32)})
    assert runtime_quantizer(source, ranges, Settings(), rows=data, log=tmp_path / "log")[4:8] == b"TFL3"
    assert ran(tmp_path) == ""


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.skipif(not COMMAND.is_file(), reason="the command is not installed beside this Python")
def test_a_worker_takes_nothing_from_there(tmp_path: Path, lib: object) -> None:
    stored(residual(lib.tf_keras), tmp_path / "m.h5")  # type: ignore[attr-defined]
    hostile(tmp_path, *THIRD_PARTY, "types", "json", "typing", "copy", "inspect", "random")
    done = run(tmp_path, [str(COMMAND), "build", "m.h5", "-t", "linux-x86_64", "--recipe", "float32"])
    assert ran(tmp_path) == ""
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [None, f"{os.pathsep}/no-such-folder"])
@pytest.mark.parametrize("module", [True, False], ids=["python -m", "command"])
def test_other_ways_that_python_gets_there(tmp_path: Path, module: bool, path: str | None) -> None:
    """`python -m` and empty entries of PYTHONPATH put the working folder on Python's path."""
    if not module and not COMMAND.is_file():
        pytest.skip("the command is not installed beside this Python")
    hostile(tmp_path, *(name for name in THIRD_PARTY if "customize" not in name))
    argv = [sys.executable, "-m", "edgecompile"] if module else [str(COMMAND)]
    env = {} if path is None else {"PYTHONPATH": path}
    done = run(tmp_path, [*argv, "build", str(convolutions(tmp_path)), "-t", "linux-x86_64", "--dry-run"], **env)
    assert ran(tmp_path) == ""
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_pythonpath_names_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    assert str(tmp_path) not in tools.search_path()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert tools.search_path()[0] == str(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    code = "import os, sys; print(os.environ['PYTHONPATH'], os.environ['PYTHONSAFEPATH'])"
    said = tools.run([sys.executable, "-c", code], timeout_s=60, log=tmp_path / "log", install="")
    assert said.split() == ["1"]


@pytest.mark.slow
@pytest.mark.skipif(not COMMAND.is_file(), reason="the command is not installed beside this Python")
def test_data_and_metric_by_function_are_found_in_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def rows():\n    x = np.random.default_rng(0).normal(size=(40, 6, 6, 3)).astype(np.float32)\n"
        "    return x, np.zeros((40, 6, 6, 4), np.float32)\n"
        "def error(labels, outputs):\n    return float(np.abs(labels - outputs).mean())\n",
        "utf-8",
    )
    source = str(convolutions(tmp_path))
    argv = [str(COMMAND), "build", source, "-t", "linux-x86_64", "--data", "mine:rows", "--metric", "mine:error"]
    done = run(tmp_path, argv)
    assert "there is no module" not in done.stdout + done.stderr
    assert done.returncode in (0, 1), done.stdout + done.stderr

"""Probing in a process of its own: whatever a file does to LiteRT, the caller gets an answer or an error."""

from __future__ import annotations

import contextlib
import json
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecompile.errors import ModelError
from edgecompile.tflite import probe
from edgecompile.tflite.edit import Model, read_model, write_model
from edgecompile.tflite.interpreter import KERNELS
from edgecompile.tflite.probe import ensure_runs

DATA = Path(__file__).parent.parent / "data"
IMAGE, INT8, TWO = DATA / "image_float.tflite", DATA / "image_int8.tflite", DATA / "two_inputs.tflite"


def edited(tmp_path: Path, path: Path, change: object) -> Path:
    model: Model = read_model(path)
    change(model)  # type: ignore[operator]
    made = tmp_path / "edited.tflite"
    made.write_bytes(write_model(model))
    return made


def refused(path: Path, log: Path, **more: object) -> str:
    with pytest.raises(ModelError) as caught:
        ensure_runs(path, log=log, **more)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "probe.log"


@pytest.mark.parametrize("path", sorted(DATA.glob("*.tflite")), ids=lambda p: p.stem)
def test_fixtures_run_on_every_kernel_set(path: Path, log: Path) -> None:
    assert ensure_runs(path, log=log) == KERNELS


def test_the_order_asked_for_is_the_order_given(log: Path) -> None:
    assert ensure_runs(INT8, log=log, kernels=("reference", "xnnpack")) == ("reference", "xnnpack")
    assert ensure_runs(INT8, log=log, kernels=["builtin"]) == ("builtin",)


def test_nothing_reaches_the_terminal(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ensure_runs(IMAGE, log=log, kernels=("xnnpack",))
    assert capfd.readouterr() == ("", "")
    assert "XNNPACK" in log.read_text("utf-8")


def test_a_damaged_file_starts_no_process(tmp_path: Path, log: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(IMAGE.read_bytes()[:100])
    assert "damaged .tflite file" in refused(path, log)
    assert not log.exists()


@pytest.mark.parametrize(("op", "says"), [("edgetpu-custom-op", "the Edge TPU"), ("FlexErf", "Flex delegate")])
def test_ops_of_other_runtimes_start_no_process(tmp_path: Path, log: Path, op: str, says: str) -> None:
    def custom(model: Model) -> None:
        code = model.operatorCodes[model.subgraphs[0].operators[3].opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = op.encode()

    assert says in refused(edited(tmp_path, IMAGE, custom), log)
    assert not log.exists()


def test_a_refusal_names_op_and_reason(tmp_path: Path, log: Path) -> None:
    def wrong_bias(model: Model) -> None:
        op = model.subgraphs[0].operators[2]
        op.inputs = op.inputs[[0, 1, 0]]

    text = refused(edited(tmp_path, IMAGE, wrong_bias), log, kernels=("builtin",))
    assert "op 2 `FULLY_CONNECTED`: LiteRT's builtin kernels refuse the model: " in text
    assert "no kernel set of LiteRT takes this FULLY_CONNECTED" in text


def test_a_failing_run_is_a_refusal(tmp_path: Path, log: Path) -> None:
    def far(model: Model) -> None:
        """Look up a constant position that the table does not have."""
        main = model.subgraphs[0]
        gather = next(op for op in main.operators if isinstance(op.builtinOptions, schema.GatherOptionsT))
        table = main.tensors[gather.inputs[0]]
        table.shape = table.shape.copy()
        table.shape[0] = 0
        model.buffers[table.buffer].data = None

    text = refused(edited(tmp_path, TWO, far), log, kernels=("builtin", "reference"))
    assert "`GATHER`" in text


def program(tmp_path: Path, body: str) -> str:
    """Return a program that stands for Python in the child process."""
    path = tmp_path / "python"
    path.write_text(
        f"#!{sys.executable}\nimport json, os, signal, sys, time\nkernels = sys.argv[4:]\n{body}\n", "utf-8"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


SAY = "print('@edgecompile-probe ' + json.dumps([{}, {}]), flush=True)"


def test_a_crash_is_laid_to_the_kernels_that_crash(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = "if 'builtin' in kernels: os.kill(os.getpid(), signal.SIGSEGV)\n"
    body = f"for k in kernels:\n    {SAY.format('k', 'None')}\n{crash}"
    monkeypatch.setattr(sys, "executable", program(tmp_path, body))
    assert ensure_runs(IMAGE, log=log) == ("xnnpack", "reference")
    text = refused(IMAGE, log, kernels=("builtin",))
    assert "a process that runs the model on LiteRT's builtin kernels was ended by SIGSEGV (log: " in text
    assert "other kernels take the model: xnnpack, reference" in text


def test_a_refusal_names_the_kernels_that_run(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "'a.cc:1 bad Node number 3 (ADD) failed to prepare.' if k == 'xnnpack' else None"
    monkeypatch.setattr(sys, "executable", program(tmp_path, f"for k in kernels:\n    {SAY.format('k', message)}"))
    assert ensure_runs(IMAGE, log=log) == ("builtin", "reference")
    text = refused(IMAGE, log, kernels=("xnnpack",))
    assert "op 3 `ADD`: LiteRT's xnnpack kernels refuse the model: bad" in text
    assert "other kernels take the model: builtin, reference" in text


def test_no_answer_in_time(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path, "time.sleep(60)"))
    began = time.monotonic()
    text = refused(IMAGE, log, kernels=("builtin",), timeout_s=0.3)
    assert "builtin kernels gave no answer in 0.3 s and was stopped" in text
    assert time.monotonic() - began < 20


def test_no_verdict(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path, "print('something else')"))
    assert "LiteRT's builtin kernels refuse the model: no verdict" in refused(IMAGE, log, kernels=("builtin",))


def test_the_child_says_when_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def short(path: Path, kernels: str) -> None:
        raise MemoryError

    monkeypatch.setattr(probe, "_run_once", short)
    monkeypatch.setattr(probe, "_limit_memory", lambda: None)
    probe.main(["x.tflite", "builtin"])
    verdict = json.loads(capsys.readouterr().out.removeprefix("@edgecompile-probe "))
    assert verdict == ["builtin", "it needs more memory than this machine has"]


def test_the_child_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgecompile.tflite.probe", str(IMAGE), "builtin", "reference"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == '@edgecompile-probe ["builtin", null]\n@edgecompile-probe ["reference", null]\n'


def test_a_shape_beyond_the_machine_fails_at_once(tmp_path: Path, log: Path) -> None:
    def huge(model: Model) -> None:
        main = model.subgraphs[0]
        main.tensors[main.inputs[0]].shape = main.tensors[main.inputs[0]].shape * 0 + [200_000, 60, 50, 2]

    began = time.monotonic()
    text = refused(edited(tmp_path, IMAGE, huge), log, kernels=("builtin",))
    assert "LiteRT's builtin kernels" in text
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_flipped_bits_never_reach_the_caller(tmp_path: Path, log: Path) -> None:
    chance = random.Random(5)
    path = tmp_path / "flipped.tflite"
    for fixture in (INT8, TWO, DATA / "loop.tflite", DATA / "lstm.tflite"):
        for _ in range(10):
            content = bytearray(fixture.read_bytes())
            for _ in range(chance.choice([1, 2, 8])):
                content[chance.randrange(8, len(content))] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
            with contextlib.suppress(ModelError):
                assert ensure_runs(path, log=log, kernels=("builtin",), timeout_s=30) == ("builtin",)


def test_a_real_model_that_crashes_litert_now_and_then_is_not_tried(edgecompile_data: Path, log: Path) -> None:
    """Its SVDF layers have int8 states; what LiteRT writes beyond them ends the process or does not."""
    text = refused(edgecompile_data / "micro/keyword_scrambled_8bit.tflite", log, kernels=("builtin",))
    assert "op 1 `SVDF`: LiteRT has no SVDF with an int8 state, and would write beyond it" in text
    assert "made for TFLite Micro" in text


def test_real_models_that_load_and_cannot_run(edgecompile_data: Path, log: Path) -> None:
    assert "LiteRT has no custom op `fake-op-double`" in refused(
        edgecompile_data / "edgetpu/model_invoking_error.tflite", log
    )
    assert "already compiled for the Edge TPU" in refused(edgecompile_data / "edgetpu/split_concat_edgetpu.tflite", log)
    assert "quantized_dimension must be in range" in refused(edgecompile_data / "micro/person_detect.tflite", log)

"""`edgecompile build … --target coral` as users run it: options that become flags, failing compilers, the bundle."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flat_models import FlatModel

from edgecompile.backends.edgetpu.log import parse_log
from edgecompile.cli.entry import run
from edgecompile.tflite.cut import cut_ops
from edgecompile.tflite.graph import read_graph

MODEL = Path(__file__).parents[1] / "data" / "image_int8.tflite"

HEAD = r"""
echo x >> "$0.runs"
printf '%s\n' "$*" >> "$0.argv"
answer() {
  cp "./$1.tflite" "./$1_edgetpu.tflite"
  printf 'Edge TPU Compiler version 16.0.384591198\n'
}
"""
TABLE = r"""
table() { printf '%-31s1          %s\n' CONV_2D "$1" RESHAPE "$1" FULLY_CONNECTED "$1" SOFTMAX "$1"; }
"""

Compiler = Callable[[str], Path]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with an int8 model, rows and labels; no compiler."""
    shutil.copy(MODEL, tmp_path / "net.tflite")
    shutil.copy(MODEL, tmp_path / "other.tflite")
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    np.savez(tmp_path / "val.npz", x=np.random.default_rng(0).normal(size=(20, 6, 5, 2)), y=np.arange(20) % 4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(cache))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """Puts a shell script of that text into EDGETPU_COMPILER."""

    def put(text: str) -> Path:
        file = tmp_path / "edgetpu_compiler"
        file.write_text(f"#!/bin/bash\n{HEAD}{TABLE}\n{text}\n")
        file.chmod(0o755)
        monkeypatch.setenv("EDGETPU_COMPILER", str(file))
        return file

    return put


def build(*argv: str, code: int = 0) -> Path:
    """Build net.tflite for coral; return the bundle."""
    data = ("--data", "val.npz", "--labels", "labels.txt", "--max-drop", "1", "--allow-chance")  # labels mean nothing
    assert run(["build", "net.tflite", "-t", "coral", *data, *argv]) == code
    return Path("out/net-coral")


def report(bundle: Path) -> dict[str, object]:
    found = json.loads((bundle / "report.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def runs(compiler: Path) -> int:
    return len(compiler.with_name("edgetpu_compiler.runs").read_text().split())


def test_the_compiler_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bundle = build()
    out, _ = capfd.readouterr()
    assert out.splitlines()[0].startswith("coral: not compiled for the Edge TPU: edgetpu_compiler not found")
    said = report(bundle)["headline"]
    assert isinstance(said, list)
    assert said[0].startswith("not compiled for the Edge TPU: edgetpu_compiler not found; 4 of 4 ops expected")
    assert run(["build", "net.tflite", "-t", "coral", "--out", "unmeasured"]) == 0
    first = capfd.readouterr().out.splitlines()[0]
    assert first.startswith("coral: accuracy was not measured")
    assert "not compiled for the Edge TPU: edgetpu_compiler not found" in first
    files = sorted(f.name for f in bundle.iterdir())
    assert files == [
        "README.md", "golden.json", "golden.npz", "io.json", "labels.txt", "manifest.json", "net.tflite",
        "net_edgetpu_expected.log", "report.html", "report.json", "run.py",
    ]  # fmt: skip
    expected = parse_log((bundle / "net_edgetpu_expected.log").read_text("utf-8"))
    assert (expected.ops, expected.ops_on_tpu, expected.subgraphs) == (4, 4, 1)


def test_the_compiler_there(compiler: Compiler, tmp_path: Path) -> None:
    compiler("answer net; table 'Mapped to Edge TPU' | tee net_edgetpu.log")
    bundle = build()
    files = {f.name for f in bundle.iterdir()}
    assert {"net.tflite", "net_edgetpu.tflite", "net_edgetpu.log", "labels.txt", "run.py"} <= files
    assert "net_edgetpu_expected.log" not in files
    io = json.loads((bundle / "io.json").read_text("utf-8"))
    assert (io["model"], io["device_model"], io["device_chain"]) == ("net.tflite", "net_edgetpu.tflite", [])
    page = (bundle / "README.md").read_text("utf-8")
    assert "python run.py --delegate libedgetpu.so.1" in page
    backend = report(bundle)["backend"]
    assert isinstance(backend, dict)
    assert backend["edgetpu_compiler"]["as_expected"] is True


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (["several_subgraphs"], "-s -a"),
        (["min_runtime_version=13"], "-s -m 13"),
        (["coral.search_delegate=true", "coral.delegate_search_step=10"], "-s -d -k 10"),
    ],
)
def test_options_reach_the_compiler(options: list[str], flags: str, compiler: Compiler, tmp_path: Path) -> None:
    compiler("answer net")
    build(*(word for option in options for word in ("--option", option)))
    assert (tmp_path / "edgetpu_compiler.argv").read_text() == f"{flags} -o . ./net.tflite\n"


def test_a_recipe_has_the_same_options(compiler: Compiler, tmp_path: Path) -> None:
    compiler("answer net")
    (tmp_path / "edgecompile.toml").write_text(
        '[model]\npath = "net.tflite"\n[build]\ntargets = ["coral"]\n'
        "[build.option.coral]\nseveral_subgraphs = true\nmin_runtime_version = 13\n"
    )
    assert run(["build"]) == 0
    assert (tmp_path / "edgetpu_compiler.argv").read_text() == "-s -a -m 13 -o . ./net.tflite\n"
    fit = next(s for s in report(Path("out/net-coral"))["steps"] if s["name"] == "edgetpu-fit")  # type: ignore[attr-defined]
    assert fit["fields"] == {"several_subgraphs": True, "min_runtime_version": 13}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("several_subgraph=true", "no target of this build has the option `several_subgraph`"),
        ("coral.several_subgraph=true", "did you mean `several_subgraphs`?"),
        ("corral.several_subgraphs=true", "unknown target `corral`"),
        ("segments=1", "greater than or equal to 2"),
        ("min_runtime_version=new", "`min_runtime_version`: "),
        ("delegate_search_step=4", "`search_delegate = true` only"),
        ('compile_with=["absent.tflite"]', "no such file: absent.tflite"),
        (".segments=2", "give KEY=VALUE or TARGET.KEY=VALUE"),
    ],
)
def test_options_that_cannot_be(option: str, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    build("--option", option, code=2)
    assert told in capfd.readouterr().err
    assert not Path("out").exists()


def test_a_field_that_belongs_to_the_target_is_refused_in_the_pass(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.toml").write_text('[[passes]]\nname = "edgetpu-fit"\nseveral_subgraphs = true\n')
    build("--recipe", "r.toml", code=2)
    assert "`several_subgraphs` belongs to the target" in capfd.readouterr().err


TOGETHER = """
for name in net other; do
  answer $name
  printf '\\nInput model: ./%s.tflite\\n' $name
  printf 'On-chip memory used for caching model parameters: 5.00KiB\\n'
  printf 'Off-chip memory used for streaming uncached model parameters: 0.00B\\n'
  table 'Mapped to Edge TPU'
done
"""


def test_models_that_share_one_edge_tpu(compiler: Compiler, tmp_path: Path) -> None:
    compiler(TOGETHER)
    bundle = build("-O", 'compile_with=["other.tflite"]')
    assert (tmp_path / "edgetpu_compiler.argv").read_text() == "-s -o . ./net.tflite ./other.tflite\n"
    assert (bundle / "other_edgetpu.tflite").is_file()
    assert "compiled together with the model, for the same Edge TPU" in (bundle / "README.md").read_text("utf-8")
    backend = report(bundle)["backend"]
    assert isinstance(backend, dict)
    assert [(r["priority"], r["model"], r["compiler_cached"]) for r in backend["edgetpu_shared"]] == [
        (1, "net", 5120),
        (2, "other", 5120),
    ]
    (size,) = backend["edgetpu_unexpected"]
    assert size["status"] == "bytes of parameters kept on the chip", "1.5 KiB and not 5, whatever the script says"


def test_another_model_to_share_with_builds_anew(compiler: Compiler, tmp_path: Path) -> None:
    file = compiler(TOGETHER)
    build("-O", 'compile_with=["other.tflite"]')
    build("-O", 'compile_with=["other.tflite"]')
    assert runs(file) == 1
    (tmp_path / "other.tflite").write_bytes(cut_ops(MODEL, 0, 2))
    build("-O", 'compile_with=["other.tflite"]')
    assert runs(file) == 2


DELEGATE = """
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
typedef struct Delegate {
  void *data;
  int (*prepare)(void *, struct Delegate *);
  void *unused[3];
  int64_t flags;
  void *builder;
} Delegate;
static int prepare(void *context, Delegate *self) { return context == NULL || self == NULL; }
Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  (void)keys; (void)values; (void)count; (void)report;
  Delegate *made = calloc(1, sizeof *made);
  made->prepare = prepare;
  return made;
}
void tflite_plugin_destroy_delegate(Delegate *made) { free(made); }
"""
"""A delegate that takes no op: it stands for libedgetpu.so.1 where none is installed."""


@pytest.fixture(scope="module")
def delegate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delegate library that loads and takes nothing."""
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("no C compiler: apt-get install gcc")
    folder = tmp_path_factory.mktemp("delegate")
    (folder / "plain.c").write_text(DELEGATE)
    subprocess.run([cc, "-shared", "-fPIC", str(folder / "plain.c"), "-o", str(folder / "libplain.so")], check=True)
    return folder / "libplain.so"


def answers(bundle: Path, rows: Path, delegate: Path) -> list[str]:
    """Return what the bundle's program prints of rows, without and with the delegate."""
    return [
        subprocess.run(
            [sys.executable, str(bundle / "run.py"), *argv, str(rows)], capture_output=True, text=True, check=True
        ).stdout
        for argv in ([], ["--delegate", str(delegate)])
    ]


def test_a_model_cut_for_several_edge_tpus_runs_segment_by_segment(
    compiler: Compiler, tmp_path: Path, delegate: Path
) -> None:
    for number, ops in enumerate([(0, 1), (2, 3)]):
        (tmp_path / f"part{number}").write_bytes(cut_ops(MODEL, *ops))
    compiler(
        f"for n in 0 1; do cp {tmp_path}/part$n net_segment_${{n}}_of_2_edgetpu.tflite\n"
        "printf '\\nInput model: net_segment_%s_of_2.tflite\\n' $n\n"
        "printf 'On-chip memory used for caching model parameters: 1.00KiB\\n'\n"
        "[ $n = 0 ] && printf 'CONV_2D 1 Mapped to Edge TPU\\nRESHAPE 1 Mapped to Edge TPU\\n'\n"
        "[ $n = 1 ] && printf 'FULLY_CONNECTED 1 Mapped to Edge TPU\\nSOFTMAX 1 Mapped to Edge TPU\\n'\n"
        "done"
    )
    bundle = build("-O", "segments=2")
    assert (tmp_path / "edgetpu_compiler.argv").read_text() == "-s -n 2 -o . ./net.tflite\n"
    names = [f"net_segment_{n}_of_2_edgetpu.tflite" for n in (0, 1)]
    assert json.loads((bundle / "io.json").read_text("utf-8"))["device_chain"] == names
    said = report(bundle)
    backend = said["backend"]
    assert isinstance(backend, dict)
    assert [row["parameter_bytes_cached"] for row in backend["edgetpu_segments"]] == [1024, 1024]
    assert backend["edgetpu_compiler"]["parameter_bytes_cached"] == 2048
    assert backend["edgetpu_compiler"]["as_expected"] is True
    assert str(said["compiled"]).endswith("4 of 4 ops on the Edge TPU")
    np.save(tmp_path / "in.npy", np.load(tmp_path / "val.npz")["x"][:3])
    alone, chained = answers(bundle, tmp_path / "in.npy", delegate)
    assert len(alone.splitlines()) == 3
    assert alone == chained


def tailed() -> bytes:
    """Return a model of two inputs whose last ops the compiler cannot read; its outputs come from both halves."""
    model = FlatModel()
    first, second = model.input((1, 4, 4, 2)), model.input((1, 4, 4, 2))
    joined = model.op("ADD", [model.convolution(second, 2), model.convolution(first, 2)], [model.tensor((1, 4, 4, 2))])
    wide = model.convolution(joined, 3)
    rounded = model.tensor((1, 4, 4, 2))
    model.op("GELU", [joined], [rounded], options=schema.GeluOptionsT())
    mixed = model.tensor((1, 4, 4, 2))
    model.op("MAXIMUM", [rounded, first], [mixed], options=schema.MaximumMinimumOptionsT())
    return model.finish(mixed, wide)


def test_what_the_compiler_cannot_read_is_cut_off_and_runs_behind(
    compiler: Compiler, tmp_path: Path, delegate: Path
) -> None:
    (tmp_path / "net.tflite").write_bytes(tailed())
    compiler("answer net")
    assert run(["build", "net.tflite", "-t", "coral"]) == 0
    bundle = tmp_path / "out" / "net-coral"
    head, tail = (read_graph(bundle / f"net_{half}.tflite") for half in ("edgetpu", "tail"))
    assert [op.name for op in head.ops] == ["CONV_2D", "CONV_2D", "ADD", "CONV_2D"]
    assert [op.name for op in tail.ops] == ["GELU", "MAXIMUM"]
    said = report(bundle)
    assert str(said["compiled"]).endswith("2 behind them cut off for the CPU")
    (found,) = [f for f in said["findings"] if f["rule"] == "edgetpu-readable"]  # type: ignore[attr-defined]
    assert found["severity"] == "warning"
    assert "the model is cut before it" in found["consequence"]
    rows = np.random.default_rng(3).normal(size=(2, 3, 4, 4, 2))
    names = [i["name"] for i in json.loads((bundle / "io.json").read_text("utf-8"))["inputs"]]
    np.savez(tmp_path / "in.npz", **dict(zip(names, rows, strict=True)))
    whole, chained = answers(bundle, tmp_path / "in.npz", delegate)
    assert whole
    assert whole == chained


def test_a_tail_that_the_cpu_runs_anyway_is_cut_off_on_request(
    compiler: Compiler, tmp_path: Path, delegate: Path
) -> None:
    model = FlatModel()
    scores = model.convolution(model.input((1, 4, 4, 2)), 5)
    best = model.tensor((1, 4, 4), dtype="int32")
    options = schema.ArgMaxOptionsT(outputType=schema.TensorType.INT32)
    model.op("ARG_MAX", [scores, model.constant(np.array(3, np.int32))], [best], options=options, version=2)
    (tmp_path / "net.tflite").write_bytes(model.finish(best))
    compiler("answer net")
    for argv, files in (([], []), (["-O", "cut_tail=true"], ["net_edgetpu.tflite", "net_tail.tflite"])):
        assert run(["build", "net.tflite", "-t", "coral", *argv]) == 0
        bundle = tmp_path / "out" / "net-coral"
        assert json.loads((bundle / "io.json").read_text("utf-8"))["device_chain"] == files
    assert [op.name for op in read_graph(bundle / "net_edgetpu.tflite").ops] == ["CONV_2D"]
    np.save(tmp_path / "in.npy", np.random.default_rng(3).normal(size=(3, 4, 4, 2)))
    whole, chained = answers(bundle, tmp_path / "in.npy", delegate)
    assert whole == chained
    assert len(whole.splitlines()) == 3


def test_a_compiler_that_hangs(compiler: Compiler, capfd: pytest.CaptureFixture[str]) -> None:
    file = compiler("echo thinking; sleep 60")
    build("-O", "timeout_s=0.5", code=5)
    assert "`edgetpu_compiler` gave no answer in 0.5 s and was stopped" in capfd.readouterr().err
    assert runs(file) == 1
    assert not Path("out").exists()


CRASHES_TWICE = """
if [ $(wc -l < $0.runs) -le 2 ]; then echo 'Internal compiler error. Aborting!'; kill -SEGV $$; fi
answer net
table 'Mapped to Edge TPU'
"""


def test_a_compiler_that_crashes_twice_then_works(compiler: Compiler) -> None:
    file = compiler(CRASHES_TWICE)
    bundle = build()
    assert runs(file) == 3
    backend = report(bundle)["backend"]
    assert isinstance(backend, dict)
    assert backend["edgetpu_compiler"]["attempts"] == 3


def test_a_compiler_that_writes_nothing(compiler: Compiler, capfd: pytest.CaptureFixture[str]) -> None:
    compiler("echo 'Edge TPU Compiler version 16.0.384591198'")
    build(code=5)
    assert "`edgetpu_compiler` reported success and wrote no model" in capfd.readouterr().err


def test_a_compiler_that_speaks_otherwise(compiler: Compiler, capfd: pytest.CaptureFixture[str]) -> None:
    compiler("answer net > /dev/null; echo '{\"operators\": []}'")
    bundle = build()
    backend = report(bundle)["backend"]
    assert isinstance(backend, dict)
    assert "in a form that is not known" in backend["edgetpu_compiler"]["log"]
    assert "What the compiler printed is in a form that is not known" in capfd.readouterr().out


def test_a_compiler_that_does_otherwise(compiler: Compiler, capfd: pytest.CaptureFixture[str]) -> None:
    compiler("answer net; table 'Operation not supported'")
    build()
    out = capfd.readouterr().out
    assert "The compiler did otherwise than expected: CONV_2D, FULLY_CONNECTED, RESHAPE, SOFTMAX" in out


def test_the_first_op_that_the_compiler_fails_on_is_kept(
    compiler: Compiler, capfd: pytest.CaptureFixture[str], cache: Path
) -> None:
    graph = read_graph(MODEL)
    layer = graph.tensors[graph.ops[2].outputs[0]].name
    compiler(
        f"if grep -qF '{layer}' ./*.tflite; then echo 'Internal compiler error. Aborting!'; exit 1; fi\n"
        'cp "${@: -1:1}" "$(basename "${@: -1:1}" .tflite)_edgetpu.tflite"'
    )
    build("-O", "attempts=1", code=5)
    err = capfd.readouterr().err
    assert f"it fails on FULLY_CONNECTED → {layer}" in err
    (kept,) = re.findall(r"kept alone in\s+(\S+)", err)
    assert [op.name for op in read_graph(Path(kept)).ops] == ["FULLY_CONNECTED"]
    assert Path(kept).is_relative_to(cache)

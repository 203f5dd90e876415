"""Running edgetpu_compiler: attempts, flags, several models, failures and the search for their cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends.edgetpu import Edgetpu
from edgecompile.backends.edgetpu.bisect import smallest_failing
from edgecompile.backends.edgetpu.compiler import CompilerError, Flags, run_compiler
from edgecompile.errors import ToolError
from edgecompile.target import Target, load_target
from edgecompile.tflite.graph import read_graph

CORAL = load_target("coral")
DATA = Path(__file__).parent.parent / "data"
MODEL = DATA / "image_int8.tflite"

HEAD = r"""
model="${@: -1:1}"
name="$(basename "$model" .tflite)"
answer() {
  printf '\034\0\0\0TFL3 compiled' > "${name}_edgetpu.tflite"
  echo "Edge TPU Compiler version 16.0.384591198"
}
"""

FakeCompiler = Callable[[str], Path]


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    """Puts a shell script of that text into EDGETPU_COMPILER."""

    def put(text: str) -> Path:
        file = tmp_path / "edgetpu_compiler"
        file.write_text(f"#!/bin/bash\n{HEAD}\n{text}\n")
        file.chmod(0o755)
        monkeypatch.setenv("EDGETPU_COMPILER", str(file))
        monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
        return file

    return put


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    file = tmp_path / "in" / "model.tflite"
    file.parent.mkdir()
    file.write_bytes(MODEL.read_bytes())
    return Artifact.of(file, Kind.TFLITE)


def target(**options: object) -> Target:
    return CORAL.model_copy(update={"options": options})


def compiled(model: Artifact, tmp_path: Path, **options: object) -> dict[str, object]:
    out = tmp_path / "out"
    out.mkdir()
    return dict(Edgetpu().compile(model, target(**options), name="net", out=out).extra)


CRASHES_TWICE = """
tries=$(cat "$0.tries" 2>/dev/null || echo 0); echo $((tries + 1)) > "$0.tries"
[ "$tries" -ge 2 ] || { echo 'Internal compiler error. Aborting!'; kill -SEGV $$; }
answer
"""


def test_a_compiler_that_crashes_twice_and_then_works(model: Artifact, tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler(CRASHES_TWICE)
    made = run_compiler(tmp_path / "edgetpu_compiler", [("net", model.path)], Flags(), work=tmp_path / "work")
    assert (made.attempts, made.version) == (3, "16.0.384591198")
    assert made.models[0].name == "net_edgetpu.tflite"


def test_two_attempts_are_not_three(model: Artifact, tmp_path: Path, compiler: FakeCompiler) -> None:
    file = compiler(CRASHES_TWICE)
    with pytest.raises(CompilerError, match=re.escape("was ended by SIGSEGV: Internal compiler error. Aborting! (2 ")):
        run_compiler(file, [("net", model.path)], Flags(attempts=2), work=tmp_path / "work")


def test_a_failure_that_explains_itself_is_not_tried_again(
    model: Artifact, tmp_path: Path, compiler: FakeCompiler
) -> None:
    file = compiler("echo x >> $0.runs; echo \"ERROR: Didn't find op for builtin opcode 'EXP' version '2'.\"; exit 1")
    with pytest.raises(ToolError, match="EXP version 2 is younger than the compiler") as caught:
        compiled(model, tmp_path)
    assert (tmp_path / "edgetpu_compiler.runs").read_text() == "x\n"
    assert "lower the version" in caught.value.problems[0].hint
    kept = Path(caught.value.problems[0].where)
    assert kept == tmp_path / "cache" / "logs" / "net-edgetpu_compiler.txt"
    assert "Didn't find op" in kept.read_text()
    assert file.is_file()


def test_flags_reach_the_compiler() -> None:
    flags = Flags(min_runtime_version=12, several_subgraphs=True, segments=3)
    assert flags.arguments() == ["-s", "-a", "-m", "12", "-n", "3"]
    assert Flags().arguments() == ["-s"]


def test_options_of_the_target_become_flags(model: Artifact, tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler('echo "$*" > net_edgetpu.log; answer')
    out = tmp_path / "out"
    out.mkdir()
    done = Edgetpu().compile(model, target(several_subgraphs=True, min_runtime_version=13), name="net", out=out)
    assert done.files["net_edgetpu.log"].read_text() == "-s -a -m 13 -o . ./net.tflite\n"


SEGMENTS = """
for n in 0 1; do
  printf '\\034\\0\\0\\0TFL3' > "net_segment_${n}_of_2_edgetpu.tflite"
  echo "Operator" > "net_segment_${n}_of_2_edgetpu.log"
done
"""


def test_a_model_cut_for_several_chips_gives_all_segments(
    model: Artifact, tmp_path: Path, compiler: FakeCompiler
) -> None:
    made = run_compiler(compiler(SEGMENTS), [("net", model.path)], Flags(segments=2), work=tmp_path / "work")
    assert [f.name for f in made.models] == [f"net_segment_{n}_of_2_edgetpu.tflite" for n in (0, 1)]
    assert len(made.logs) == 2


TOGETHER = """
echo "Edge TPU Compiler version 16.0.384591198"
for model in "${@: -2}"; do
  name="$(basename "$model" .tflite)"
  printf '\\034\\0\\0\\0TFL3' > "${name}_edgetpu.tflite"
  printf '\\nInput model: %s\\nOn-chip memory used for caching model parameters: %sKiB\\n' "$model" "$((++n))"
done
"""


def test_models_compiled_together_are_told_apart(model: Artifact, tmp_path: Path, compiler: FakeCompiler) -> None:
    file = compiler(TOGETHER)
    made = run_compiler(file, [("a", model.path), ("b", model.path)], Flags(), work=tmp_path / "work")
    assert [f.name for f in made.models] == ["a_edgetpu.tflite", "b_edgetpu.tflite"]
    assert [log.input for log in made.said] == ["./a.tflite", "./b.tflite"]
    assert [log.cached_bytes for log in made.said] == [1024, 2048]


AS_EXPECTED = """
answer
cat <<END
On-chip memory used for caching model parameters: 1.50KiB
Number of Edge TPU subgraphs: 1

Operator                       Count      Status

CONV_2D                        1          Mapped to Edge TPU
RESHAPE                        1          Mapped to Edge TPU
FULLY_CONNECTED                1          Mapped to Edge TPU
SOFTMAX                        1          {softmax}
END
"""


def test_what_the_compiler_says_is_compared_with_what_was_expected(
    model: Artifact, tmp_path: Path, compiler: FakeCompiler
) -> None:
    compiler(AS_EXPECTED.format(softmax="Mapped to Edge TPU"))
    out = tmp_path / "out"
    out.mkdir()
    done = Edgetpu().compile(model, CORAL, name="net", out=out)
    assert (
        done.status
        == "compiled for the Edge TPU by Edge TPU Compiler version 16.0.384591198: 4 of 4 ops on the Edge TPU"
    )
    said = done.extra["edgetpu_compiler"]
    assert (said["as_expected"], said["parameter_bytes_cached"], said["attempts"]) == (True, 1536, 1)
    assert "edgetpu_unexpected" not in done.extra


def test_differences_are_listed(model: Artifact, tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler(AS_EXPECTED.format(softmax="Operation refuses to work on Mondays"))
    extra = compiled(model, tmp_path)
    assert extra["edgetpu_unexpected"] == [
        {"operator": "SOFTMAX", "status": "Mapped to Edge TPU", "expected": 1, "compiler": 0},
        {"operator": "SOFTMAX", "status": "Operation refuses to work on Mondays", "expected": 0, "compiler": 1},
    ]


def test_a_table_in_the_log_file_alone_counts_too(model: Artifact, tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler("answer >/dev/null; echo 'CONV_2D  1  Mapped to Edge TPU' > net_edgetpu.log")
    extra = compiled(model, tmp_path)
    assert len(extra["edgetpu_unexpected"]) == 3  # type: ignore[arg-type]


def test_an_unknown_format_is_said_to_be_one(model: Artifact, tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler("answer >/dev/null; echo '{\"operators\": []}'")
    out = tmp_path / "out"
    out.mkdir()
    done = Edgetpu().compile(model, CORAL, name="net", out=out)
    assert "in a form that is not known" in done.extra["edgetpu_compiler"]["log"]
    assert done.status.endswith(
        "by edgetpu_compiler: 4 of 4 ops expected on the Edge TPU, 100.0% of the multiply-accumulates"
    )


# Fails on every model with a fully connected layer.
DISLIKES_DENSE = """
echo x >> $0.runs
if grep -qF 'dense' "$model"; then echo 'Internal compiler error. Aborting!'; exit 1; fi
answer
"""


def test_the_smallest_part_that_fails_is_kept_for_a_bug_report(
    model: Artifact, tmp_path: Path, compiler: FakeCompiler
) -> None:
    graph = read_graph(model.path)
    layer = graph.tensors[graph.ops[2].outputs[0]].name
    compiler(DISLIKES_DENSE.replace("dense", layer))
    with pytest.raises(ToolError, match=re.escape(f"it fails on FULLY_CONNECTED → {layer}")) as caught:
        compiled(model, tmp_path, attempts=1)
    (problem,) = caught.value.problems
    kept = tmp_path / "cache" / "logs" / "net-edgetpu_compiler-fails.tflite"
    assert str(kept) in problem.hint
    assert [op.name for op in read_graph(kept).ops] == ["FULLY_CONNECTED"]
    assert kept.stat().st_size < MODEL.stat().st_size
    assert len((tmp_path / "edgetpu_compiler.runs").read_text().split()) <= 8


def test_where_no_part_fails_alone_the_error_says_so(model: Artifact, tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler("[ $name = part ] && answer && exit; echo 'Internal compiler error. Aborting!'; exit 1")
    with pytest.raises(ToolError, match="exited 1: Internal compiler error") as caught:
        compiled(model, tmp_path, attempts=1)
    assert "the search found no part at fault" in caught.value.problems[0].hint


def test_a_compiler_that_fails_on_everything_blames_no_op(
    model: Artifact, tmp_path: Path, compiler: FakeCompiler
) -> None:
    compiler("echo 'Internal compiler error. Aborting!'; exit 1")
    with pytest.raises(ToolError, match="exited 1: Internal compiler error") as caught:
        compiled(model, tmp_path, attempts=1)
    (problem,) = caught.value.problems
    assert "the search found no part at fault" in problem.hint
    assert "it fails on" not in problem.what


def test_a_compiler_that_hangs_is_not_started_again_and_again(
    model: Artifact, tmp_path: Path, compiler: FakeCompiler
) -> None:
    compiler("echo x >> $0.runs; echo thinking; sleep 60")
    with pytest.raises(ToolError, match=r"gave no answer in 0\.3 s and was stopped"):
        compiled(model, tmp_path, timeout_s=0.3)
    assert (tmp_path / "edgetpu_compiler.runs").read_text() == "x\n"


@given(st.integers(1, 300), st.data())
def test_halving_finds_a_run_of_ops_that_fails(ops: int, data: st.DataObject) -> None:
    last = data.draw(st.integers(0, ops - 1))
    first = data.draw(st.integers(0, last))
    asked = []

    def fails(a: int, b: int) -> bool:
        asked.append((a, b))
        return a <= first and last <= b

    assert smallest_failing(ops, fails) == (first, last)
    assert len(asked) <= 20

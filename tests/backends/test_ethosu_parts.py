"""Parts of the Ethos-U backend that need no Vela: options, its texts and tables, and what happens when it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from graphs import Builder, one
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends.ethosu import Ethosu
from edgecompile.backends.ethosu.arena import Arena, count_arena
from edgecompile.backends.ethosu.budget import cache_bytes
from edgecompile.backends.ethosu.options import MEMORY_MODES, EthosuOptions
from edgecompile.backends.ethosu.placement import place
from edgecompile.backends.ethosu.remedies import kind_of, listed_for_u85, remedy_for
from edgecompile.backends.ethosu.said import Note, Refusal, crash, parse_said
from edgecompile.backends.ethosu.summary import AREAS, PARTS, parse_summary
from edgecompile.backends.ethosu.tflm import refusals, stand_in, try_model
from edgecompile.backends.ethosu.vela import find_vela, vela_version
from edgecompile.config import parse
from edgecompile.errors import ConfigError, ToolError
from edgecompile.target import Memory, Target, load_target
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.lighter import VALUES, few_values, half_zeros, with_weights
from edgecompile.tflite.tflm_trials import OpTrial

DATA = Path(__file__).parent.parent / "data"
U55 = load_target("corstone-300-u55-128")
GOOD = {
    "accelerator": "ethos-u65-256",
    "system_config": "Ethos_U65_High_End",
    "memory_mode": "Dedicated_Sram_384KB",
}

# Options


def refused(**changed: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(EthosuOptions, {**GOOD, **changed}, where="here")
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"accelerator": "ethos-u55-12"}, "here: `accelerator`: unknown name; did you mean `ethos-u55-128`?"),
        ({"accelerator": "mali"}, "here: `accelerator`: unknown name; known: ethos-u55-128, ethos-u55-256"),
        ({"accelerator": 65}, "here: `accelerator`: must be 'ethos-u55-32'"),
        ({"optimise": "Speed"}, 'here: `optimise`: unknown name; known: Performance, Size (got "Speed")'),
        ({"optimise": "size"}, "did you mean `Size`?"),
        (
            {"system_config": "Ethos_U65_HighEnd", "memory_mode": "Shared_SRAM"},
            "here: system_config: unknown name `Ethos_U65_HighEnd`; did you mean `Ethos_U65_High_End`?; "
            "memory_mode: unknown name `Shared_SRAM`; did you mean `Shared_Sram`?",
        ),
        (
            {"system_config": "Ethos_U55_Deep_Embedded"},
            "here: system_config `Ethos_U55_Deep_Embedded` is not one of ethos-u65-256: Ethos_U65_Embedded, "
            "Ethos_U65_Mid_End, Ethos_U65_High_End, Ethos_U65_Client_Server",
        ),
        (
            {"accelerator": "ethos-u55-32", "system_config": "Ethos_U55_Deep_Embedded"},
            "memory_mode `Dedicated_Sram_384KB` is not for ethos-u55-32: Sram_Only, Shared_Sram",
        ),
        ({"memory_mod": "Sram_Only"}, "here: unknown key `memory_mod`\n  → did you mean `memory_mode`?"),
        ({"config": "absent.ini"}, "config: no file `absent.ini` in "),
    ],
)
def test_options_are_checked_with_near_misses(changed: dict[str, object], said: str) -> None:
    assert said in refused(**changed)


def test_a_target_must_say_which_memory_system_it_has() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(EthosuOptions, {}, where="here")
    assert [p.what for p in caught.value.problems] == [
        "`accelerator` is missing",
        "`system_config` is missing",
        "`memory_mode` is missing",
    ]


INI = """
[System_Config.Board]
core_clock=1e8
[Memory_Mode.Base]
const_mem_area=Axi0
arena_mem_area=Axi1
cache_mem_area=Axi0
[Memory_Mode.Sized]
inherit=Memory_Mode.Base
arena_cache_size=1000
[Memory_Mode.Flat]
inherit=Memory_Mode.Sized
arena_mem_area=Axi0
[Memory_Mode.Round]
inherit=Memory_Mode.Round
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], EthosuOptions]:
    """Returns options with a memory mode of a user's file, which lies beside their targets."""
    (tmp_path / "board.ini").write_text(INI)
    monkeypatch.setenv("EDGECOMPILE_TARGETS", str(tmp_path))

    def options(mode: str) -> EthosuOptions:
        given = {"accelerator": "ethos-u55-64", "system_config": "Board", "memory_mode": mode, "config": "board.ini"}
        return parse(EthosuOptions, given, where="here")

    return options


def test_memory_modes_of_the_users_file(own: Callable[[str], EthosuOptions]) -> None:
    told = {mode: own(mode) for mode in ("Base", "Sized", "Flat", "Round")}
    assert [o.dedicated for o in told.values()] == [True, True, False, False]
    assert [o.own_cache_size for o in told.values()] == [False, True, True, False]
    assert [o.model_in_sram for o in told.values()] == [False, False, True, True]


def test_names_of_the_users_file_are_checked(own: Callable[[str], EthosuOptions]) -> None:
    with pytest.raises(ConfigError, match="memory_mode: unknown name `Flatt`; did you mean `Flat`"):
        own("Flatt")


@pytest.mark.parametrize("content", [b"core_clock=1\n", b"\xff\xfe"])
def test_a_file_that_is_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    (tmp_path / "bad.ini").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert "config: `bad.ini` is no Vela configuration file: " in refused(config="bad.ini")


def test_memory_modes_that_vela_ships() -> None:
    told = {}
    for mode in MEMORY_MODES:
        one = EthosuOptions.model_validate({**GOOD, "memory_mode": mode})
        told[mode] = (one.dedicated, one.own_cache_size, one.model_in_sram)
    assert told["Sram_Only"] == (False, False, True)
    assert told["Shared_Sram"] == (False, False, False)
    assert told["Dedicated_Sram"] == (True, False, False)
    assert told["Dedicated_Sram_512KB"] == (True, True, False)


@pytest.mark.parametrize(
    ("changed", "room"),
    [
        ({"memory_mode": "Shared_Sram"}, 100_000 - 10_000 - 2048),
        ({"memory_mode": "Sram_Only"}, 100_000 - 10_000 - 2048 - 30_000),
        ({"memory_mode": "Dedicated_Sram"}, 90_000),
        ({"memory_mode": "Dedicated_Sram", "optimise": "Size"}, 90_000),
        ({"memory_mode": "Shared_Sram", "optimise": "Size"}, None),
        ({"memory_mode": "Dedicated_Sram_256KB"}, None),
        ({"memory_mode": "Dedicated_Sram_256KB", "arena_cache_bytes": 7777}, 7777),
    ],
)
def test_vela_is_told_of_the_sram_that_there_is(changed: dict[str, object], room: int | None) -> None:
    target = U55.model_copy(update={"memory": Memory(sram_bytes=100_000, reserved_sram_bytes=10_000)})
    found = cache_bytes(target, EthosuOptions.model_validate({**GOOD, **changed}), model_bytes=30_000)
    assert found == room


def test_vela_is_told_of_some_sram_where_nothing_is_left() -> None:
    options = EthosuOptions.model_validate({**GOOD, "memory_mode": "Shared_Sram"})
    target = U55.model_copy(update={"memory": Memory(sram_bytes=1000)})
    assert cache_bytes(target, options, model_bytes=1) == 16
    assert cache_bytes(U55.model_copy(update={"memory": Memory()}), options, model_bytes=1) is None


# The summary


def csv_of(**cells: object) -> str:
    row: dict[str, object] = {
        **{f"{area}_memory_used": 0.0 for area in AREAS},
        **{f"{area}_total_bytes": 0 for area in AREAS},
        **{f"cycles_{part}": 0 for part in PARTS},
        "cycles_total": 0,
        "core_clock": 5e8,
        "nn_macs": 0,
        "total_original_weights": 0,
        "total_npu_encoded_weights": 0,
        "weights_storage_area": "Off-chip Flash",
        "feature_map_storage_area": "SRAM",
        "arena_cache_size": 1.0,
        **cells,
    }
    return f"{','.join(row)}\r\n{','.join(str(value) for value in row.values())}\r\n"


@given(st.integers(0, 2**40))
def test_kib_come_back_as_the_bytes_that_they_were(size: int) -> None:
    # Vela: csv.writer of n / 1024.0
    assert parse_summary(csv_of(sram_memory_used=size / 1024.0), where="t").memory["SRAM"] == size


def test_times_and_cycles() -> None:
    found = parse_summary(csv_of(cycles_total=1000, cycles_npu=900), where="t")
    assert (found.seconds, found.cycles["NPU"]) == (2e-6, 900)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Vela's summary has no column `sram_memory_used`"),
        (
            csv_of(sram_memory_used=0.1),
            "has 0.1 KiB in column `sram_memory_used`, which is not a whole number of bytes",
        ),
        (csv_of(nn_macs=1.5), "has 1.5 in column `nn_macs`, where a whole number is expected"),
        (csv_of(cycles_npu="many"), "could not convert string to float: 'many'"),
        (csv_of(cycles_npu="nan"), "has nan in column `cycles_npu`"),
    ],
)
def test_another_table_is_an_error(text: str, said: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_summary(text, where="table.csv")
    assert said in str(caught.value)
    assert "table.csv: Vela's summary " in str(caught.value)
    assert 'pip install "ethos-u-vela==5.2.0"' in str(caught.value)


# What Vela prints

PRINTED = """Tensor 'a' has a dynamic signature in axis 0. Setting shape axis 0 to 1 and proceeding.
Tensor 'b's own' has a dynamic signature in axis 0. Setting shape axis 0 to 1 and proceeding.

Warning (supported operators) operator: SVDF, ofm: '<unnamed>_act'
Reason: Unsupported opType

Warning (supported operators) operator: RESIZE_BILINEAR, ofm: 'up'
Reason: Scale is 3
IF not same:
  - IF half:
    - 2x
  - Else:
    - 4x.

Tensor 'c' has a dynamic signature in axis 0. Setting shape axis 0 to 1 and proceeding.

Network summary for net
Tensor 'd' is no note
"""


def test_refusals_and_notes() -> None:
    said = parse_said(PRINTED)
    assert said.refusals == (
        Refusal("SVDF", "", "Unsupported opType", ""),
        Refusal("RESIZE_BILINEAR", "up", "Scale is 3", "IF not same: IF half: 2x; Else: 4x"),
    )
    assert said.notes[0] == Note(
        "Tensor '…' has a dynamic signature in axis 0. Setting shape axis 0 to 1 and proceeding.", 2
    )
    assert sum(note.times for note in said.notes) == 3
    assert parse_said("") == parse_said("\nNetwork summary for net\nmore\n")


def test_a_refusal_of_an_activation_is_about_its_op() -> None:
    refusal = Refusal("CONV_2D", "x_act", "…", "")
    assert refusal.is_about("x")
    assert refusal.is_about("x_act")
    assert not refusal.is_about("y")
    assert not Refusal("SVDF", "", "…", "").is_about("")


TRACE = """Network …
Traceback (most recent call last):
  File "vela.py", line 1, in main
    regor.compile()
    ^^^^^^^^^^^^^^^
{}
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all is well", ("", "")),
        (TRACE.format("RuntimeError: Compilation failed: Error: OP 'x' is bad.\n - why\n"),
         ("RuntimeError", "OP 'x' is bad. - why")),
        (TRACE.format("ethosu.vela.errors.CliOptionError: 'Error: Incorrect argument'"),
         ("CliOptionError", "Incorrect argument")),
        (TRACE.format("KeyError: '0'"), ("KeyError", "0")),
        (TRACE.format("MemoryError"), ("MemoryError", "")),
        ("Traceback (most recent call last):\n", ("", "")),
    ],
)  # fmt: skip
def test_the_exception_that_ended_vela(text: str, found: tuple[str, str]) -> None:
    assert crash(text) == found


# Remedies


@pytest.mark.parametrize(
    ("reason", "rule", "kind"),
    [
        ("Unsupported opType", "", "type"),
        ("Operation has tensor with unsupported DataType Float32 (x)", "Feature-map dataTypes must be …", "float"),
        ("Unsupported dataType Int32", "32-bit feature-maps are not supported.", "wide"),
        ("Operation has tensor x with missing quantization parameters", "…", "unquantized"),
        ("Dynamic non-batch dimension at axis 1 on tensor x", "Only the first dimension …", "open"),
        ("width scale-factor must be an integer power of two", "…", "constraint"),
    ],
)
def test_kinds_of_reasons(reason: str, rule: str, kind: str) -> None:
    refusal = Refusal("ADD", "x", reason, rule)
    assert kind_of(refusal) == kind
    assert remedy_for("ADD", refusal, on_u85=())


def test_no_reason_has_a_remedy_too() -> None:
    assert kind_of(None) == "unexplained"
    assert remedy_for("RESHAPE", None, on_u85=()).startswith("Vela says nothing of it")


def test_ops_that_ethos_u85_has() -> None:
    report = (
        "## Ethos-U55 and Ethos-U65 TFLite Summary Table\n| ABS | [Generic](#x) |\n"
        "\n## Ethos-U85 TFLite Summary Table\n\n| Operator | TFLite Constraints |\n| --- | --- |\n| CAST | [G](#x) |\n"
        "\n## Ethos-U55 and Ethos-U65 TFLite Generic\n| DIV | x |\n"
    )
    assert listed_for_u85(report) == {"CAST"}
    cast = Refusal("CAST", "x", "Unsupported opType", "")
    assert remedy_for("CAST", cast, on_u85={"CAST"}).endswith("; an Ethos-U85 has this op, within limits")
    assert listed_for_u85("") == frozenset()


# Arena


def arena_graph(*offsets: int) -> Graph:
    build = Builder()
    build.tensor((100,), name="given")
    build.tensor((10, 10), "int32", name="made")
    build.weights(50)
    build.tensor((7,), "resource", name="handle")
    build.tensor((300,), "uint8", name="scratch_fast")
    build.tensor((0, 4), "float32", name="empty")
    build.tensor((20,), "int16", name="state")
    build.tensors[-1] = replace(build.tensors[-1], is_variable=True)
    graph = build.graph([0], [1])
    values = np.array([0, 1, len(offsets), *offsets], "<i4")
    metadata = {"OfflineMemoryAllocation": np.frombuffer(values.tobytes(), np.uint8)} if offsets else {}
    return replace(graph, metadata=metadata)


def counted(graph: Graph, trials: dict[int, OpTrial] | None = None) -> Arena:
    graph = replace(graph, metadata=graph.metadata or {})
    return count_arena(graph, place(graph, graph, ()), trials)


def test_the_arena_is_counted_from_the_offsets_in_the_file() -> None:
    found = counted(arena_graph(0, 112, -1, -1, 0, 5000, -1))
    assert found == Arena(planned=512, left=32 + 48, scratch=0, structures=2048, fast=300)
    assert (found.tensors, found.total) == (592, 592 + 2048)


def test_without_offsets_every_tensor_has_a_place_of_its_own() -> None:
    assert counted(arena_graph()).left == 112 + 400 + 32 + 304 + 48


def test_offsets_may_be_short() -> None:
    assert counted(arena_graph(0)).planned == 100


def trial(index: int, *, scratch: int = 0, kept: int = 0, refused: str = "") -> OpTrial:
    return OpTrial(
        subgraph=0, index=index, name="SVDF", refused=refused, registered=not refused, scratch_bytes=scratch,
        persistent_bytes=kept, persistent_count=bool(kept),
    )  # fmt: skip


def test_ops_on_the_cpu_add_scratch_and_what_they_keep() -> None:
    build = Builder()
    ends = [build.tensor((1, 4)) for _ in range(21)]
    for index in range(20):
        build.op("SVDF", [ends[index]], [ends[index + 1]])
    graph = build.graph([ends[0]], [ends[-1]])
    trials = {index: trial(index, scratch=index, kept=100) for index in range(20)}
    found = counted(graph, trials)
    assert found.scratch == 32
    assert found.structures == 132 + 12 * 21 + 32 * 20 + 68 * 2 + 20 * (100 + 16 + 4)
    assert counted(graph).scratch == 0


def test_an_npu_op_needs_addresses_while_it_runs() -> None:
    build = Builder()
    ends = [build.tensor((1, 4)) for _ in range(9)]
    build.op("ethos-u", ends[:8], ends[8:])
    assert counted(build.graph(ends[:8], ends[8:])).scratch == 80 + 48


def test_a_convolution_on_the_cpu_may_run_on_mve() -> None:
    graph, _ = one("CONV_2D", extra=[(4, 3, 3, 4)])
    assert counted(graph, {0: trial(0)}).scratch == 4 * 48


# Lighter weights


@given(arrays(np.int8, st.integers(1, 200)))
def test_lighter_weights(codes: npt.NDArray[np.int8]) -> None:
    few, half = few_values(codes), half_zeros(codes)
    assert len(np.unique(few)) <= VALUES
    assert (few.shape, few.dtype, half.shape, half.dtype) == (codes.shape, np.int8, codes.shape, np.int8)
    assert 2 * (half == 0).sum() >= codes.size
    assert set(half[half != 0]) <= set(codes)


def test_only_kernels_become_lighter(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(with_weights(DATA / "image_int8.tflite", lambda codes: 0 * codes))
    before, after = read_graph(DATA / "image_int8.tflite"), read_graph(tmp_path / "m.tflite")
    for old, new in zip(before.tensors, after.tensors, strict=True):
        if old.raw is not None:
            assert new.raw is not None
            kernel = old.dtype == "int8"
            assert not new.raw.any() if kernel else np.array_equal(old.raw, new.raw)


# What TensorFlow Lite Micro says


def test_what_stands_for_the_device() -> None:
    model = DATA / "image_int8.tflite"
    assert stand_in(model, None).kernels == "reference"
    assert stand_in(model, None).fidelity.endswith("on LiteRT's reference kernels; tflite-micro is not installed")
    found = stand_in(model, {0: trial(0), 1: trial(1, refused="no"), 2: trial(2, refused="no")})
    assert found.kernels == "reference"
    assert found.fidelity.endswith("TensorFlow Lite Micro's interpreter does not take SVDF")
    assert stand_in(model, {0: trial(0)}).kernels == "tflm"
    assert "no Ethos-U on this host" in stand_in(model, {}).fidelity


def test_an_op_that_nobody_takes_is_an_error() -> None:
    build = Builder()
    x, y = build.tensor((1, 4), name="x"), build.tensor((1, 4), name="y")
    build.op("ADD", [x, x], [y])
    graph = build.graph([x], [y])
    placement = place(graph, graph, ())
    (found,) = refusals(placement, {0: trial(0, refused="too wide")})
    assert (found.severity, found.where) == ("error", "ADD → y")
    assert found.what == "ADD is left to the CPU, and TensorFlow Lite Micro does not take it: too wide"
    assert refusals(placement, {0: trial(0)}) == ()
    (untried,) = refusals(placement, None)
    assert (untried.severity, untried.remedy) == ("info", 'pip install "edgecompile[ethosu]"')
    assert refusals(replace(placement, left=()), None) == ()


def test_the_interpreter_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecompile.backends.ethosu.tflm.find_spec", lambda name: None)
    assert try_model(DATA / "image_int8.tflite") is None


# Where ops run


def test_unnamed_ops_find_their_reason_by_kind() -> None:
    build = Builder()
    x, y, z = (build.tensor((1, 4), name="") for _ in range(3))
    build.tensors = [type(t)(**{**vars(t), "name": ""}) for t in build.tensors]
    build.op("SVDF", [x], [y])
    build.op("RELU", [y], [z])
    graph = build.graph([x], [z])
    said = [Refusal("SVDF", "", "Unsupported opType", ""), Refusal("RELU", "", "…", "other")]
    found = place(graph, graph, said)
    assert [[r.op for r in left.refusals] for left in found.left] == [["SVDF"], ["RELU"]]
    assert found.parts == 0


def test_the_first_of_several_reasons_for_one_rule_is_kept() -> None:
    build = Builder()
    x, y = build.tensor((1, 4), name="x"), build.tensor((1, 4), name="y")
    build.op("ADD", [x, x], [y])
    graph = build.graph([x], [y])
    said = [Refusal("ADD", "y", reason, rule) for reason, rule in (("a", "1"), ("b", "2"), ("c", "1"))]
    (left,) = place(graph, graph, said).left
    assert [r.reason for r in left.refusals] == ["a", "b"]


# A compiled model is not compiled again; open sizes


def test_what_is_asked_of_the_model_as_a_whole() -> None:
    build = Builder()
    x = build.tensor((1, 4, 4), name="x", open_shape=(-1, -1, 4))
    y = build.tensor((1, 4), name="y", open_shape=(-1, 4))
    build.op("ethos-u", [x], [y])
    found = Ethosu().check(build.graph([x], [y]), U55)
    assert [(f.rule, f.severity, f.where) for f in found] == [
        ("ethosu-compiled-once", "error", "y"),
        ("ethosu-constant-sizes", "warning", "x"),
    ]
    plain = Builder()
    plain.op("RELU", [plain.tensor((1, 4))], [plain.tensor((1, 4))])
    assert Ethosu().check(plain.graph([0], [1]), U55) == ()


# Programs that fail

FakeVela = Callable[[str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeVela:
    """Puts a shell script of that text in the place of Vela."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))

    def put(text: str) -> Path:
        file = tmp_path / "vela"
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)
        monkeypatch.setenv("VELA", str(file))
        return file

    return put


def failure(tmp_path: Path, target: Target = U55) -> ToolError:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ToolError) as caught:
        Ethosu().compile(Artifact.of(DATA / "image_int8.tflite", Kind.TFLITE), target, name="net", out=out)
    assert caught.value.exit_code == 5
    return caught.value


def test_vela_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VELA", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert str(failure(tmp_path)) == (
        'models for Ethos-U need Vela, and `vela` is not installed\n  → pip install "edgecompile[ethosu]"'
    )


def test_vela_named_and_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELA", str(tmp_path / "gone"))
    assert str(failure(tmp_path)) == (f'VELA={tmp_path / "gone"}: no such file\n  → pip install "edgecompile[ethosu]"')


def test_vela_beside_python_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VELA", raising=False)
    for folder in ("bin", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vela").write_text("#!/bin/bash\necho 9.9\n")
        (tmp_path / folder / "vela").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    assert find_vela() == tmp_path / "path" / "vela"
    assert vela_version(find_vela(), work=tmp_path) == "9.9"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert find_vela() == tmp_path / "bin" / "vela"
    monkeypatch.setattr("edgecompile.backends.ethosu.vela.PACKAGE", "no-such-distribution")
    assert vela_version(find_vela(), work=tmp_path) == "9.9"


def test_vela_hangs(tmp_path: Path, fake: FakeVela) -> None:
    fake("echo thinking; sleep 60")
    target = U55.model_copy(update={"options": {**U55.options, "timeout_s": 0.5}})
    error = failure(tmp_path, target)
    (problem,) = error.problems
    assert problem.what == "`vela` gave no answer in 0.5 s and was stopped"
    assert problem.hint == "raise `timeout_s` in the target's [options]"
    assert Path(problem.where).read_text() == "thinking\n"


def test_vela_crashes_with_a_traceback(tmp_path: Path, fake: FakeVela) -> None:
    fake(f"cat >&2 <<'END'\n{TRACE.format('IndexError: list index out of range')}END\nexit 1")
    (problem,) = failure(tmp_path).problems
    assert problem.what == "`vela` crashed: IndexError: list index out of range"
    assert (
        problem.hint == "a fault of Vela: try `pip install --upgrade ethos-u-vela`, or report it there with the model"
    )
    assert "Traceback" in Path(problem.where).read_text()


def test_vela_is_ended_by_a_signal(tmp_path: Path, fake: FakeVela) -> None:
    fake("echo half; kill -SEGV $$")
    (problem,) = failure(tmp_path).problems
    assert problem.what == "`vela` was ended by SIGSEGV: half"
    assert problem.hint == "read what it printed"


def test_vela_cannot_be_started(tmp_path: Path, fake: FakeVela) -> None:
    fake("").chmod(0o644)
    (problem,) = failure(tmp_path).problems
    assert problem.what == "`vela` cannot be started: Permission denied"
    assert problem.hint == 'pip install "edgecompile[ethosu]"'


def test_vela_exits_0_and_writes_nothing(tmp_path: Path, fake: FakeVela) -> None:
    fake("echo done")
    (problem,) = failure(tmp_path).problems
    assert problem.what == "`vela` reported success and wrote no model"
    assert Path(problem.where).read_text() == "done\n"


def test_vela_writes_no_summary(tmp_path: Path, fake: FakeVela) -> None:
    fake("cp net.tflite net_vela.tflite")
    (problem,) = failure(tmp_path).problems
    assert problem.what == "`vela` reported success and wrote no summary"


def test_vela_writes_something_else(tmp_path: Path, fake: FakeVela) -> None:
    fake("echo rubbish > net_vela.tflite; touch net_summary_Ethos_U55_High_End_Embedded.csv")
    (problem,) = failure(tmp_path).problems
    assert problem.what == "`vela` wrote a file that is no TFLite model"


def test_vela_changes_what_the_model_takes(tmp_path: Path, fake: FakeVela) -> None:
    table = csv_of().replace("\r", "")
    fake(
        f"cp {DATA / 'image_batch4.tflite'} net_vela.tflite; "
        f"cat > net_summary_Ethos_U55_High_End_Embedded.csv <<'END'\n{table}END"
    )
    (problem,) = failure(tmp_path).problems
    assert problem.what == (
        "`vela` changed the inputs of the model from [('int8', (1, 6, 5, 2))] to [('float32', (4, 6, 5, 2))]"
    )
    assert "fault of Vela" in problem.hint


def test_arguments_reach_vela_one_by_one(tmp_path: Path, fake: FakeVela) -> None:
    fake('printf "%s\\n" "$@" > "$0.args"; exit 1')
    failure(tmp_path)
    assert (tmp_path / "vela.args").read_text().splitlines() == [
        "./net.tflite",
        "--output-dir=.",
        "--config=Arm/vela.ini",
        "--accelerator-config=ethos-u55-128",
        "--system-config=Ethos_U55_High_End_Embedded",
        "--memory-mode=Shared_Sram",
        "--optimise=Performance",
        "--arena-cache-size=2095104",
    ]

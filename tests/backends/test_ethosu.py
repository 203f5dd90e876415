"""The Ethos-U backend with the real Vela: what is compiled, what stays on the CPU, what it takes, what fails."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from chains import CUT, DEPTH, GATHERED, Link, chain, resize
from uint8_ops import ON_NPU, resized

from edgecompile.artifact import Artifact, Kind
from edgecompile.backends import BACKENDS
from edgecompile.backends.base import Compiled
from edgecompile.backends.ethosu import Ethosu, options
from edgecompile.backends.ethosu.vela import ask, find_vela
from edgecompile.cli.entry import run
from edgecompile.errors import ConfigError, ToolError
from edgecompile.passes import PASSES
from edgecompile.report import Check, Finding
from edgecompile.target import Memory, Target, load_target, target_files
from edgecompile.tflite.graph import read_graph
from edgecompile.tflite.lighter import LIGHTER, VALUES
from edgecompile.tflite.tflm_trials import try_ops

pytestmark = pytest.mark.tool

DATA = Path(__file__).parent.parent / "data"
U55 = load_target("corstone-300-u55-128")
U65 = load_target("corstone-300-u65-256")
U85 = load_target("corstone-320-u85-256")

Build = Callable[..., Compiled]


@pytest.fixture(scope="session")
def vela() -> Path:
    try:
        return find_vela()
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def made_before() -> dict[tuple[str, str], Compiled]:
    """Content of a model and target → what was compiled; Vela takes a second for each."""
    return {}


@pytest.fixture
def build(
    vela: Path,
    made_before: dict[tuple[str, str], Compiled],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Build:
    """Compiles a `.tflite`, given as a path or as bytes, for a target; again only where it is told to."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))

    def compiled(model: Path | bytes, target: Target = U55, *, again: bool = False) -> Compiled:
        here = tmp_path_factory.mktemp("build")
        if isinstance(model, bytes):
            (here / "given.tflite").write_bytes(model)
            model = here / "given.tflite"
        artifact = Artifact.of(model, Kind.TFLITE)
        key = artifact.sha256, target.model_dump_json()
        if again or key not in made_before:
            made_before[key] = Ethosu().compile(artifact, target, name="net", out=here)
        return made_before[key]

    return compiled


def with_options(target: Target, **changed: Any) -> Target:
    return target.model_copy(update={"options": {**target.options, **changed}})


def with_memory(target: Target, **changed: Any) -> Target:
    return target.model_copy(update={"memory": Memory(**{**target.memory.model_dump(), **changed})})


def table(made: Compiled) -> dict[str, str]:
    with made.files["net_vela.csv"].open() as file:
        (row,) = csv.DictReader(file)
    return dict(row)


def checks(made: Compiled) -> dict[str, Check]:
    return {check.name: check for check in made.checks}


# uint8, which Vela takes and TFLite Micro no longer does


@pytest.mark.parametrize("op", ON_NPU)
def test_uint8_ops_that_the_npu_runs_are_built(build: Build, op: str) -> None:
    made = build(ON_NPU[op]())
    assert made.extra["ethosu"]["ops_on_cpu"] == 0
    assert not [finding for finding in made.findings if finding.severity == "error"]
    assert made.runs is not None
    assert made.runs.kernels in {"reference", "tflm"}
    given = {t.index: t for t in try_ops(made.files["net.tflite"])}
    assert (made.runs.kernels == "reference") == any(t.refused for t in given.values())


def test_uint8_ops_that_are_left_to_the_cpu_are_refused_by_name(build: Build) -> None:
    (said,) = [f for f in build(resized()).findings if f.severity == "error"]
    assert said.rule == "ethosu-cpu-refused"
    assert said.what.startswith(
        "RESIZE_BILINEAR is left to the CPU, and TensorFlow Lite Micro does not take it: Output"
    )


# What Vela knows


def test_accelerators_are_velas(vela: Path, tmp_path: Path) -> None:
    said = ask(vela, ["--help"], work=tmp_path)
    listed, *_ = re.findall(r"--accelerator-config \{([^}]*)\}", said)
    assert re.sub(r"\s", "", listed).split(",") == list(get_args(options.Accelerator))


def test_configurations_are_velas(vela: Path, tmp_path: Path) -> None:
    said = ask(vela, ["--list-configs", options.SHIPPED_CONFIG], work=tmp_path)
    assert tuple(re.findall(r"System_Config\.(\w+)", said)) == options.SYSTEM_CONFIGS
    assert tuple(re.findall(r"Memory_Mode\.(\w+)", said)) == options.MEMORY_MODES


# A model that the NPU runs whole


def test_a_model_on_the_npu(build: Build) -> None:
    made = build(DATA / "image_int8.tflite")
    assert sorted(made.files) == ["net.tflite", "net_vela.csv", "net_vela.log", "net_vela.tflite"]
    assert made.model == "net_vela.tflite"
    assert [op.name for op in read_graph(made.files[made.model]).ops] == ["ethos-u"]
    assert re.fullmatch(
        r"compiled for Ethos-U55-128 by Vela \S+: 4 of 4 ops on the NPU, 100\.0% of the multiply-accumulates; "
        r"modelled: 0\.\d+ ms at 500 MHz; SRAM 320 B as Vela counts",
        made.status,
    )
    assert made.complete
    assert set(made.libraries) == {"ethos-u-vela", "tflite-micro"}
    assert made.findings == ()
    assert all(check.ok for check in made.checks)
    summary = made.extra["ethosu"]
    assert (summary["ops"], summary["ops_on_npu"], summary["ops_on_cpu"], summary["npu_calls"]) == (4, 4, 0, 1)
    assert summary["share_of_macs_on_npu"] == 1
    assert summary["how"] == "modelled"


@pytest.mark.parametrize("target", [U55, U65, U85], ids=lambda t: t.name)
def test_figures_are_those_of_velas_table_in_bytes(build: Build, target: Target) -> None:
    made = build(DATA / "image_int8.tflite", target)
    said, rows = table(made), {row["memory"]: row for row in made.extra["ethosu_memory"]}
    for column, area in (("sram", "SRAM"), ("dram", "DRAM"), ("off_chip_flash", "Off-chip Flash")):
        kib, moved = float(said[f"{column}_memory_used"]), int(said[f"{column}_total_bytes"])
        row = rows.get(area, {"bytes": 0, "bytes_moved_in_one_inference": 0})
        assert (row["bytes"], row["bytes_moved_in_one_inference"]) == (1024 * kib, moved)
    counted = {row["what"]: row["bytes"] for row in made.extra["ethosu_counted"]}
    assert counted["weights in the source model"] == int(said["total_original_weights"])
    assert counted["weights as Vela stores them"] == int(said["total_npu_encoded_weights"])
    assert counted["the compiled model file"] == made.files[made.model].stat().st_size
    summary = made.extra["ethosu"]
    assert summary["npu_cycles"] == int(said["cycles_total"])
    assert summary["npu_seconds"] == pytest.approx(float(said["inference_time"]))
    assert summary["clock_hz"] == float(said["core_clock"])
    assert said["accelerator_configuration"].replace("_", "-").lower() == target.options["accelerator"]


def test_equal_models_give_equal_bytes_and_no_place_of_this_machine(build: Build, tmp_path: Path) -> None:
    first, second = build(CUT), build(CUT, again=True)
    for name, file in first.files.items():
        content = file.read_bytes()
        assert content == second.files[name].read_bytes()
        assert str(tmp_path.parent).encode() not in content
    assert first.extra == second.extra


def test_dedicated_sram_holds_the_cache_and_dram_the_rest(build: Build) -> None:
    found = checks(build(DATA / "image_int8.tflite", U65))
    assert set(found) == {"model-size", "sram", "dram"}
    assert found["sram"].detail == "the NPU's own"
    assert found["dram"].actual > found["model-size"].actual + 2048
    assert re.search(r"tensors \d+ B.*, the model [\d,]+ B", found["dram"].detail)


def test_a_model_in_sram_counts_as_sram(build: Build) -> None:
    whole = checks(build(DATA / "image_int8.tflite", with_options(U55, memory_mode="Sram_Only")))
    apart = checks(build(DATA / "image_int8.tflite"))
    assert whole["sram"].actual == pytest.approx(apart["sram"].actual + whole["model-size"].actual, abs=64)


def test_the_interpreter_of_the_device_stands_for_it(build: Build, edgecompile_data: Path) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed")
    made = build(DATA / "image_int8.tflite")
    assert made.runs is not None
    assert made.runs == Ethosu().runnable(Artifact.of(DATA / "image_int8.tflite", Kind.TFLITE), U55)
    assert made.runs.kernels == "tflm"
    assert made.runs.fidelity == (
        "no Ethos-U on this host: the int8 model before Vela, on TensorFlow Lite Micro's interpreter with reference "
        "kernels"
    )
    name = "edgetpu/posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
    other = build(edgecompile_data / name)
    assert other.runs is not None
    assert (other.runs.model, other.runs.kernels) == (edgecompile_data / name, "reference")
    refused = next(f for f in other.findings if f.rule == "ethosu-cpu-refused")
    assert refused.what == (
        "PosenetDecoderOp is left to the CPU, and TensorFlow Lite Micro does not take it: it has no such custom op"
    )


# Ops on the CPU


def test_an_op_between_two_parts_is_named_with_velas_reason_and_a_remedy(build: Build) -> None:
    made = build(CUT)
    assert [op.name for op in read_graph(made.files[made.model]).ops] == ["ethos-u", "RESIZE_BILINEAR", "ethos-u"]
    (finding,) = made.findings
    assert finding.rule == "ethosu-cpu-constraint"
    assert finding.severity == "warning"
    assert finding.where == "RESIZE_BILINEAR → layer2"
    assert (
        finding.what == "RESIZE_BILINEAR stays on the CPU: Scaling matches and operation has unsupported scale-factor=3"
    )
    assert finding.consequence == "runs on the Cortex-M; the model enters the NPU 2 times"
    assert finding.remedy == "resize by 2, 4 or 8, in several layers for more"
    (row,) = made.extra["ethosu_on_cpu"]
    assert (row["op"], row["layer"], row["remedy"]) == ("RESIZE_BILINEAR", "layer2", finding.remedy)
    assert row["constraint"].endswith("Else: Scale-factor needs to be one of: 2x/4x/8x")
    assert "2 of 3 ops on the NPU" in made.status
    assert "ms for the NPU's part" in made.status


def test_the_arena_counts_what_vela_leaves_out(build: Build) -> None:
    # Vela counts no tensor that only the CPU touches: none at all for a float model.
    made = build(DATA / "image_float.tflite")
    assert float(table(made)["sram_memory_used"]) == 0
    assert checks(made)["sram"].actual > 2048 + 4 * 60


@pytest.mark.parametrize(
    ("model", "target", "op", "remedy"),
    [
        (DEPTH, U55, "SPACE_TO_DEPTH", "take a convolution with that stride"),
        (DEPTH, U85, "SPACE_TO_DEPTH", "take a convolution with that stride"),
        (
            GATHERED,
            U55,
            "GATHER",
            "look up outside of the model, and give it the vectors; an Ethos-U85 has this op, within limits",
        ),
    ],
)
def test_an_op_that_the_npu_does_not_have(build: Build, model: bytes, target: Target, op: str, remedy: str) -> None:
    (finding,) = build(model, target).findings
    assert (finding.rule, finding.remedy) == ("ethosu-cpu-type", remedy)
    assert finding.what == f"{op} stays on the CPU: Unsupported opType"


def test_ethos_u85_has_an_op_more(build: Build) -> None:
    made = build(GATHERED, U85)
    assert made.findings == ()
    assert made.extra["ethosu"]["ops_on_npu"] == 2


def test_float_ends_are_told_apart(build: Build) -> None:
    found = {f.what.split()[0]: f for f in build(DATA / "image_int8_float_io.tflite").findings}
    assert set(found) == {"QUANTIZE", "DEQUANTIZE"}
    assert {f.remedy for f in found.values()} == {"keep inputs and outputs int8: build without `--float-io`"}


def test_a_float_model_runs_on_the_cpu_and_that_is_an_error(build: Build) -> None:
    *ops, last = build(DATA / "image_float.tflite").findings
    assert {f.remedy for f in ops} == {'quantize the whole model: quantize.scheme = "int8"'}
    assert (last.severity, last.rule) == ("error", "ethosu-nothing-on-npu")


def test_equal_reasons_are_one_finding_and_unnamed_tensors_find_theirs(build: Build) -> None:
    links = []
    for size in (8, 24, 72, 216):
        links.append(Link("RELU", (1, size, size, 1), name=""))
        links.append(resize((1, 3 * size, 3 * size, 1), name=""))
    (finding,) = build(chain(*links, given=(1, 8, 8, 1))).findings
    assert finding.what.startswith("4 RESIZE_BILINEAR stay on the CPU: Scaling matches")
    assert finding.where.endswith(" and 1 more")


def test_what_vela_repeats_is_counted(build: Build) -> None:
    made = build(DATA / "image_open_batch.tflite")
    (row,) = made.extra["ethosu_vela_says"]
    assert row["text"] == "Tensor '…' has a dynamic signature in axis 0. Setting shape axis 0 to 1 and proceeding."
    assert row["times"] > 3


# C sources


def test_sources_for_a_model_on_the_npu(build: Build) -> None:
    made = build(DATA / "image_int8.tflite")
    assert made.firmware is not None
    assert made.firmware.resolver == (("AddEthosU", ""),)
    assert made.firmware.arena_bytes == checks(made)["sram"].actual
    assert made.firmware.arena_section == ".bss.NoInit.activation_buf_sram"
    assert made.firmware.npu_cache_bytes == 0
    dedicated = build(DATA / "image_int8.tflite", U65)
    assert dedicated.firmware is not None
    assert dedicated.firmware.arena_section == ".bss.NoInit.activation_buf_dram"
    assert dedicated.firmware.npu_cache_bytes == checks(dedicated)["sram"].actual


def test_the_resolver_has_what_is_left_to_the_cpu(build: Build, edgecompile_data: Path) -> None:
    cut = build(CUT).firmware
    assert cut is not None
    assert cut.resolver == (("AddEthosU", ""), ("AddResizeBilinear", ""))
    other = build(edgecompile_data / "edgetpu" / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite")
    assert other.firmware is None
    (told,) = (f for f in other.findings if f.rule == "ethosu-no-sources")
    assert told.what.endswith("has no method for each op on the CPU (PosenetDecoderOp)")


def test_a_bundle_has_sources_and_is_built_once(
    vela: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    argv = ["build", str(DATA / "image_int8.tflite"), "-t", U55.name, "-o", str(tmp_path / "out"), "--json"]
    assert run(argv) == 0
    sources = tmp_path / "out" / f"image_int8-{U55.name}" / "firmware"
    assert "TF_LITE_ENSURE_STATUS(ops.AddEthosU());" in (sources / "model_ops.h").read_text("utf-8")
    assert '#define MODEL_ARENA_SECTION ".bss.NoInit.activation_buf_sram"' in (sources / "model.cc").read_text("utf-8")
    assert '#define MODEL_DATA_SECTION "nn_model"' in (sources / "model_data.cc").read_text("utf-8")
    assert "the model before Vela" in (sources / "model_golden.h").read_text("utf-8")
    before = {file: file.read_bytes() for file in sources.rglob("*") if file.is_file()}
    capfd.readouterr()
    monkeypatch.setattr(Ethosu, "compile", None)  # a second build must not get there
    assert run(argv) == 0
    assert before == {file: file.read_bytes() for file in sources.rglob("*") if file.is_file()}


def test_another_vela_builds_again(vela: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Ethosu().outside(U55)
    assert key == Ethosu().outside(U55)
    (tmp_path / "vela").write_bytes(vela.read_bytes())
    monkeypatch.setenv("VELA", str(tmp_path / "vela"))
    assert Ethosu().outside(U55) != key
    (tmp_path / "mine.ini").write_text(INI)
    monkeypatch.chdir(tmp_path)
    own = with_options(U55, config="mine.ini", system_config="Mine", memory_mode="Ours")
    first = Ethosu().outside(own)
    (tmp_path / "mine.ini").write_text(INI + "\n; changed\n")
    assert Ethosu().outside(own) != first


# Budgets


def test_too_little_sram_says_by_how_much_and_what_fits(build: Build) -> None:
    wide = chain(Link("RELU", (1, 64, 64, 16)), Link("TANH", (1, 64, 64, 16)), given=(1, 64, 64, 16))
    small = with_memory(U55, sram_bytes=40_000, reserved_sram_bytes=1_000).model_copy(update={"name": "mine"})
    check = checks(build(wide, small))["sram"]
    assert not check.ok
    assert check.limit == 39_000
    missing = round(check.actual - check.limit)
    assert check.remedy.startswith(f"{missing:,} B (")
    assert (
        "too many; take a smaller input or narrower layers; as it is, it fits corstone-300-u55-128 or " in check.remedy
    )


def test_too_little_flash_says_by_how_much(build: Build) -> None:
    check = checks(build(DATA / "image_int8.tflite", with_memory(U55, flash_bytes=3_000)))["model-size"]
    assert not check.ok
    over = round(check.actual) - 3000
    assert check.remedy.startswith(f"{over:,} B ({over / 1024:.1f} KiB) too many; take fewer or narrower layers; as it")
    assert "as it is, it fits corstone-300-u55-" in check.remedy


def test_passes_that_would_make_it_fit_are_named(build: Build, edgecompile_data: Path) -> None:
    model = edgecompile_data / "ic" / "pretrainedResnet_quant.tflite"
    check = checks(build(model, with_memory(U55, flash_bytes=60_000)))["model-size"]
    few, zeros = re.findall(r"`(?:cluster|prune)` \(about (\d\d),\d{3} B", check.remedy)
    assert int(few) < int(zeros) < 60
    assert ", whose weights Vela stores in fewer bits; take fewer or narrower layers; as it is, it" in check.remedy
    assert set(LIGHTER) <= set(PASSES)
    assert PASSES["cluster"].model_fields["clusters"].default == VALUES


def test_what_fits_nowhere_says_so(build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edgecompile.backends.ethosu.alternatives.target_files", dict)
    check = checks(build(DATA / "image_int8.tflite", with_memory(U55, sram_bytes=100)))["sram"]
    assert check.remedy.endswith("it fits none of the other Ethos-U targets")


def test_other_options_of_the_same_target_are_tried(build: Build) -> None:
    wide = chain(Link("RELU", (1, 64, 64, 16)), resize((1, 128, 128, 16)), given=(1, 64, 64, 16))
    tight = with_options(with_memory(U85, sram_bytes=50_000), arena_cache_bytes=4_000_000)
    check = checks(build(wide, tight))["sram"]
    assert not check.ok
    assert "it fits corstone-320-u85-256 with arena_cache_bytes = 50000 or " in check.remedy


def test_vela_plans_for_the_sram_that_the_target_has(build: Build) -> None:
    summary = build(DATA / "image_int8.tflite", with_memory(U55, sram_bytes=100_000)).extra["ethosu"]
    assert summary["arena_cache_bytes"] == (100_000 - 2048) // 16 * 16
    given = build(DATA / "image_int8.tflite", with_options(U55, arena_cache_bytes=65536)).extra["ethosu"]
    assert given["arena_cache_bytes"] == 65536
    mode = build(DATA / "image_int8.tflite", U85).extra["ethosu"]
    assert mode["arena_cache_bytes"] == 384 * 1024


def test_a_build_that_does_not_fit_exits_1_and_says_what_would(
    vela: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGECOMPILE_TARGETS", str(tmp_path))
    text = target_files()["corstone-300-u55-128"].read_text("utf-8")
    (tmp_path / "tight.toml").write_text(re.sub(r"sram_bytes = \d+", "sram_bytes = 2000", text), "utf-8")
    assert run(["build", str(DATA / "image_int8.tflite"), "-t", "tight", "-o", str(tmp_path / "out")]) == 1
    said = " ".join(capfd.readouterr().out.split())
    assert "missed sram: SRAM that the model needs, 2,448 B (2.4 KiB), must be at most 2,000 B (2.0 KiB)" in said
    assert "448 B too many; take a smaller input or narrower layers; as it is, it fits corstone-300-u55-" in said
    bundle = tmp_path / "out" / "image_int8-tight-FAILED"
    assert {"image_int8.tflite", "image_int8_vela.tflite", "image_int8_vela.csv"} <= {f.name for f in bundle.iterdir()}
    stored = json.loads((bundle / "io.json").read_text("utf-8"))
    assert "image_int8_vela.tflite" in json.dumps(stored)


# Failures of the real program


def test_a_model_that_vela_refuses_is_explained(build: Build, tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        build(DATA / "lstm.tflite")
    (problem,) = caught.value.problems
    assert problem.what == (
        "`vela` refuses the model: UNIDIRECTIONAL_SEQUENCE_LSTM 'tfl.unidirectional_sequence_lstm' Does not have valid "
        "TFLite Semantics. - IFM must be INT8 or INT16 IFM type=FLOAT32 Failed to parse TFLite file"
    )
    assert problem.hint == 'quantize the whole model (quantize.scheme = "int8"), or convert it again'
    assert Path(problem.where) == tmp_path / "cache" / "logs" / "net-vela.txt"
    assert "Traceback" in Path(problem.where).read_text()


def test_a_crash_of_vela_is_told_as_one(build: Build, edgecompile_data: Path) -> None:
    with pytest.raises(ToolError) as caught:
        build(edgecompile_data / "edgetpu" / "model_invoking_error.tflite")
    (problem,) = caught.value.problems
    assert problem.what.startswith("`vela` crashed: IndexError: vector::_M_range_check")
    assert "pip install --upgrade ethos-u-vela" in problem.hint


INI = """
[System_Config.Mine]
core_clock=300e6
axi0_port=Sram
axi1_port=OffChipFlash
Sram_clock_scale=1.0
OffChipFlash_clock_scale=0.125

[Memory_Mode.Base]
const_mem_area=Axi1
arena_mem_area=Axi1
cache_mem_area=Axi0

[Memory_Mode.Ours]
inherit=Memory_Mode.Base
arena_mem_area=Axi0
"""


def test_a_configuration_of_the_users_own(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.ini").write_text(INI)
    monkeypatch.chdir(tmp_path)
    target = with_options(U55, config="mine.ini", system_config="Mine", memory_mode="Ours")
    made = build(DATA / "image_int8.tflite", target)
    assert made.extra["ethosu"]["clock_hz"] == 300e6
    assert "at 300 MHz" in made.status
    bad = with_options(U55, config="mine.ini", system_config="Mine", memory_mode="Base")
    with pytest.raises(ConfigError) as caught:
        build(DATA / "image_int8.tflite", bad)
    assert str(caught.value).startswith(
        "target corstone-300-u55-128, [options]: `vela` refuses the options: Invalid configuration of "
        "arena_mem_area=OffChipFlash (must be Sram or Dram)"
    )


# Every target


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(n for n in target_files() if load_target(n).backend == "ethosu"))
def test_every_target_compiles(build: Build, name: str) -> None:
    target = load_target(name)
    for model in (DATA / "image_int8.tflite", CUT):
        made = build(model, target)
        assert all(check.ok for check in made.checks)
        assert f"compiled for {target.options['accelerator'].title()} by Vela" in made.status


REAL = ("ic/pretrainedResnet_quant", "kws/kws_ref_model", "micro/hello_world_int8", "micro/micro_speech_quantized")
REAL += ("micro/trained_lstm_int8", "micro/keyword_scrambled_8bit", "micro/audio_preprocessor_int8")


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("target", [U55, U65, U85], ids=lambda t: t.name)
def test_real_models(build: Build, edgecompile_data: Path, name: str, target: Target) -> None:
    source = edgecompile_data / f"{name}.tflite"
    made = build(source, target)
    found = {row["memory"]: row["bytes"] for row in made.extra["ethosu_memory"]}
    said = table(made)
    for column, area in (("sram", "SRAM"), ("dram", "DRAM"), ("off_chip_flash", "Off-chip Flash")):
        assert found.get(area, 0) == 1024 * float(said[f"{column}_memory_used"])
    summary = made.extra["ethosu"]
    assert summary["ops"] == len(read_graph(source).ops)
    assert summary["ops_on_npu"] + summary["ops_on_cpu"] + summary["ops_removed"] == summary["ops"]
    left = made.extra.get("ethosu_on_cpu", [])
    assert len(left) == summary["ops_on_cpu"]
    assert all(row["reason"] and row["remedy"] for row in left)
    assert not math.isnan(summary["npu_seconds"])
    assert all(isinstance(f, Finding) and f.remedy for f in made.findings)


def test_the_backend_is_registered() -> None:
    assert isinstance(BACKENDS["ethosu"], Ethosu)

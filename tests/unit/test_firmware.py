"""Sources for the device: they compile without warnings; model_io.h gives what numpy gives, on host and Cortex-M4."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecompile.backends.base import Firmware
from edgecompile.bundle.firmware import FirmwareContent, firmware_files
from edgecompile.bundle.firmware.text import float_literal, quoted
from edgecompile.data.preprocess import apply
from edgecompile.recipe import Preprocess, Quantized
from edgecompile.report import TensorInfo
from edgecompile.tflite.feeds import dequantize_rows, quantize_rows

DATA = Path(__file__).parent.parent / "data" / "firmware"
STUBBED = (
    "micro/cortex_m_generic/debug_log_callback.h",
    "micro/micro_allocator.h",
    "micro/micro_interpreter.h",
    "micro/micro_mutable_op_resolver.h",
    "micro/micro_resource_variable.h",
    "schema/schema_generated.h",
)
"""Headers of TFLite Micro that the sources include; the stub stands for each."""
STATIC = "-DTF_LITE_STATIC_MEMORY"
STRICT = ["-Wall", "-Wextra", "-Werror"]
ARM = ["-mcpu=cortex-m4", "-mthumb"]
HARD_FLOAT = ["-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]

HOWS = {
    "raw": Preprocess(),
    "unit": Preprocess(scale=(1 / 255,)),
    "symmetric": Preprocess(scale=(1 / 127.5,), offset=(-1.0,)),
    "imagenet": Preprocess(scale=(1 / 255,), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "stored codes": Preprocess(quantized=Quantized(scale=0.5847029, zero_point=83)),
}


def need(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return found


def content(how: Preprocess, stored: str = "uint8", *, scale: float = 0.0392, zero_point: int = -11) -> FirmwareContent:
    """Return a made-up model of one 4×4×3 image input and five scores."""
    rng = np.random.default_rng(0)
    limits = np.iinfo(stored)
    raw = rng.integers(limits.min, limits.max, (3, 4, 4, 3), stored, endpoint=True)
    codes = quantize_rows(apply(how, raw), scale=scale, zero_point=zero_point, dtype="int8")
    scores = rng.integers(-128, 127, (3, 5), np.int8)
    return FirmwareContent(
        firmware=Firmware(
            arena_bytes=4096,
            dynamic_bytes=64,
            cmsis_nn=True,
            kernels="cmsis-dsp",
            resolver=(("AddConv2D", "tflite::Register_CONV_2D_INT8()"), ("AddReshape", "")),
        ),
        model=bytes(range(64)),
        inputs=(TensorInfo(name="image */", shape=(1, 4, 4, 3), dtype="int8", scale=scale, zero_point=zero_point),),
        outputs=(TensorInfo(name="scores", shape=(1, 5), dtype="int8", scale=1 / 256, zero_point=-128),),
        preprocess={"*": how},
        stored={"*": stored},
        golden_inputs=(codes,),
        golden_outputs=(scores,),
        golden_raw=(raw,),
        labels=("cat", 'a "dog"\\', "Kü", "?", "e"),
    )


def write(folder: Path, made: FirmwareContent) -> Path:
    for name, data in firmware_files(made).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    stub = folder / "stub" / "tensorflow" / "lite"
    for header in STUBBED:
        (stub / header).parent.mkdir(parents=True, exist_ok=True)
        (stub / header).write_text((DATA / "tflm_stub.h").read_text("utf-8"), "utf-8")
    return folder / "firmware"


def build(argv: Sequence[str | Path]) -> None:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


PRINT_ALL = """
#include "model_io.h"
#include "model_golden.h"
#include "model_data.h"
void put_number(int32_t value);
int main(void)
{
    static const float reals[] = {%(reals)s};
    size_t i;
    int32_t code;
    %(raw)s
    for (i = 0; i < sizeof(reals) / sizeof(reals[0]); ++i) { put_number(model_quantize_input0(reals[i]%(channel)s)); }
    for (code = -128; code < 128; ++code) {
        union { float real; int32_t bits; } u;
        u.real = model_dequantize_output0((int8_t)code);
        put_number(u.bits);
    }
    for (i = 0; i < MODEL_GOLDEN_ROWS; ++i) {
        int8_t filled[MODEL_INPUT0_SIZE];
        size_t j;
        int32_t wrong = 0;
        model_fill_input0_%(suffix)s(model_golden_raw0[i], filled);
        for (j = 0; j < MODEL_INPUT0_SIZE; ++j) { wrong += filled[j] != model_golden_input0[i][j]; }
        put_number(wrong);
        put_number((int32_t)model_argmax_output0(model_golden_output0[i]));
    }
    return model_label(0)[0] == 'c' ? 0 : 1;
}
"""


def program(made: FirmwareContent) -> tuple[str, list[int]]:
    """Return a program that prints what model_io.h gives for every code and many reals, and what numpy gives."""
    how, tensor = made.preprocess["*"], made.inputs[0]
    assert tensor.scale is not None
    assert tensor.zero_point is not None
    stored = made.stored["*"]
    channels = 3 if len(how.mean) > 1 else 1
    limits = np.iinfo(stored)
    raw = np.arange(limits.min, limits.max + 1)

    def codes(x: np.ndarray) -> list[int]:
        real = apply(how, np.repeat(x[:, None], channels, axis=1))
        return quantize_rows(real, scale=tensor.scale, zero_point=tensor.zero_point, dtype="int8").T.ravel().tolist()

    suffix, kind = ("u8", "uint8_t") if stored == "uint8" else ("s8", "int8_t")
    argument = ", (size_t)c" if channels > 1 else ""
    loop = (
        f"int32_t c; for (c = 0; c < {channels}; ++c) {{ for (code = {limits.min}; code <= {limits.max}; ++code) {{ "
        f"put_number(model_quantize_input0_{suffix}(({kind})code{argument})); }} }}"
    )
    reals = np.concatenate([np.linspace(-300, 600, 211), [0.5, 1e30, -1e30, np.float32(1 / 3)]]).astype(np.float32)
    text = PRINT_ALL % {
        "reals": ", ".join(float_literal(v) for v in reals),
        "raw": loop,
        "channel": ", 0u" if channels > 1 else "",
        "suffix": suffix,
    }
    first = how if channels == 1 else how.model_copy(update={"mean": how.mean[:1], "std": how.std[:1]})
    real = quantize_rows(apply(first, reals), scale=tensor.scale, zero_point=tensor.zero_point, dtype="int8")
    back = dequantize_rows(np.arange(-128, 128), scale=1 / 256, zero_point=-128)
    rows = [v for scores in made.golden_outputs[0] for v in (0, int(scores.argmax()))]
    return text, [*codes(raw.astype(stored)), *real.tolist(), *back.view(np.int32).tolist(), *rows]


CASES = [(how, stored) for how in HOWS for stored in ("uint8", "int8")]


@pytest.mark.tool
@pytest.mark.parametrize(("how", "stored"), CASES)
def test_io_header_gives_what_numpy_gives_on_the_host(how: str, stored: str, tmp_path: Path) -> None:
    gcc = need("gcc", "gcc")
    made = content(HOWS[how], stored)
    folder = write(tmp_path, made)
    text, wanted = program(made)
    (tmp_path / "main.c").write_text(
        "#include <stdio.h>\n"
        + text.replace(
            "void put_number(int32_t value);", 'static void put_number(int32_t v) { printf("%ld\\n", (long)v); }'
        )
    )
    build([gcc, "-std=c99", "-pedantic", *STRICT, "-O2", "-I", folder, tmp_path / "main.c", "-o", tmp_path / "main"])
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    assert [int(v) for v in done.stdout.split()] == wanted


@pytest.mark.tool
@pytest.mark.parametrize(("how", "stored"), [("symmetric", "uint8"), ("imagenet", "uint8"), ("stored codes", "int8")])
def test_io_header_gives_what_numpy_gives_on_a_cortex_m4(how: str, stored: str, tmp_path: Path) -> None:
    gcc = need("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    qemu = need("qemu-system-arm", "qemu-system-arm")
    made = content(HOWS[how], stored)
    folder = write(tmp_path, made)
    text, wanted = program(made)
    (tmp_path / "main.c").write_text(text)
    build([
        gcc, "-std=gnu11", *STRICT, *ARM, *HARD_FLOAT, "-O2", "-nostartfiles", "-I", folder, "-T", DATA / "mps2.ld",
        DATA / "startup.c", tmp_path / "main.c", "-o", tmp_path / "main.elf",
    ])  # fmt: skip
    done = subprocess.run(
        [qemu, "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native",
         "-kernel", tmp_path / "main.elf"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [int(v) for v in (done.stdout + done.stderr).split()] == wanted


@pytest.mark.tool
@pytest.mark.parametrize("compiler", ["gcc", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("how", HOWS)
def test_every_source_compiles_without_a_warning(compiler: str, how: str, tmp_path: Path) -> None:
    gcc = need(compiler, "gcc g++" if compiler == "gcc" else "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    folder = write(tmp_path, content(HOWS[how]))
    flags = [*STRICT, *(ARM if compiler != "gcc" else []), "-I", folder, "-fsyntax-only"]
    headers = ["model_data.h", "model_config.h", "model_io.h", "model_golden.h", "model.h"]
    for language, standard in (("c", "c99"), ("c++", "c++17")):
        for header in headers:
            source = tmp_path / f"use.{language}"
            source.write_text(f'#include "{header}"\nint main(void) {{ return 0; }}\n')
            build([gcc, "-x", language, f"-std={standard}", *flags, source])
    build([gcc, "-x", "c++", "-std=c++17", *flags, folder / "model_data.cc"])
    for name in ("model.cc", "model_selftest.cc"):
        build(
            [gcc, "-x", "c++", "-std=c++17", "-fno-exceptions", STATIC, "-I", tmp_path / "stub", *flags, folder / name]
        )


def test_texts_are_golden(golden: Callable[[str, str], None]) -> None:
    made = firmware_files(content(HOWS["imagenet"]))
    for name in ("model.cc", "model.h", "model_ops.h", "model_config.h", "model_selftest.cc", "CMakeLists.txt"):
        golden(f"firmware/{name}", made[f"firmware/{name}"].decode())


def beside_an_npu() -> FirmwareContent:
    made = content(HOWS["raw"])
    placed = {"arena_section": ".bss.fast", "model_section": "weights", "npu_cache_bytes": 4096, "golden": "made up */"}
    return replace(made, firmware=made.firmware.model_copy(update={**placed, "resolver": (("AddEthosU", ""),)}))


def test_sections_of_a_linker_script_may_be_set_otherwise() -> None:
    texts = {name: data.decode() for name, data in firmware_files(beside_an_npu()).items()}
    assert '#ifndef MODEL_ARENA_SECTION\n#define MODEL_ARENA_SECTION ".bss.fast"\n#endif' in texts["firmware/model.cc"]
    assert "MODEL_ARENA_ATTRIBUTE __attribute__((section(MODEL_ARENA_SECTION)))" in texts["firmware/model.cc"]
    assert "alignas(16) MODEL_ARENA_ATTRIBUTE uint8_t arena[" in texts["firmware/model.cc"]
    assert '#define MODEL_DATA_SECTION "weights"' in texts["firmware/model_data.cc"]
    assert "#define MODEL_NPU_CACHE_BYTES 4096u" in texts["firmware/model_config.h"]
    assert "/* made up * / */" in texts["firmware/model_golden.h"]
    plain = {name: data.decode() for name, data in firmware_files(content(HOWS["raw"])).items()}
    own = [text for name, text in plain.items() if "/example/" not in name]
    assert not any("section(" in text or "MODEL_NPU" in text for text in own)


@pytest.mark.tool
@pytest.mark.parametrize("compiler", ["gcc", "arm-none-eabi-gcc"])
def test_sources_beside_an_npu_compile_and_lie_in_their_sections(compiler: str, tmp_path: Path) -> None:
    gcc = need(compiler, "gcc g++" if compiler == "gcc" else "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    readelf = need(compiler.replace("gcc", "readelf"), "binutils")
    folder = write(tmp_path, beside_an_npu())
    flags = [*STRICT, *(ARM if compiler != "gcc" else []), "-std=c++17", "-fno-exceptions", "-x", "c++", "-I", folder]
    flags += [STATIC, "-I", tmp_path / "stub", "-c"]
    for name, section in (("model_data", "weights"), ("model", ".bss.fast")):
        build([gcc, *flags, folder / f"{name}.cc", "-o", tmp_path / f"{name}.o"])
        done = subprocess.run([readelf, "-WS", tmp_path / f"{name}.o"], capture_output=True, text=True, check=True)
        (line,) = (line for line in done.stdout.splitlines() if f" {section} " in line)
        assert ("NOBITS" in line) == (section == ".bss.fast")


def test_the_array_is_the_model() -> None:
    text = firmware_files(content(HOWS["raw"]))["firmware/model_data.cc"].decode()
    body = text.partition("= {")[2].partition("}")[0]
    assert bytes(int(v) for v in body.replace("\n", "").split(",")) == bytes(range(64))
    assert "model_data_size = 64;" in text


def test_an_addition_needs_no_table() -> None:
    made = content(HOWS["raw"], scale=1.0, zero_point=-128)
    text = firmware_files(made)["firmware/model_io.h"].decode()
    assert "return (int8_t)((int32_t)x + (-128));" in text
    assert "_codes[" not in text


def test_float_and_plain_integer_ends(tmp_path: Path) -> None:
    made = content(HOWS["symmetric"])
    floats = TensorInfo(name="x", shape=(1, 4, 4, 3), dtype="float32")
    ids = TensorInfo(name="ids", shape=(1, 7), dtype="int32")
    text = firmware_files(
        replace(
            made,
            inputs=(floats, ids),
            golden_inputs=(np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 7), np.int32)),
            golden_raw=(None, None),
        )
    )
    assert "static inline float model_quantize_input0(float x)" in text["firmware/model_io.h"].decode()
    assert "Input 1 takes int32 values as they are." in text["firmware/model_io.h"].decode()
    assert "const float *input0, const int32_t *input1, int8_t *output0" in text["firmware/model.h"].decode()


def test_literals() -> None:
    for value in (0.1, 1 / 3, 1e-30, 16777216.0, 0.0):
        assert np.float32(float_literal(value).removesuffix("f")) == np.float32(value)
    assert quoted('a"b\\?ü') == '"a\\042b\\134\\077\\303\\274"'

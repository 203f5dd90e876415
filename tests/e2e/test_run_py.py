"""run.py as a user of a bundle runs it: a program of its own, beside the files of the bundle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundle_support import content_of, float_model, keywords, resnet8, two_by_two_model

from edgecompile.bundle.files import bundle_files
from edgecompile.bundle.io_json import describe_io
from edgecompile.bundle.writer import write_bundle
from edgecompile.data.dataset import Dataset
from edgecompile.data.preprocess import apply
from edgecompile.recipe import Preprocess
from edgecompile.report import TensorInfo
from edgecompile.runtime import run

FIXTURES = Path(__file__).parent.parent / "data"


def run_py(bundle: Path, *argv: str, python: str = sys.executable, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run the bundle's program with nothing of edgecompile in reach."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | ({"PYTHONPATH": path} if path else {})
    return subprocess.run(
        [python, str(bundle / "run.py"), *argv], capture_output=True, text=True, env=env, cwd=bundle.parent, check=False
    )


@pytest.fixture
def two_by_two(tmp_path: Path) -> Path:
    (tmp_path / "m.tflite").write_bytes(two_by_two_model())
    rows = np.arange(40, dtype=np.float32).reshape(10, 4) / 4
    data = Dataset({"a": rows, "b": -rows}, preprocess={"b": Preprocess(scale=(2.0,))}, source="made up")
    content = content_of(tmp_path / "m.tflite", data, decides=False)
    return write_bundle(tmp_path / "out", "m", bundle_files(content), verdict="pass")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    (tmp_path / "m.tflite").write_bytes(float_model(np.eye(3, 4)))
    rows = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    data = Dataset({"*": rows}, rows[:, :3].argmax(1), class_names=("low", "mid", "high"), source="made up")
    return write_bundle(tmp_path / "out", "m", bundle_files(content_of(tmp_path / "m.tflite", data)), verdict="pass")


def test_several_inputs_and_outputs(two_by_two: Path, tmp_path: Path) -> None:
    done = run_py(two_by_two, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "PASS\nfor information, default kernels:" in done.stdout
    assert "  sum: 0 of 40 values differ, largest difference 0 codes; 2 allowed" in done.stdout
    np.savez(tmp_path / "in.npz", a=np.full((2, 4), 1.5), b=np.array([[1, 2, 3, 4]] * 2))
    done = run_py(two_by_two, str(tmp_path / "in.npz"))
    assert done.stdout.splitlines() == ["sum[0]: 3.5 5.5 7.5 9.5", "sum[1]: 3.5 5.5 7.5 9.5"] + [
        f"double[{n}]: 3 3 3 3" for n in (0, 1)
    ]


def test_names_that_do_not_fit_are_told(two_by_two: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", a=np.zeros(4), c=np.zeros(4))
    done = run_py(two_by_two, str(tmp_path / "in.npz"))
    assert (done.returncode, done.stderr) == (2, "run.py: the model takes a, b; given: a, c\n")


def test_a_classifier_prints_its_best_classes(classifier: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.array([1, 2, 3, 9], np.uint8))
    done = run_py(classifier, str(tmp_path / "in.npy"), "--top", "2")
    assert (done.returncode, done.stdout) == (0, "y[0]: high 3  mid 2\n")


def test_a_float_model_is_held_to_a_stated_limit(classifier: Path) -> None:
    done = run_py(classifier, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same decision on 12 of 12 rows" in done.stdout
    assert "random" not in done.stdout


def test_other_answers_fail_with_exit_code_1(classifier: Path) -> None:
    (classifier / "m.tflite").write_bytes(float_model(np.eye(3, 4)[::-1]))
    done = run_py(classifier, "--check")
    assert done.returncode == 1
    assert "\nFAIL\n" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda b: (b / "io.json").unlink(), "io.json cannot be read (No such file or directory); is "),
        (lambda b: (b / "m.tflite").write_bytes(b"not a model"), "m.tflite does not load: "),
    ],
)
def test_a_broken_bundle_says_so(classifier: Path, break_it: object, says: str) -> None:
    break_it(classifier)  # type: ignore[operator]
    done = run_py(classifier, "--check")
    assert done.returncode == 2
    assert done.stderr.startswith(f"run.py: {says}")
    assert "Traceback" not in done.stderr


def test_wrong_use_says_so(classifier: Path, tmp_path: Path) -> None:
    assert "give an input file, or --check" in run_py(classifier).stderr
    (tmp_path / "in.png").write_bytes(b"")
    assert (
        "in.png: this model takes no images; give its values as .npy"
        in run_py(classifier, str(tmp_path / "in.png")).stderr
    )
    np.save(tmp_path / "in.npy", np.zeros((2, 5)))
    assert run_py(classifier, str(tmp_path / "in.npy")).stderr == (
        "run.py: input x takes rows of shape [4]; given: [2, 5]\n"
    )
    assert "No such file" in run_py(classifier, "absent.npy").stderr
    done = run_py(classifier, str(tmp_path / "in.npy"), "--delegate", "libabsent.so")
    assert done.returncode == 2
    assert done.stderr.startswith("run.py: m.tflite does not load with libabsent.so: ")


def test_without_an_interpreter_it_says_what_to_install(classifier: Path, tmp_path: Path) -> None:
    for package in ("ai_edge_litert", "tflite_runtime"):
        (tmp_path / "none" / package).mkdir(parents=True)
        (tmp_path / "none" / package / "__init__.py").write_text("raise ImportError('libfoo.so: GLIBC_9 not found')")
    done = run_py(classifier, "--check", path=str(tmp_path / "none"))
    assert done.returncode == 2
    assert "tflite-runtime does not load: libfoo.so: GLIBC_9 not found\npip install ai-edge-litert" in done.stderr


@pytest.mark.parametrize("name", sorted(p.stem for p in FIXTURES.glob("*.tflite") if "open_time" not in p.stem))
def test_every_kind_of_model_replays(tmp_path: Path, name: str) -> None:
    content = content_of(FIXTURES / f"{name}.tflite", None, decides=False)
    bundle = write_bundle(tmp_path / "out", "m", bundle_files(content), verdict="pass")
    done = run_py(bundle, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    for tensor in content.report.outputs:
        assert f"  {tensor.name}: " in done.stdout


def test_a_model_without_a_batch_axis(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(two_by_two_model(batch=()))
    rows = np.arange(40, dtype=np.float32).reshape(10, 4) / 4
    content = content_of(tmp_path / "m.tflite", Dataset({"a": rows, "b": rows}, source="made up"), decides=False)
    bundle = write_bundle(tmp_path / "out", "m", bundle_files(content), verdict="pass")
    assert run_py(bundle, "--check").returncode == 0
    np.savez(tmp_path / "in.npz", a=rows[:2], b=rows[:2])
    found = run_py(bundle, str(tmp_path / "in.npz")).stdout  # steps of 0.5: 0.25 goes in as 0.5, 0.75 as 1
    assert found.startswith("sum[0]: 0 1 1 2\nsum[1]: 2 3 3 4\ndouble[0]: 0 1 1 2\n")


def test_golden_vectors_without_data_are_seeded_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(two_by_two_model())
    content = content_of(tmp_path / "m.tflite", None, decides=False)
    bundle = write_bundle(tmp_path / "out", "m", bundle_files(content), verdict="pass")
    done = run_py(bundle, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("golden vectors: 16 random inputs (seed 0): no data was given\n")


def test_an_image_is_read_and_resized(edgecompile_data: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    model, data = resnet8(edgecompile_data)
    bundle = write_bundle(tmp_path / "out", "ic", bundle_files(content_of(model, data)), verdict="pass")
    row = data.raw("*")[8]
    image.fromarray(row).save(tmp_path / "small.png")
    image.fromarray(row).resize((128, 96)).save(tmp_path / "large.png")
    np.save(tmp_path / "small.npy", row)
    small, large, array = (run_py(bundle, str(tmp_path / name)) for name in ("small.png", "large.png", "small.npy"))
    assert small.stdout == array.stdout
    assert large.stdout.startswith("large.png: 128×96 pixels, resized to 32×32\n")
    assert large.returncode == 0


def test_an_image_is_resized_as_the_build_resizes_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    how = Preprocess(resize=(6, 5), scale=(1 / 127.5,), offset=(-1.0,))
    from edgecompile.data.images import read_images

    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    (tmp_path / "folder").mkdir()
    image.fromarray(pixels).save(tmp_path / "folder" / "a.png")
    rows, _, _ = read_images(tmp_path / "folder", size=(6, 5), names=())
    inputs = [TensorInfo(name="x", shape=(1, 6, 5, 3), dtype="float32")]
    described = describe_io(
        inputs=inputs, outputs=[], batched=[True], preprocess={"x": how}, labels=[], host_model="m",
        device_model="m", device_chain=(), chain_ends=((), ()),
        examples={},
    )  # fmt: skip

    class Stub:
        inputs = described["inputs"]

    found = run._read_input(tmp_path / "folder" / "a.png", Stub())  # type: ignore[arg-type]
    assert np.array_equal(found, rows)
    assert np.array_equal(run._rows(found, described["inputs"][0]), apply(how, rows))


DEVICE = ("tflite-runtime==2.14.0", "numpy<2")


@pytest.fixture(scope="session")
def device_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Python that has only what a device has; EDGECOMPILE_DEVICE_PYTHON names one that is there already."""
    if given := os.environ.get("EDGECOMPILE_DEVICE_PYTHON"):
        return given
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime 2.14 has no wheel for this Python")
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    done = subprocess.run([python, "-m", "pip", "install", "-q", *DEVICE], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot install {' '.join(DEVICE)}: {done.stderr.strip().splitlines()[-1:]}")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("model_of", [resnet8, keywords])
@pytest.mark.parametrize("seed", range(3))
def test_real_models_pass_on_a_device_with_tflite_runtime_only(
    edgecompile_data: Path, tmp_path: Path, device_python: str, model_of: object, seed: int
) -> None:
    model, data = model_of(edgecompile_data)  # type: ignore[operator]
    content = content_of(model, data, seed=seed)
    assert len(content.golden.info.rows) >= 8
    assert len(set(content.golden.info.labels)) >= 8
    bundle = write_bundle(tmp_path / "out", "m", bundle_files(content), verdict="pass")
    done = run_py(bundle, "--check", python=device_python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "reference kernels, tflite-runtime:" in done.stdout
    rows = len(content.golden.info.rows)
    assert f"same decision on {rows} of {rows} rows" in done.stdout

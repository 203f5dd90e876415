"""The plan: every problem at once, nothing heavy imported, paths where the user means them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgecompile.artifact import Kind
from edgecompile.errors import ConfigError, EdgeCompileError, ModelError
from edgecompile.metrics import load_metric
from edgecompile.plan import Plan, resolve
from edgecompile.request import Request

FILES = Path(__file__).parents[1] / "data"
SAMPLES = Path(__file__).parents[2] / "sample_models"
MODEL = SAMPLES / "digits-cnn" / "model.keras"
DATA = str(SAMPLES / "digits-cnn" / "validation.npz")


def plan(tmp_path: Path, *, model: object = MODEL, targets: tuple[str, ...] = ("coral",), **sections: object) -> Plan:
    overrides = {"data": {"validation": DATA}, **sections}
    return resolve(Request(model=str(model), targets=targets, overrides=overrides, folder=tmp_path))  # type: ignore[arg-type]


def test_convert_stands_where_keras_ends(tmp_path: Path) -> None:
    found = plan(tmp_path, targets=("coral", "android-gpu", "coral"))
    assert [t.target.name for t in found.targets] == ["coral", "android-gpu"]
    assert [p.name for p in found.targets[0].passes] == ["convert", "quantize", "edgetpu-fit"]
    assert found.targets[0].door.name == "convert"
    assert found.kind is Kind.KERAS
    assert found.format == "keras v3"
    assert found.name == "model"
    assert found.bundle(found.targets[0].target) == tmp_path / "out" / "model-coral"


def test_a_tflite_goes_through_intake(tmp_path: Path, edgecompile_data: Path) -> None:
    found = plan(tmp_path, model=edgecompile_data / "ic" / "pretrainedResnet.tflite")
    assert [p.name for p in found.targets[0].passes] == ["intake", "quantize", "edgetpu-fit"]
    assert found.kind is Kind.TFLITE


def test_float_io_reaches_the_quantize_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = plan(tmp_path, targets=("linux-x86_64",), build={"float_io": True})
    assert found.targets[0].passes[-1].model_dump()["io"] == "float32"
    text = (SAMPLES.parent / "targets" / "coral.toml").read_text("utf-8")
    (tmp_path / "strict.toml").write_text(f'io = "int8"\n{text}', "utf-8")
    monkeypatch.setenv("EDGECOMPILE_TARGETS", str(tmp_path))
    with pytest.raises(ConfigError, match="strict needs int8 inputs and outputs"):
        plan(tmp_path, targets=("strict",), build={"float_io": True})


def test_a_layout_needs_a_target_with_sources(tmp_path: Path) -> None:
    found = plan(tmp_path, targets=("coral", "esp32"), build={"layout": "esp-idf"})
    assert found.recipe.build.layout == "esp-idf"
    with pytest.raises(ConfigError, match="no sources to lay out for zephyr: none are made for coral"):
        plan(tmp_path, targets=("coral",), build={"layout": "zephyr"})
    with pytest.raises(ConfigError, match="layout"):
        plan(tmp_path, targets=("esp32",), build={"layout": "keil"})


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(EdgeCompileError) as caught:
        plan(
            tmp_path,
            model=tmp_path / "absent.keras",
            targets=("corall", "linux-x86_64"),
            data={"validation": "val.npz", "metric": "top2"},
        )
    told = "\n".join(map(str, caught.value.problems))
    for part in ("absent.keras", "did you mean `coral`?", "val.npz", "top2"):
        assert part in told
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"passes": [{"name": "quantise"}]}, "did you mean `quantize`"),
        ({"passes": [{"name": "quantize", "schema": "int8"}]}, "did you mean `scheme`"),
        ({"passes": [{"name": "quantize", "scheme": "int4"}]}, "int4"),
        ({"passes": [{"name": "quantize"}, {"name": "quantize", "scheme": "float32"}]}, "`quantize` is there twice"),
        ({"passes": [{"name": "quantize", "scheme": "float16"}]}, "coral does not take float16"),
        ({"gate": {"max_dropp": 0.1}}, "did you mean `max_drop`"),
        ({"data": {"validation": DATA, "preprocess": {"std": 0}}}, "must not be 0"),
        ({"build": {"out": "taken"}}, "is not a folder"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, sections: dict[str, object], told: str) -> None:
    (tmp_path / "taken").write_text("a file", "utf-8")
    passes = sections.pop("passes", None)
    if passes is not None:
        lines = [f"[[passes]]\n{''.join(f'{k} = {json.dumps(v)}{chr(10)}' for k, v in p.items())}" for p in passes]  # type: ignore[attr-defined]
        (tmp_path / "r.toml").write_text("".join(lines), "utf-8")
        with pytest.raises(ConfigError, match=told):
            resolve(
                Request(
                    model=str(MODEL),
                    targets=("coral",),
                    recipe="r.toml",
                    overrides={"data": {"validation": DATA}},
                    folder=tmp_path,
                )
            )
        return
    with pytest.raises(ConfigError, match=told):
        plan(tmp_path, **sections)


@pytest.mark.parametrize(
    ("name", "told"),
    [("a/b", "cannot name a folder"), (" ", "cannot name a folder"), ("x" * 250, "is too long"), ("", "not be empty")],
)
def test_a_name_that_cannot_be_a_folder_is_refused(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        resolve(Request(model=str(MODEL), targets=("coral",), overrides={"model": {"name": name}}, folder=tmp_path))


def test_without_a_model_the_project_file_speaks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no edgecompile\.toml here"):
        resolve(Request(folder=tmp_path))
    for name in ("model.keras", "validation.npz", "calibration.npz", "labels.txt"):
        (tmp_path / name).write_bytes((SAMPLES / "digits-cnn" / name).read_bytes())
    (tmp_path / "edgecompile.toml").write_bytes((SAMPLES / "digits-cnn" / "recipe.toml").read_bytes())
    found = resolve(Request(folder=tmp_path))
    assert found.name == "digits-cnn"
    assert [t.target.name for t in found.targets] == ["coral"]
    changed = resolve(Request(folder=tmp_path, targets=("ios",), overrides={"gate": {"max_drop": 0.5}}))
    assert [t.target.name for t in changed.targets] == ["ios"]
    assert changed.recipe.gate.max_drop == 0.5
    assert changed.recipe.data.metric == "top1"


def test_paths_of_a_recipe_start_at_the_recipe(tmp_path: Path) -> None:
    found = resolve(Request(recipe=str(SAMPLES / "digits-cnn" / "recipe.toml"), folder=tmp_path))
    assert found.source == MODEL
    assert found.out == tmp_path / "out"


def test_all_that_a_recipe_names_starts_at_the_recipe_and_flags_at_the_working_folder(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "scoring.py").write_text("def metric(outputs, labels):\n    return 0.5\n", "utf-8")
    (theirs / "teacher.keras").write_bytes(MODEL.read_bytes())
    (theirs / "train.npz").write_bytes(b"")
    (tmp_path / "val.npz").write_bytes(b"")
    recipe = theirs / "r.toml"
    recipe.write_text(
        '[data]\ntrain = "train.npz"\nmetric = "scoring:metric"\n[build]\nout = "bundles"\n'
        '[[passes]]\nname = "qat"\nteacher = "teacher.keras"\n',
        "utf-8",
    )
    mine: dict[str, Mapping[str, object]] = {"data": {"validation": "val.npz"}}
    asked = Request(model=str(MODEL), targets=("coral",), recipe="theirs/r.toml", overrides=mine, folder=tmp_path)
    found = resolve(asked)
    assert found.out == theirs / "bundles"
    assert found.base / str(found.recipe.data.train) == theirs / "train.npz"
    assert found.base / str(found.recipe.data.validation) == tmp_path / "val.npz"
    assert load_metric("scoring:metric", base=found.base).name == "scoring:metric"
    flagged = asked.model_copy(update={"overrides": {**mine, "build": {"out": "here"}}})
    assert resolve(flagged).out == tmp_path / "here"


def test_passes_come_from_one_place(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('extends = "int8"\n', "utf-8")
    found = resolve(Request(model=str(MODEL), targets=("coral",), recipe=str(recipe), folder=tmp_path))
    assert [p.name for p in found.targets[0].passes] == ["convert", "quantize"]
    recipe.write_text('extends = "int8"\n[[passes]]\nname = "quantize"\n', "utf-8")
    with pytest.raises(ConfigError, match="passes of its own"):
        resolve(Request(model=str(MODEL), targets=("coral",), recipe=str(recipe), folder=tmp_path))


def test_a_directory_that_is_no_model_and_code_in_a_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError):
        plan(tmp_path, model=tmp_path / "folder")


def test_keras_passes_cannot_work_on_a_tflite(tmp_path: Path, edgecompile_data: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[passes]]\nname = "convert"\n[[passes]]\nname = "quantize"\n', "utf-8")
    found = resolve(
        Request(
            model=str(edgecompile_data / "ic" / "pretrainedResnet.tflite"),
            targets=("coral",),
            recipe=str(recipe),
            folder=tmp_path,
        )
    )
    assert [p.name for p in found.targets[0].passes] == ["intake", "quantize"]


def trained(folder: Path, *, model: Path = MODEL, targets: tuple[str, ...] = ("coral",), **data: str) -> Plan:
    """Return the plan of the `r.toml` in folder, with rows to train on."""
    overrides = {"data": {"train": DATA, **data}}
    return resolve(Request(model=str(model), targets=targets, recipe="r.toml", overrides=overrides, folder=folder))


@pytest.mark.parametrize("value", ['"flsh"', "0", "-3", "1.5", "true", "[1]"])
def test_bytes_that_are_no_number_and_not_flash_are_one_problem(tmp_path: Path, value: str) -> None:
    (tmp_path / "r.toml").write_text(f'[[passes]]\nname = "channels"\nbytes = {value}\n', "utf-8")
    with pytest.raises(ConfigError) as caught:
        trained(tmp_path, calibration=DATA)
    assert [p.what.partition(" (got")[0] for p in caught.value.problems] == [
        '`bytes`: must be a whole number greater than 0, or "flash"'
    ]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ('name = "qat"\nteacher = ""', '`teacher`: must not be empty (got "")'),
        ('name = "qat"\nloss = ""', '`loss`: must not be empty (got "")'),
        (
            'name = "qat"\nteacher = "none"\nlabels = 0.0',
            "with teacher = none and labels = 0 there is nothing to learn",
        ),
        ('name = "prune"\nschedule = "constant"\nend = 0.2', "`end` has no meaning with schedule = constant"),
        (
            'name = "prune"\npattern = "2:4"\nend = 0.2',
            "`end` has no meaning with schedule = constant or pattern = 2:4",
        ),
        ('name = "qat"\ndense_per_channel = false', "`dense_per_channel` is false here, and true in `quantize`"),
    ],
)
def test_keys_of_passes_that_train_are_never_overruled_in_silence(tmp_path: Path, fields: str, what: str) -> None:
    (tmp_path / "r.toml").write_text(f"[[passes]]\n{fields}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        trained(tmp_path, targets=("linux-x86_64",), calibration=DATA)
    (problem,) = caught.value.problems
    assert problem.what.startswith(what)


def test_passes_that_train_learn_how_dense_layers_will_be_stored(tmp_path: Path) -> None:
    for key in ("", "dense_per_channel = false\n", "dense_per_channel = true\n"):
        (tmp_path / "r.toml").write_text(f'[[passes]]\nname = "qat"\n{key}', "utf-8")
        first = trained(tmp_path, calibration=DATA).targets[0].passes[0]
        assert first.model_dump()["dense_per_channel"] is False


@pytest.mark.parametrize(("first", "then"), [("quantize", "qat"), ("convert", "prune"), ("pack", "convert")])
def test_passes_that_train_come_before_the_model_is_converted(tmp_path: Path, first: str, then: str) -> None:
    (tmp_path / "r.toml").write_text(f'[[passes]]\nname = "{first}"\n[[passes]]\nname = "{then}"\n', "utf-8")
    with pytest.raises(ConfigError, match=f"`{first}` must come after `{then}`"):
        trained(tmp_path)


def test_training_does_not_begin_without_the_rows_that_quantize_needs(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[passes]]\nname = "prune"\n', "utf-8")
    with pytest.raises(ConfigError, match=r"data\.calibration: int8 needs calibration data"):
        trained(tmp_path)
    assert trained(tmp_path, calibration=DATA).targets
    assert trained(tmp_path, validation=DATA).targets  # a part of it calibrates
    recipe.write_text('[[passes]]\nname = "prune"\n[[passes]]\nname = "quantize"\nscheme = "dynamic"\n', "utf-8")
    assert trained(tmp_path, targets=("linux-x86_64",)).targets


def test_passes_that_train_need_the_layers_that_a_saved_model_has_lost(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "r.toml").write_text('[[passes]]\nname = "prune"\n', "utf-8")
    with pytest.raises(EdgeCompileError, match="`prune` trains layers, and the source is a SavedModel"):
        trained(tmp_path, model=tmp_path / "saved", calibration=DATA)


def test_a_teacher_that_cannot_teach_is_refused_before_anything_runs(tmp_path: Path) -> None:
    teachers = ("a.tflite", "b.h5", "c.keras", "d.keras")
    passes = [f'[[passes]]\nname = "distil"\nteacher = "{name}"\n' for name in teachers]
    (tmp_path / "r.toml").write_text("".join(passes), "utf-8")
    (tmp_path / "a.tflite").write_bytes((FILES / "image_float.tflite").read_bytes())
    (tmp_path / "b.h5").write_bytes(b"\x80\x04}.")
    function = {"class_name": "__lambda__", "config": {"code": "4wAA"}}
    layer = {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "scale", "function": function}}
    config = {"class_name": "Functional", "module": "keras", "config": {"layers": [layer]}}
    with zipfile.ZipFile(tmp_path / "d.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ConfigError) as caught:
        trained(tmp_path, calibration=DATA)
    code = "`Lambda` holds a Python function as bytecode"
    assert {p.where.removeprefix(f"distil.teacher = {tmp_path}/"): p.what for p in caught.value.problems} == {
        "a.tflite": "a .tflite cannot teach: training needs a model that TensorFlow runs",
        "b.h5": "is a pickle: opening it would run code, not a model that TensorFlow reads",
        "c.keras": "no such file or folder",
        "d.keras: layer scale": code,
    }


def test_flash_is_that_of_each_target(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[passes]]\nname = "channels"\nbytes = "flash"\n\n[[passes]]\nname = "qat"\n', "utf-8")

    def passes(*targets: str) -> Plan:
        request = Request(model=str(MODEL), targets=targets, recipe=str(recipe), folder=tmp_path,
                          overrides={"data": {"validation": DATA, "train": DATA}})  # fmt: skip
        return resolve(request)

    found = passes("nucleo-l4r5zi", "arduino-nano-33-ble").targets
    given = [one.passes[0].model_dump()["bytes"] for one in found]
    assert given == [(m.flash_bytes or 0) - m.reserved_flash_bytes for m in (one.target.memory for one in found)]
    assert given[0] != given[1]
    with pytest.raises(ConfigError, match="raspberry-pi-4 sets no limit for models"):
        passes("raspberry-pi-4")


def test_a_plan_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from edgecompile.plan import resolve\n"
        "from edgecompile.request import Request\n"
        f"data = {{'data': {{'validation': {DATA!r}}}}}\n"
        f"resolve(Request(model={str(MODEL)!r}, targets=('coral',), overrides=data))\n"
        "print([m for m in ('tensorflow', 'keras', 'ai_edge_litert', 'scipy', 'jinja2') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The sample models that ship: complete, small, clean, and as good as their README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgecompile.data.lint import lint
from edgecompile.data.load import load_dataset
from edgecompile.metrics import load_metric
from edgecompile.recipe import Recipe, load_recipe

SAMPLES = Path(__file__).parents[2] / "sample_models"
NAMES = ("digits-cnn", "digits-lstm", "pump-autoencoder")


def recipe_of(name: str) -> tuple[Recipe, Path]:
    recipe, file = load_recipe(str(SAMPLES / name / "recipe.toml"))
    assert file is not None
    return recipe, file.parent


def test_every_folder_is_tested() -> None:
    assert tuple(sorted(p.name for p in SAMPLES.iterdir() if p.is_dir())) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_complete_and_small(name: str) -> None:
    recipe, folder = recipe_of(name)
    assert recipe.model.path is not None
    for file in ("make.py", "labels.txt", "validation.npz", "calibration.npz", recipe.model.path):
        assert (folder / file).is_file(), file
    assert sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) < 300_000
    assert recipe.model.name == name
    assert recipe.summary
    assert recipe.build.targets


@pytest.mark.parametrize("name", NAMES)
def test_the_data_of_a_sample_is_clean(name: str) -> None:
    recipe, folder = recipe_of(name)
    assert recipe.data.validation is not None
    assert recipe.data.calibration is not None
    validation = load_dataset(recipe.data.validation, recipe.data, base=folder)
    calibration = load_dataset(recipe.data.calibration, recipe.data, base=folder)
    assert len(calibration) == 200
    assert lint(calibration, validation, section=recipe.data) == ()
    assert len(validation.class_names) in (2, 10)
    assert validation.labels is not None
    assert set(validation.labels.tolist()) == set(range(len(validation.class_names)))


PREDICT = """
import sys
import numpy as np
library = __import__(sys.argv[1])
model = library.models.load_model(sys.argv[2], compile=False)
np.save(sys.argv[4], model.predict(np.load(sys.argv[3]), verbose=0))
"""


@pytest.mark.tf
@pytest.mark.parametrize("name", NAMES)
def test_a_sample_scores_what_the_readme_says(name: str, tmp_path: Path) -> None:
    recipe, folder = recipe_of(name)
    assert recipe.data.validation is not None
    assert recipe.data.metric is not None
    assert recipe.model.path is not None
    data = load_dataset(recipe.data.validation, recipe.data, base=folder)
    np.save(tmp_path / "x.npy", data.batch("*"))
    library = "tf_keras" if name == "digits-lstm" else "keras"
    files = [str(folder / recipe.model.path), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    # A process of its own: Keras 2 and Keras 3 do not share one.
    subprocess.run([sys.executable, "-c", PREDICT, library, *files], check=True, capture_output=True)
    score = load_metric(recipe.data.metric, base=folder).score(np.load(tmp_path / "y.npy"), data)
    said = re.search(rf"\| `{name}` .*(?:top1|AUC) ([\d.]+)", (SAMPLES / "README.md").read_text())
    assert said is not None
    assert score == pytest.approx(float(said[1]), abs=0.0006)

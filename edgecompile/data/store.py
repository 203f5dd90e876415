"""Write a dataset to a folder and open it again, memory-mapped: how rows reach a worker process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgecompile.data.dataset import Array, Dataset
from edgecompile.recipe import Preprocess


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write dataset below folder: one `.npy` per array and `dataset.json`."""
    folder.mkdir(parents=True)
    keys = []
    for number, (key, array) in enumerate(dataset.arrays()):
        np.save(folder / f"{number}.npy", array, allow_pickle=False)
        keys.append(key)
    about = {
        "keys": keys,
        "class_names": dataset.class_names,
        "preprocess": {name: how.model_dump(mode="json") for name, how in dataset.preprocess.items()},
        "source": dataset.source,
    }
    (folder / "dataset.json").write_text(json.dumps(about), "utf-8")


def open_dataset(folder: Path) -> Dataset:
    """Return the dataset that `save_dataset` wrote; its arrays are read from disk as they are used."""
    about = json.loads((folder / "dataset.json").read_text("utf-8"))
    arrays: dict[str, Array] = {
        key: np.load(folder / f"{number}.npy", mmap_mode="r", allow_pickle=False)
        for number, key in enumerate(about["keys"])
    }
    return Dataset(
        inputs={key.removeprefix("input:"): a for key, a in arrays.items() if key.startswith("input:")},
        labels=arrays.get("labels"),
        groups=arrays.get("groups"),
        class_names=tuple(about["class_names"]),
        preprocess={name: Preprocess.model_validate(how) for name, how in about["preprocess"].items()},
        source=about["source"],
    )

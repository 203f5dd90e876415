"""Split validation rows in two when they must also calibrate: seeded, balanced by class, groups kept whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.data.labels import class_numbers
from edgecompile.errors import ConfigError

Rows = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]


def split(dataset: Dataset, *, rows: int, seed: int) -> tuple[Dataset, Dataset, str]:
    """Return (calibration, validation, what was done in one sentence for the report).

    No row is in both parts, and both keep the order of the dataset. At most half of the dataset calibrates. Classes are
    drawn in proportion, so that the rest weighs them as before and its accuracy means the same; every class that has
    two rows is in both parts, while rows last. With groups, whole groups are drawn until the next one would pass the
    limit, and at least one.

    Args:
        dataset: at least two rows (two groups, where there are any).
        rows: how many rows should calibrate, at most.
        seed: of the random choice.

    Raises:
        ConfigError: too few rows or groups to give both parts one.
    """
    n = len(dataset)
    if n < 2:
        raise ConfigError(
            "one row cannot both calibrate and validate",
            where=dataset.source,
            hint="give more rows, or calibration data of its own (--calibration)",
        )
    limit = min(rows, n // 2)
    rng = np.random.default_rng(seed)
    if dataset.groups is not None:
        chosen, groups = _whole_groups(dataset.groups, limit, rng, dataset.source)
        how = f"{groups} whole group{'s' * (groups > 1)} drawn at random"
    else:
        chosen, how = _draw(dataset, limit, rng, share=0.5)
    calibrates = np.zeros(n, bool)
    calibrates[chosen] = True
    calibration, validation = dataset.take(np.flatnonzero(calibrates)), dataset.take(np.flatnonzero(~calibrates))
    sentence = (
        f"{len(calibration):,} of {n:,} validation rows, {how} (seed {seed}), calibrate; "
        f"accuracy is measured on the other {len(validation):,}"
    )
    return calibration, validation, sentence


def thin(dataset: Dataset, *, rows: int, seed: int) -> tuple[Dataset, str]:
    """Return at most rows of a calibration set of its own, and what was done in one sentence for the report."""
    n = len(dataset)
    if n <= rows:
        return dataset, f"all {n:,} calibration rows are used"
    chosen, how = _draw(dataset, rows, np.random.default_rng(seed), share=1.0)
    return dataset.take(np.sort(chosen)), f"{len(chosen):,} of {n:,} calibration rows, {how} (seed {seed}), are used"


def _draw(dataset: Dataset, wanted: int, rng: np.random.Generator, *, share: float) -> tuple[Rows, str]:
    """Return wanted row indices, at most share of each class where classes are known, and how they were drawn."""
    numbers = class_numbers(dataset.labels)
    if numbers is not None:
        classes, counts = np.unique(numbers, return_counts=True)
        quotas = _quotas(counts, np.floor(counts * share).astype(np.int64), wanted)
        if quotas.any():
            of_class = [np.flatnonzero(numbers == c) for c in classes]
            parts = [rng.choice(rows, q, replace=False) for rows, q in zip(of_class, quotas, strict=True)]
            return np.concatenate(parts), "drawn at random in proportion to the classes"
    return rng.choice(len(dataset), wanted, replace=False), "drawn at random"


def _quotas(counts: Counts, most: Counts, wanted: int) -> Counts:
    """Return how many rows each class gives: in proportion, at least one while rows last, at most `most`."""
    exact = counts * (wanted / counts.sum())
    quotas: Counts = np.clip(np.floor(exact).astype(np.int64), np.minimum(1, most), most)
    while quotas.sum() > wanted:
        quotas[np.argmax(quotas)] -= 1
    while quotas.sum() < min(wanted, int(most.sum())):
        quotas[np.argmax(np.where(quotas < most, exact - quotas, -np.inf))] += 1
    return quotas


def _whole_groups(groups: Counts, limit: int, rng: np.random.Generator, source: str) -> tuple[Rows, int]:
    ids, counts = np.unique(groups, return_counts=True)
    if len(ids) < 2:
        raise ConfigError(
            "all rows are of one group, which cannot both calibrate and validate",
            where=source,
            hint="give calibration data of its own (--calibration)",
        )
    order = rng.permutation(len(ids))
    drawn = order[: int((np.cumsum(counts[order]) <= limit).sum())]
    if not len(drawn):
        drawn = np.array([np.argmin(counts)])
    return np.flatnonzero(np.isin(groups, ids[drawn])), len(drawn)

"""What the numbers of a model's outputs mean: training compares probabilities in another way than values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.data.scores import is_flat
from edgecompile.errors import ConfigError

Array = npt.NDArray[Any]
Meaning = Literal["probabilities", "probability", "logits", "logit", "values"]
"""What an output holds. probabilities: one per class, of sum 1. probability: each column of its own, in [0, 1].
logits: one per class, before a softmax. logit: of one class against none, before a sigmoid. values: anything else."""


CLASSIFIES = ("top1", "top5", "macro_f1")
_YES_AND_NO = 2
"""Columns that `auc` can tell apart; of more it measures how well a row is reconstructed."""
_SUM_SLACK = 1e-3
"""How far probabilities of one row may be from a sum of 1: float32 softmax over 1,000 classes is within 1e-5."""


def meaning_of(output: Array, metric: str | None) -> Meaning:
    """Return what an output holds, from some rows of it, [n, ...]; axes of size 1 do not count."""
    if not is_flat(output.shape[1:]):
        return "values"
    flat = output.reshape(len(output), -1)
    inside, columns = bool(flat.min() >= 0 and flat.max() <= 1), flat.shape[1]
    if columns > 1 and inside and np.allclose(flat.sum(axis=1), 1, atol=_SUM_SLACK):
        return "probabilities"
    classifies = metric in CLASSIFIES or (metric == "auc" and columns <= _YES_AND_NO)
    if classifies and columns > 1:
        return "logits"
    if classifies and not inside:
        return "logit"
    return "probability" if inside else "values"


def meanings_of(sample: Sequence[Array], metric: str | None, *, labelled: int) -> list[Meaning]:
    """Return what each output holds, from some rows of all; the metric speaks of the labelled one only."""
    return [meaning_of(s, metric if number == labelled else None) for number, s in enumerate(sample)]


def whole_numbers(*, where: str) -> ConfigError:
    """Return the error for outputs that no gradient passes."""
    return ConfigError(
        "gives whole numbers, and training can move numbers of floating point only",
        where=where,
        hint="name another output, or save the model without its last step",
    )

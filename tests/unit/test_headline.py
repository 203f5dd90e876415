"""The first lines of a report, as golden texts: read them as a user would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecompile.backends.base import Compiled
from edgecompile.compare import mcnemar_exact, paired_interval, wilson
from edgecompile.recipe import GateSection
from edgecompile.report import Accuracy, Chance, Finding, Flips, Interval, Parity, Score, Sizes, Step
from edgecompile.target import Memory, Source, Target
from edgecompile.tflite.graph import Graph, Quantization, Tensor
from edgecompile.units import show_apart, show_value
from edgecompile.verify import checks, headline, show_check, show_drop, unchecked
from edgecompile.verify.wording import show_interval

ROOMY = Target(
    name="coral",
    title="Google Coral Edge TPU",
    summary="",
    backend="edgetpu",
    recipe="int8",
    schemes=("int8",),
    sources=(Source(what="x", document="x"),),
)
SMALL = ROOMY.model_copy(update={"memory": Memory(flash_bytes=131_072, reserved_flash_bytes=65_536)})
SIZES = Sizes(source_bytes=400_000, float_bytes=318_144, result_bytes=98_496, result_gzip_bytes=80_000)
QUANTIZE = Step(name="quantize", fields={"scheme": "int8", "io": "same", "ranges": "mse"})
NOT_COMPILED = Compiled(
    files={},
    model="",
    status="not compiled for the Edge TPU: edgetpu_compiler not found; it is a Debian package of Coral's",
    complete=False,
)


def ends(dtype: str) -> Graph:
    how = None
    if dtype == "int8":
        how = Quantization(np.array([1.0], np.float32), np.array([0], np.int64))
    tensors = tuple(Tensor(i, n, (1, 3), (1, 3), dtype, how, None) for i, n in enumerate(("image", "scores")))
    return Graph(tensors, (), (0,), (1,), (), 1, "", ())


def shares(both_right: int, lost: int, gained: int, both_wrong: int) -> Accuracy:
    n = both_right + lost + gained + both_wrong
    before, after = both_right + lost, both_right + gained
    p = mcnemar_exact(lost, gained)
    return Accuracy(
        metric="top1",
        higher_is_better=True,
        unit="fraction",
        output="scores",
        float_score=Score(value=before / n, interval=wilson(before, n), n=n),
        result_score=Score(value=after / n, interval=wilson(after, n), n=n),
        drop=(lost - gained) / n,
        drop_interval=paired_interval(lost, gained, n),
        within_noise=p >= 0.05,
        flips=Flips(both_right=both_right, both_wrong=both_wrong, lost=lost, gained=gained, p=p),
        kernels="reference",
    )


def values(before: float, after: float, *, metric: str, higher_is_better: bool, spread: float) -> Accuracy:
    drop = before - after if higher_is_better else after - before

    def around(value: float) -> Interval:
        return Interval(
            low=value - spread, high=value + spread, method="bootstrap percentile, 1000 resamples of groups"
        )

    return Accuracy(
        metric=metric,
        higher_is_better=higher_is_better,
        counted="groups",
        float_score=Score(value=before, interval=around(before), n=248),
        result_score=Score(value=after, interval=around(after), n=248),
        drop=drop,
        drop_interval=around(drop),
        within_noise=abs(drop) <= spread,
        kernels="reference",
    )


GOOD = shares(2590, 17, 16, 377)
GUESS = Chance(
    guess=0.1,
    answer="always answering class 0",
    lead=Interval(low=-0.02, high=0.01, method="adjusted Wald for pairs"),
    units=3000,
    proven=False,
)
UNLIKE = Finding(
    severity="warning",
    rule="data-scales-differ",
    what="calibration values span 0 to 1, validation values 0 to 255",
    remedy="store both the same way",
)
CHANCE = Finding(
    severity="warning",
    rule="score-near-chance",
    what="the float model scores 9.80% top1, and guessing gives 10%: is the preprocessing right?",
    remedy="compare `data.preprocess` with what the model was trained on",
)

CASES: dict[str, dict[str, Any]] = {
    "pass": {"accuracy": GOOD},
    "pass-no-change": {"accuracy": shares(900, 0, 0, 100)},
    "pass-gain": {"accuracy": shares(2500, 10, 60, 430)},
    "pass-auc": {"accuracy": values(0.9234, 0.9219, metric="auc", higher_is_better=True, spread=0.004)},
    "pass-one-row": {"accuracy": shares(1, 0, 0, 0)},
    "missed-drop": {"accuracy": shares(2500, 110, 20, 370)},
    "missed-drop-by-a-hair": {"accuracy": shares(97_000, 1_500, 499, 1_001)},
    "missed-mae": {
        "accuracy": values(2.31, 2.87, metric="mae", higher_is_better=False, spread=0.1),
        "gate": GateSection(max_drop=0.2, min=2.5),
    },
    "pass-few-rows": {"accuracy": shares(260, 4, 3, 33)},
    "missed-min": {"accuracy": shares(2500, 10, 10, 480), "gate": GateSection(min=0.85)},
    "no-data": {"accuracy": None},
    "no-data-and-too-large": {"accuracy": None, "target": SMALL},
    "not-compiled": {"accuracy": GOOD, "compiled": NOT_COMPILED},
    "size-exceeded": {"accuracy": GOOD, "target": SMALL},
    "everything-missed": {
        "accuracy": shares(2400, 300, 20, 280),
        "gate": GateSection(min=0.9),
        "target": SMALL,
        "graph": ends("float32"),
        "parity": Parity(reference="tf_keras", rows=32, output="scores", max_abs=0.0123, tolerance=1e-4, reason="why"),
        "compiled": NOT_COMPILED,
        "findings": (Finding(severity="error", rule="edgetpu-static-shapes", what="sizes are open", remedy="--shape"),),
    },
    "near-chance": {"accuracy": shares(280, 14, 12, 2694), "told": (CHANCE,)},
    "not-proven": {
        "accuracy": shares(280, 14, 12, 2694).model_copy(update={"chance": GUESS}),
        "findings": (CHANCE,),
    },
    "not-proven-and-missed": {
        "accuracy": shares(180, 114, 12, 2694).model_copy(update={"chance": GUESS}),
        "findings": (CHANCE,),
        "gate": GateSection(fail_on=("warning",)),
    },
    "chance-allowed": {
        "accuracy": shares(280, 14, 12, 2694).model_copy(update={"chance": GUESS}),
        "findings": (CHANCE,),
        "gate": GateSection(allow_chance=True),
    },
    "missed-drop-with-a-cause": {"accuracy": shares(300, 2300, 20, 380), "findings": (UNLIKE,)},
    "missed-drop-on-few-rows": {"accuracy": shares(340, 9, 4, 47)},
    "float32": {
        "accuracy": shares(2590, 0, 0, 410),
        "target": ROOMY.model_copy(update={"schemes": ("float32",), "name": "linux", "title": "Linux"}),
        "graph": ends("float32"),
        "steps": (QUANTIZE.model_copy(update={"fields": {"scheme": "float32", "io": "same"}}),),
        "sizes": SIZES.model_copy(update={"result_bytes": 318_144}),
    },
}


@pytest.mark.parametrize("case", CASES)
def test_headline(case: str, golden: Callable[[str, str], None]) -> None:
    given = {
        "gate": GateSection(),
        "target": ROOMY,
        "graph": ends("int8"),
        "sizes": SIZES,
        "steps": (Step(name="convert"), QUANTIZE),
        "findings": (),
        "calibration_rows": 200,
        **CASES[case],
    }
    told = given.pop("told", ())
    found = checks(**given)
    compiled = given.get("compiled")
    lines = headline(
        checks=found,
        accuracy=given["accuracy"],
        sizes=given["sizes"],
        compiled=compiled,
        findings=(*given["findings"], *told),
    )
    table = [f"{'ok  ' if c.ok else 'MISS'} {c.name}: {c.title} {show_check(c)} | {c.detail}" for c in found]
    left = unchecked(target=given["target"], accuracy=given["accuracy"], parity=given.get("parity"), compiled=compiled)
    golden(f"headline/{case}.txt", "\n".join([*lines, "", *table, "", *left]) + "\n")


def test_values_carry_their_unit() -> None:
    assert show_value(0.0123, "points") == "1.23 points"
    assert show_value(0.869, "fraction") == "86.90%"
    assert show_value(98_496, "bytes") == "98,496 B (96.2 KiB)"
    assert show_value(1234, "count") == "1,234"
    assert show_value(1.5, "codes") == "1.50"
    assert show_value(0.0123456, "metric") == "0.01235"
    assert show_value(-1e-9, "points") == "0.00 points"


@pytest.mark.parametrize(
    ("low", "high", "unit", "shown"),
    [
        (-0.0042, 0.0048, "points", "-0.42 to 0.48 points"),
        (0.8561, 0.88036, "fraction", "85.61% to 88.04%"),
        (-0.0003047, 0.01054, "metric", "-0.0003 to 0.0105"),
        (1234.5, 2345.6, "metric", "1234 to 2346"),
        (1.23e-8, 4.56e-8, "metric", "1.23e-08 to 4.56e-08"),
        (0.5, 0.5, "metric", "0.5 to 0.5"),
    ],
)
def test_intervals_show_as_much_as_their_width_means(low: float, high: float, unit: str, shown: str) -> None:
    assert show_interval(Interval(low=low, high=high, method=""), unit) == shown


def test_found_and_limit_never_read_alike_when_they_differ() -> None:
    assert show_apart(0.01, 0.01, "points") == ("1.00 points", "1.00 points")
    assert show_apart(0.010001, 0.01, "points") == ("1.0001 points", "1.0000 points")
    assert show_apart(1e-17, 0.0, "fraction") == ("1e-17", "0.0")


def test_drop_in_words() -> None:
    assert show_drop(shares(10, 0, 0, 0)) == "no change"
    assert show_drop(shares(97, 2, 1, 0)) == "drop 1.00 points"
    assert show_drop(shares(99_998, 1, 0, 1)) == "drop 0.001 points"
    assert show_drop(shares(97, 1, 2, 0)) == "gain 1.00 points"
    assert show_drop(values(1.5, 1.25, metric="mse", higher_is_better=False, spread=0.1)) == "gain 0.25"

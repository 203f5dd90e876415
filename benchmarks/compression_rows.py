"""The rows of benchmarks/compression.py: what is built, and what each must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_SECONDS = 15 * 60
"""That a row may take on two cores."""


@dataclass(frozen=True)
class Found:
    """What came out of a row; top-1 in percent."""

    seconds: float
    float_top1: float
    int8_top1: float
    epochs: tuple[int, ...]
    zeros: float | None
    distinct: int | None
    obeys_two_of_four: bool | None
    bytes: int
    gzip_bytes: int
    macs: int
    bytes_share: float
    gzip_share: float
    macs_share: float

    @property
    def drop(self) -> float:
        """Points lost against the float model."""
        return self.float_top1 - self.int8_top1


Promise = Callable[[Found, Mapping[str, Found]], tuple[bool, str]]


def drop(most: float) -> Promise:
    # Counts of 3,000 rows in floating point: a drop of exactly the limit must not fail by its last bit.
    return lambda f, _: (f.drop <= most + 1e-9, f"drop {f.drop:+.2f} ≤ {most:+.1f}")


def zeros(least: float) -> Promise:
    return lambda f, _: ((f.zeros or 0) >= least, f"zeros {f.zeros or 0:.1%} ≥ {least:.0%}")


def distinct(most: int) -> Promise:
    def kept(f: Found, _: Mapping[str, Found]) -> tuple[bool, str]:
        return f.distinct is not None and f.distinct <= most, f"values {f.distinct} ≤ {most}"

    return kept


def gzipped(most: float) -> Promise:
    return lambda f, _: (f.gzip_share <= most, f"gzip {f.gzip_share:.3f} ≤ {most}")


def stored(most: float) -> Promise:
    return lambda f, _: (f.bytes_share <= most, f"file {f.bytes_share:.3f} ≤ {most}")


def computed(most: float) -> Promise:
    return lambda f, _: (f.macs_share <= most, f"MACs {f.macs_share:.3f} ≤ {most}")


def two_of_four() -> Promise:
    return lambda f, _: (bool(f.obeys_two_of_four), "2:4 in every group")


def better_than(row: str, least: float) -> Promise:
    def kept(f: Found, others: Mapping[str, Found]) -> tuple[bool, str]:
        ahead = f.int8_top1 - others[row].int8_top1
        return ahead >= least - 1e-9, f"{ahead:+.2f} over {row} ≥ {least:+.1f}"

    return kept


@dataclass(frozen=True)
class Row:
    """A recipe and its promises.

    Attributes:
        name: of the row.
        passes: that train; none for plain int8.
        promises: what must hold.
        against: rows that promises compare with; they come first.
        tfmot: the row that TF-MOT is given the stages and epochs of; then passes is empty.
    """

    name: str
    passes: tuple[Mapping[str, Any], ...] = ()
    promises: tuple[Promise, ...] = ()
    against: tuple[str, ...] = ()
    tfmot: str = ""


QAT: Mapping[str, Any] = {"name": "qat"}
PRUNE: Mapping[str, Any] = {"name": "prune", "sparsity": 0.5}
CLUSTER: Mapping[str, Any] = {"name": "cluster", "clusters": 16}
HARD: Mapping[str, Any] = {"teacher": "none"}
EVEN: Mapping[str, Any] = {"name": "channels", "macs": 0.57, "importance": "l2", "spread": "even"}
"""A quarter of every layer: 0.75² of the MACs, and a little more for the first layer, whose input stays."""

ROWS: Mapping[str, tuple[Row, ...]] = {
    "ic": (
        Row("int8"),
        Row("qat", (QAT,), (drop(0.1),)),
        Row("prune-qat", (PRUNE, QAT), (zeros(0.5), drop(1.0), gzipped(0.75))),
        Row("small", (PRUNE, CLUSTER, QAT), (drop(2.0), distinct(16), zeros(0.5), gzipped(0.5))),
        Row("slim", ({"name": "channels"}, QAT), (computed(0.875), drop(1.0), stored(0.9))),
        Row("slim-0.75", ({"name": "channels", "macs": 0.75}, QAT), (computed(0.75), drop(2.5), stored(0.8))),
        Row("even-l2", ({**EVEN, **HARD}, {**QAT, **HARD})),
        Row(
            "slim-0.56",
            ({"name": "channels", "macs": 0.56}, QAT),
            (computed(0.565), better_than("even-l2", 3.0)),
            against=("even-l2",),
        ),
        Row("prune-2:4", ({"name": "prune", "pattern": "2:4"},), (two_of_four(),)),
        *(Row(f"tfmot-{name}", tfmot=name) for name in ("qat", "prune-qat", "small", "prune-2:4")),
    ),
    "mnist": (
        Row("int8"),
        Row("qat", (QAT,), (drop(1.0),)),
        Row("prune-qat", (PRUNE, QAT), (zeros(0.5), drop(1.0))),
        Row("cluster-qat", (CLUSTER, QAT), (distinct(16), drop(1.0))),
        Row("small", (PRUNE, CLUSTER, QAT), (distinct(16), zeros(0.5), drop(1.0))),
        Row("slim", ({"name": "channels"}, QAT), (computed(0.875), drop(1.0))),
    ),
}

HEAD = (
    "| row | epochs | float → int8 | drop | zeros | values | bytes | of int8 | gzip | of int8 | MACs | s | promises |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
)


def shown(row: Row, found: Found, verdicts: Sequence[tuple[bool, str]]) -> str:
    """Return a row of the table."""
    said = "; ".join(f"{'pass' if ok else 'FAIL'}: {text}" for ok, text in verdicts)
    cells = [
        row.name,
        " + ".join(map(str, found.epochs)) or "–",
        f"{found.float_top1:.2f} → {found.int8_top1:.2f}",
        f"{found.drop:+.2f}",
        "–" if found.zeros is None else f"{found.zeros:.1%}",
        "–" if found.distinct is None else str(found.distinct),
        f"{found.bytes:,}",
        f"{found.bytes_share:.2f}",
        f"{found.gzip_bytes:,}",
        f"{found.gzip_share:.3f}",
        f"{found.macs_share:.3f}",
        f"{found.seconds:.0f}",
        said or "–",
    ]
    return f"| {' | '.join(cells)} |"


def judged(row: Row, found: Found, others: Mapping[str, Found]) -> Iterator[tuple[bool, str]]:
    for promise in row.promises:
        ok, text = promise(found, others)
        yield ok, text
    if row.promises:
        yield found.seconds < MOST_SECONDS, f"{found.seconds:.0f} s < {MOST_SECONDS}"

"""Feeds: from a data set's rows to what each input tensor of a model takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecompile.data.dataset import Dataset
from edgecompile.errors import ConfigError, ModelError, Problem, near_miss
from edgecompile.recipe import Preprocess, Quantized
from edgecompile.tflite.graph import Graph, Tensor
from edgecompile.tflite.values import Array
from edgecompile.units import show_shape

_CASTABLE = {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
_FLOATS = {"float16", "float32", "float64"}

_BEYOND_CODES = np.float32(2.0**33)
"""No difference of two 32-bit codes is as large."""


def quantize_rows(x: npt.NDArray[np.float32], *, scale: float, zero_point: int, dtype: str) -> Array:
    """Return integer codes: round half away from zero of x / scale + zero_point, clipped to dtype.

    Args:
        x: float32, any shape; infinities are clipped.
        scale: real units per step, above 0.
        zero_point: the code of 0.0.
        dtype: an integer dtype.

    Returns:
        Codes of dtype, same shape as x.

    Raises:
        ConfigError: x holds NaN, which no code stands for.

    Source: TFLite 8-bit quantization spec; rounding as LiteRT's reference QUANTIZE does (of a float32 quotient).
    """
    if np.isnan(x).any():
        raise ConfigError("the rows hold NaN, which an integer input cannot take", hint="mend or drop those rows")
    with np.errstate(over="ignore"):
        steps = np.clip(x / np.float32(scale), -_BEYOND_CODES, _BEYOND_CODES)
    whole = np.trunc(steps)
    # The fraction of a float32 is exact, while adding 0.5 to the largest float32 below 0.5 gives 1.
    whole += np.copysign(np.abs(steps - whole) >= 0.5, steps)
    bounds = np.iinfo(dtype)
    # float64 holds every bound of up to 32 bits exactly.
    codes: Array = np.clip(whole.astype(np.float64) + zero_point, bounds.min, bounds.max).astype(dtype)
    return codes


def stored_rows(graph: Graph, arrays: Sequence[Array]) -> Dataset:
    """Return rows of stored values, one array [n, ...] for each input of graph, which go in as they are."""
    how = {}
    for name, index in zip(graph.input_names(), graph.inputs, strict=True):
        stored = graph.tensors[index].quantization
        how[name] = Preprocess()
        if stored is not None:
            quantized = Quantized(scale=float(stored.scale[0]), zero_point=int(stored.zero_point[0]))
            how[name] = Preprocess(quantized=quantized)
    return Dataset(inputs=dict(zip(how, arrays, strict=True)), preprocess=how)


def dequantize_rows(codes: Array, *, scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """Return the real values of per-tensor codes: scale * (code - zero_point).

    Args:
        codes: integers, any shape.
        scale: real units per step.
        zero_point: the code of 0.0.

    Returns:
        float32, same shape as codes.

    Source: TFLite 8-bit quantization spec.
    """
    return (np.float32(scale) * (codes.astype(np.int64) - zero_point)).astype(np.float32)


@dataclass(frozen=True)
class Feed:
    """One input tensor and how rows become its content."""

    name: str
    tensor: Tensor
    shape: tuple[int, ...]
    """Of the input at one run: the tensor's, with open dimensions as in the data."""
    rows_per_run: int
    """How many rows one run takes: the batch, or 1 where the tensor has no batch axis."""
    batched: bool
    """Whether the first axis of the tensor counts rows."""

    def content(self, rows: Dataset, part: slice) -> Array:
        """Return the rows of part in the tensor's dtype, [rows, ...].

        Raises:
            ConfigError: a value has no form in that dtype.
        """
        dtype, how = self.tensor.dtype, self.tensor.quantization
        if dtype in _FLOATS:
            return rows.batch(self.name, part).astype(dtype, copy=False)
        if how is not None:
            x = rows.batch(self.name, part)
            try:
                return quantize_rows(x, scale=float(how.scale[0]), zero_point=int(how.zero_point[0]), dtype=dtype)
            except ConfigError as error:
                raise ConfigError(
                    error.problems[0].what, where=f"input `{self.name}`", hint=error.problems[0].hint
                ) from None
        return self._cast(rows, part)

    def _cast(self, rows: Dataset, part: slice) -> Array:
        """Return integers that mean themselves, such as token ids."""
        # float32, which `batch` gives, holds integers only up to 2^24: take them as stored when nothing is to be done.
        plain = rows.preprocess.get(self.name, rows.preprocess.get("*", Preprocess())) == Preprocess()
        x = rows.raw(self.name)[part] if plain else rows.batch(self.name, part)
        with np.errstate(invalid="ignore"):  # what does not fit is found by comparing
            cast = x.astype(self.tensor.dtype)
        if not np.array_equal(cast.astype(x.dtype), x):
            wrong = x[cast.astype(x.dtype) != x].flat[0]
            raise ConfigError(
                f"takes {self.tensor.dtype} as it is, and the rows hold {wrong!s}",
                where=f"input `{self.name}`",
                hint="give whole numbers of that range",
            )
        return cast


def match(graph: Graph, rows: Dataset, *, where: str) -> tuple[Feed, ...]:
    """Return how rows feed each input of graph, in graph order.

    Raises:
        ConfigError: names or shapes do not fit; all of them are reported.
        ModelError: an input holds something that rows cannot be.
    """
    names = graph.input_names()
    if not names:
        raise ModelError("the model has no inputs", where=where)
    rows = rows.renamed(names)
    _ensure_names(names, rows)
    feeds: list[Feed] = []
    problems: list[Problem] = []
    for name, index in zip(names, graph.inputs, strict=True):
        tensor = graph.tensors[index]
        ensure_usable(name, tensor, where=where)
        row = rows.batch(name, slice(0, 1)).shape[1:]
        feed = _feed(name, tensor, row)
        if feed is None:
            problems.append(_misfit(name, tensor, row))
        else:
            feeds.append(feed)
    if problems:
        raise ConfigError.of(problems)
    if len({feed.rows_per_run for feed in feeds}) > 1:
        sizes = ", ".join(f"`{f.name}` {f.rows_per_run}" for f in feeds)
        raise ModelError(f"the inputs take different numbers of rows at once: {sizes}", where=where)
    return tuple(feeds)


def one_run(feeds: Sequence[Feed], contents: Sequence[Array]) -> list[Array]:
    """Return what the inputs take at one run for contents, [rows, ...] each; its last row fills a batch up."""
    made = []
    for feed, x in zip(feeds, contents, strict=True):
        missing = feed.rows_per_run - len(x)
        whole = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
        made.append(whole if feed.batched else whole[0])
    return made


def ensure_usable(name: str, tensor: Tensor, *, where: str) -> None:
    """Raise ModelError where the input holds what no rows can be: texts, resources, codes of no usable scale."""
    if tensor.dtype not in _CASTABLE | _FLOATS:
        raise ModelError(f"input `{name}` holds {tensor.dtype}, which no data set here can give", where=where)
    scales = [] if tensor.quantization is None else tensor.quantization.scale.tolist()
    if len(scales) > 1 or not all(0 < scale < math.inf for scale in scales):
        raise ModelError(f"input `{name}` has the scale {scales[:4]}: not one number above 0", where=where)


def _ensure_names(names: Sequence[str], rows: Dataset) -> None:
    if "*" in rows.inputs:
        raise ConfigError(
            f"the model has {len(names)} inputs ({', '.join(names)}), and the data has one without a name",
            hint="give one array for each input, by its name",
        )
    problems = [
        Problem(f"the data has no input `{name}`", hint=near_miss(name, rows.inputs))
        for name in names
        if name not in rows.inputs
    ]
    problems += [
        Problem(f"the model has no input `{name}`, which the data has", hint=near_miss(name, names))
        for name in rows.inputs
        if name not in names
    ]
    counts = {name: len(x) for name, x in rows.inputs.items()}
    if len(set(counts.values())) > 1:
        problems.append(Problem(f"inputs have different numbers of rows: {counts}"))
    if 0 in counts.values():
        problems.append(Problem("the data has no rows"))
    if problems:
        raise ConfigError.of(problems)


def _feed(name: str, tensor: Tensor, row: tuple[int, ...]) -> Feed | None:
    """Return how rows of shape row feed tensor; None where they do not fit."""
    wanted = tensor.shape_signature
    if wanted and _fits(row, wanted[1:]):
        # An open batch keeps the size that the file gives beside it: 1 from every converter.
        batch = tensor.shape[0]
        return Feed(name, tensor, (batch, *row), rows_per_run=batch, batched=True) if batch else None
    if _fits(row, wanted):
        return Feed(name, tensor, row, rows_per_run=1, batched=False)
    return None


def _fits(row: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(row) == len(wanted) and all(w in (-1, r) for r, w in zip(row, wanted, strict=True))


def _misfit(name: str, tensor: Tensor, row: tuple[int, ...]) -> Problem:
    wanted = tensor.shape_signature[1:]
    hint = ""
    if tuple(s for s in row if s != 1) == tuple(s for s in wanted if s != 1):
        hint = "the sizes agree but for axes of size 1: reshape the data"
    elif row[:2] == wanted[1:3] and row[-1:] == wanted[:1] and len(row) == 3:
        hint = "the data has channels last, the model channels first: transpose the data"
    elif row[1:] == wanted[:2] and row[:1] == wanted[-1:] and len(row) == 3:
        hint = "the data has channels first, the model channels last: transpose the data"
    sizes = show_shape(wanted).replace("-1", "?")
    return Problem(f"takes rows of {sizes}, and the data has rows of {show_shape(row)}", f"input `{name}`", hint)

"""Sources that a firmware build takes as they are: the folder `firmware` of a bundle for a microcontroller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecompile.backends.base import Firmware
from edgecompile.bundle.firmware import api, sources
from edgecompile.bundle.firmware.example import example
from edgecompile.bundle.firmware.io_header import io_header
from edgecompile.bundle.firmware.layouts import arranged
from edgecompile.bundle.firmware.names import Names
from edgecompile.recipe import Layout, Preprocess
from edgecompile.report import TensorInfo

Array = npt.NDArray[Any]

FOLDER = "firmware"
_MOST_ROWS, _MOST_BYTES = 4, 64 << 10
"""Golden rows in a header: they become flash of a test build."""


@dataclass(frozen=True)
class FirmwareContent:
    """What the sources are made of.

    Attributes:
        firmware: arena, kernels and ops, from the backend.
        model: bytes of the file for the device.
        inputs, outputs: tensors in order, with the names that users know.
        preprocess: input name → preprocessing; `*` for all others.
        stored: input name → dtype of stored values; empty when unknown.
        golden_inputs: for each input [rows, ...], as the model takes them.
        golden_outputs: for each output [rows, ...], from TFLite Micro.
        golden_raw: for each input its stored values [rows, ...], or None.
        labels: class names.
        title: one line about the model, for the manifests of build tools.
        layout: which build tool the sources are arranged for.
        prefix: of every name in the sources.
    """

    firmware: Firmware
    model: bytes
    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
    preprocess: Mapping[str, Preprocess]
    stored: Mapping[str, str]
    golden_inputs: Sequence[Array]
    golden_outputs: Sequence[Array]
    golden_raw: Sequence[Array | None]
    labels: Sequence[str] = ()
    title: str = "A model built by edgecompile."
    layout: Layout = "cmake"
    prefix: str = "model"


def firmware_files(content: FirmwareContent) -> dict[str, bytes]:
    """Return name → bytes of every source, below `firmware/`; equal content gives equal bytes."""
    inputs, outputs = content.inputs, content.outputs
    rows = golden_rows(content)
    raw = [
        None if x is None or x.dtype.name not in {"uint8", "int8"} or x.shape[1:] != y.shape[1:] else x[rows]
        for x, y in zip(content.golden_raw, content.golden_inputs, strict=True)
    ]
    firmware, names = content.firmware, Names(content.prefix)
    low = names.low
    texts = {
        f"{low}_data.h": sources.data_header(names),
        f"{low}_data.cc": sources.data_source(content.model, names, section=firmware.model_section),
        f"{low}_config.h": sources.config_header(
            firmware, names, inputs=inputs, outputs=outputs, labels=content.labels
        ),
        f"{low}_ops.h": sources.ops_header(firmware.resolver, names),
        f"{low}_io.h": io_header(inputs, outputs, preprocess=content.preprocess, stored=content.stored, names=names),
        f"{low}.h": api.api_header(inputs, outputs, names),
        f"{low}.cc": api.api_source(inputs, outputs, firmware, names),
        f"{low}_golden.h": sources.golden_header(
            [x[rows] for x in content.golden_inputs],
            [y[rows] for y in content.golden_outputs],
            raw,
            firmware,
            names,
        ),
        f"{low}_selftest.cc": api.selftest_source(inputs, outputs, names),
    }
    made = arranged(content.layout, texts, firmware, names, title=content.title)
    if content.layout == "cmake":
        made |= example(inputs, outputs, texts[f"{low}_io.h"], names, labels=bool(content.labels), core=firmware.core)
    return {f"{FOLDER}/{path}": text.encode() for path, text in made.items()}


def golden_rows(content: FirmwareContent) -> slice:
    """Return which golden rows go into the header: four, fewer where rows are large, at least one."""
    row_bytes = sum(x[0].nbytes for x in (*content.golden_inputs, *content.golden_outputs))
    return slice(0, int(np.clip(_MOST_BYTES // max(1, row_bytes), 1, _MOST_ROWS)))

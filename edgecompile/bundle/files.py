"""What is in a bundle: name → bytes, from what a build found out. Nothing is read from or written to the disk here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files

import numpy as np

from edgecompile.backends.base import Firmware
from edgecompile.bundle.firmware import FirmwareContent, firmware_files
from edgecompile.bundle.firmware.names import Names
from edgecompile.bundle.golden import Array, Golden
from edgecompile.bundle.html import report_html
from edgecompile.bundle.io_json import describe_io, json_bytes
from edgecompile.bundle.manifest import MANIFEST, make_manifest
from edgecompile.bundle.readme import FILES, readme
from edgecompile.bundle.readme_firmware import into_firmware
from edgecompile.data.dataset import Dataset
from edgecompile.recipe import Preprocess, Recipe
from edgecompile.report import Report
from edgecompile.target import Target


@dataclass(frozen=True)
class Content:
    """What a build hands over.

    Attributes:
        report: of this model on this target; inputs and outputs are in graph order.
        models: what the backend made, name in the bundle → bytes.
        host_model: the one of models that any LiteRT interpreter runs.
        device_model: the one that the device loads.
        device_chain: those that the device runs one behind the other; empty: device_model alone.
        chain_ends: names that inputs and outputs have as tensors of these files.
        golden: golden vectors of host_model.
        recipe: the recipe that was run, with the command line laid over it.
        target: the target file.
        data: validation rows, or None.
        labels: class names in output order; empty when unknown.
        firmware: for microcontrollers: what C sources are made of.
        keras: the compressed Keras model, where it is to be kept.
        device_outputs: for each output what the device gives on the golden inputs; with firmware.
    """

    report: Report
    models: Mapping[str, bytes]
    host_model: str
    device_model: str
    golden: Golden
    recipe: Recipe
    target: Target
    data: Dataset | None = None
    labels: tuple[str, ...] = ()
    firmware: Firmware | None = None
    device_outputs: tuple[Array, ...] = ()
    keras: bytes | None = None
    device_chain: tuple[str, ...] = ()
    chain_ends: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def bundle_files(content: Content) -> dict[str, bytes]:
    """Return every file of the bundle, `manifest.json` last; equal content gives equal bytes."""
    report = content.report
    labels = content.labels or (content.data.class_names if content.data else ())
    how = content.recipe.data
    preprocess = {"*": how.preprocess, **how.inputs} if content.data is None else content.data.preprocess
    taken = set(content.models) & {*FILES, MANIFEST}
    if taken:
        raise ValueError(f"the backend gave files under names of the bundle: {', '.join(sorted(taken))}")
    files = dict(content.models)
    if content.keras is not None:
        files["compressed.h5"] = content.keras
    if labels:
        files["labels.txt"] = "".join(f"{name}\n" for name in labels).encode()
    files["io.json"] = json_bytes(
        describe_io(
            inputs=report.inputs,
            outputs=report.outputs,
            batched=[x.ndim == len(t.shape) for x, t in zip(content.golden.inputs, report.inputs, strict=True)],
            preprocess=preprocess,
            labels=labels,
            host_model=content.host_model,
            device_model=content.device_model,
            device_chain=content.device_chain,
            chain_ends=content.chain_ends,
            examples=_examples(content.data, report),
        )
    )
    files["golden.json"] = json_bytes(content.golden.info.model_dump(mode="json"))
    files["golden.npz"] = content.golden.npz()
    if content.firmware is not None:
        files |= firmware_files(_firmware(content, content.firmware, preprocess, labels))
    files["run.py"] = package_files("edgecompile.runtime").joinpath("run.py").read_bytes()
    files["report.json"] = json_bytes(report.model_dump(mode="json"))
    files["report.html"] = report_html(report, content.data).encode()
    files["README.md"] = readme(
        report,
        sizes={name: len(data) for name, data in files.items()},
        device_model=content.device_model,
        runs=content.golden.info.kernels != "tflm",
        firmware=_into_firmware(content, files),
        prefix=content.recipe.build.prefix,
    ).encode()
    manifest = make_manifest(report, recipe=content.recipe, target=content.target, files=files)
    files[MANIFEST] = json_bytes(manifest.model_dump(mode="json"))
    return dict(sorted(files.items()))


def _firmware(
    content: Content, firmware: Firmware, preprocess: Mapping[str, Preprocess], labels: tuple[str, ...]
) -> FirmwareContent:
    report, data, rows = content.report, content.data, list(content.golden.info.rows)
    raw = [None if data is None else data.raw(t.name) for t in report.inputs]
    return FirmwareContent(
        firmware=firmware,
        model=content.models[content.device_model],
        inputs=report.inputs,
        outputs=report.outputs,
        preprocess=preprocess,
        stored={t.name: x.dtype.name for t, x in zip(report.inputs, raw, strict=True) if x is not None},
        golden_inputs=content.golden.inputs,
        golden_outputs=content.device_outputs,
        golden_raw=[None if x is None else x[rows] for x in raw],
        labels=labels,
        title=f"{report.model.name} for {report.target.title}, built by edgecompile",
        layout=content.recipe.build.layout,
        prefix=content.recipe.build.prefix,
    )


def _into_firmware(content: Content, files: Mapping[str, bytes]) -> list[str]:
    if content.firmware is None:
        return []
    build = content.recipe.build
    return into_firmware(
        content.firmware, Names(build.prefix), build.layout, has_example="firmware/example/main.c" in files
    )


def _examples(data: Dataset | None, report: Report) -> dict[str, float]:
    """Return input name → a stored value of the first row: the median one, which is neither border nor outlier."""
    if data is None:
        return {}
    first = {t.name: np.sort(data.raw(t.name)[0], axis=None) for t in report.inputs}
    return {name: float(values[len(values) // 2]) for name, values in first.items()}

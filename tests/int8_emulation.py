"""An int8 `.tflite` beside the Keras model that `qat` wrote, computing with the same rounding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from small_models import run

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.convert import Convert
from edgecompile.passes.qat import Qat
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.tflite.learned import learned_ranges
from edgecompile.tflite.runner import predict
from edgecompile.training.forms import Forms
from edgecompile.training.int8 import lay_out
from edgecompile.training.kernels import kernels
from edgecompile.training.network import execute, read_network
from edgecompile.training.qat import marked, rounded_weights
from edgecompile.training.stored import read_notes


@dataclass(frozen=True)
class Trained:
    """A model after `qat`.

    Attributes:
        outcome: of the pass.
        ops: of the int8 file.
        calibrated: ops of it whose outputs have ranges that were not learned.
        steps: largest difference of the int8 outputs to the rounded Keras model, in steps of the output.
    """

    outcome: Outcome
    ops: list[str]
    calibrated: list[str]
    steps: float


def trained(lib: Any, source: Path, out: Path, rows: Dataset, seen: Dataset, **fields: Any) -> Trained:
    """Train the model at source on rows, and compare its int8 form with the rounded Keras model on rows not seen."""
    outcome = run(Qat(**fields), source, out / "qat", train=rows, metric="top1", source=Artifact.of(source, Kind.KERAS))
    files = [outcome.artifact]
    for step in (Convert(), Quantize()):
        (out / step.name).mkdir()
        files.append(step.run(files[-1], Context(out=out / step.name, calibration=rows)).artifact)
    learned, graph = learned_ranges(files[1].path), read_graph(files[2].path)
    made = [(op.name, graph.tensors[i].name) for op in graph.ops for i in op.outputs]
    given, wanted = _real(graph, files[2].path, seen), _rounded(lib, files[0].path, seen)
    how = graph.tensors[graph.outputs[0]].quantization
    assert how is not None
    return Trained(
        outcome,
        [op.name for op in graph.ops],
        [op for op, tensor in made if tensor not in learned],
        float(np.abs(given - wanted).max() / how.scale[0]),
    )


def _real(graph: Graph, path: Path, rows: Dataset) -> Any:
    (codes,) = predict(path, rows, kernels="reference").values()
    how = graph.tensors[graph.outputs[0]].quantization
    assert how is not None
    return how.scale[0] * (codes.astype(np.float32) - how.zero_point[0])


def _rounded(lib: Any, path: Path, rows: Dataset) -> Any:
    model = lib.tf_keras.models.load_model(str(path), compile=False)
    network = read_network(lib.tf, model)
    layout, bounds = lay_out(network), marked(network, read_notes(path).ranges)
    forms = Forms(lib.tf)
    for kernel in kernels(network.layers()):
        forms.add(kernel, rounded_weights(lib.tf, kernel))

    def rounded(index: int, tensor: Any) -> Any:
        limits = layout.fixed.get(index) or bounds.get(index)
        if index not in layout.rounded or limits is None:
            return tensor
        return lib.tf.quantization.fake_quant_with_min_max_vars(tensor, *limits)

    with forms.applied():
        return execute(lib.tf, network, [lib.tf.constant(rows.batch("*"))], after=rounded)[0].numpy()

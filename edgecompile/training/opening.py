"""How a model is opened for training: as tf_keras, flat, with what the user should know about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgecompile.report import Finding
from edgecompile.training.keras2 import keras2_ports
from edgecompile.training.meaning import whole_numbers
from edgecompile.training.models import load_tf_keras
from edgecompile.training.network import Network, read_network
from edgecompile.training.orders import Place
from edgecompile.training.rebuild import flattened
from edgecompile.training.stored import read_notes
from edgecompile.training.tf import start, tf_keras
from edgecompile.training.workshop import Workshop


def open_workshop(path: Path, place: Place) -> Workshop:
    """Return the model at path, opened for training: as tf_keras, its nested models taken apart.

    Raises:
        ModelError: as `load_tf_keras`; or the model has no graph.
        ToolError: TensorFlow is not installed.
    """
    tf = start(seed=place.seed)
    keras = tf_keras()
    loaded = load_tf_keras(path, tf, section=place.section, seed=place.seed)
    nested = read_network(tf, loaded).nested
    model = flattened(tf, keras, loaded)
    ports, outputs = keras2_ports(tf, model)
    network = read_network(tf, model)
    if not any(t.dtype.is_floating for t in model.outputs):
        raise whole_numbers(where=str(path))
    findings = (*map(_flattened_finding, nested), *_frozen_findings(network))
    notes = read_notes(path, source=place.source)
    shop = Workshop(tf, keras, place, model, network, ports, outputs, notes, findings, batch=None)
    size = shop.stored_batch
    if size is None or shop.takes_any_batch(shop.run):
        return shop
    return replace(shop, batch=size, findings=(*findings, _batch_finding(size)))


def _flattened_finding(name: str) -> Finding:
    return Finding(
        severity="info",
        rule="nested-flattened",
        what=f"the model `{name}` inside the model was taken apart: its layers are layers of the whole now",
        where=f"model {name}",
        consequence="outputs are the same; the compressed Keras model has no inner model",
    )


def _frozen_findings(network: Network) -> Iterator[Finding]:
    for name, layer in network.layers():
        if layer.weights and not layer.trainable:
            statistics = " and statistics" if type(layer).__name__ == "BatchNormalization" else ""
            yield Finding(
                severity="info",
                rule="frozen",
                what=f"the layer is frozen: its weights{statistics} stay as they are while the model is trained",
                where=f"layer {name}",
                remedy="set `trainable = True` before the model is saved, if it shall adapt to what a pass changes",
            )


def _batch_finding(size: int) -> Finding:
    rows = "1 row" if size == 1 else f"{size} rows"
    return Finding(
        severity="info",
        rule="batch-fixed",
        what=f"the model computes with {rows} at once and no other number, and is trained so",
        where="model",
        consequence="training is slow, and a BatchNormalization learns from so few rows at a time",
        remedy="save the model with an open batch, and without steps that hold its size",
    )

"""Clusters that the converter would tear apart are not made; those that were made are in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import QUICK, cluster_by_hand, run, stored

from edgecompile.artifact import Artifact, Kind
from edgecompile.data.dataset import Dataset
from edgecompile.errors import PassError
from edgecompile.passes.base import Context
from edgecompile.passes.cluster import Cluster
from edgecompile.passes.convert import Convert
from edgecompile.passes.qat import Qat
from edgecompile.passes.quantize import Quantize
from edgecompile.tflite.graph import Graph, read_graph
from edgecompile.training.kernels import kernels
from edgecompile.training.multiplied import multiplied
from edgecompile.training.network import read_network
from edgecompile.training.stored import Notes, read_notes, write_model

pytestmark = pytest.mark.tf


def uneven(keras: Any, model: Any) -> Any:
    """Return model with vectors as training leaves them: no two factors are equal, and no bias is all zeros."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.trainable_weights:
            layer.set_weights([rng.uniform(0.3, 2, w.shape) if w.ndim == 1 else w for w in layer.get_weights()])
    return model


def converted(lib: Any, model: Any, out: Path, *, names: tuple[str, ...] = (), one_scale: bool = False) -> Graph:
    """Return the float file of a model whose kernels, those named or all, were clustered by hand."""
    found = [k for k in kernels(read_network(lib.tf, model).layers()) if k.shape not in ("depthwise", "recurrent")]
    clusters = cluster_by_hand([k for k in found if k.name in names or not names], one_scale=one_scale)
    out.mkdir(parents=True, exist_ok=True)
    write_model(model, out / "m.h5", Notes(clusters=clusters, per_tensor=tuple(clusters) if one_scale else ()))
    return read_graph(Convert().run(Artifact.of(out / "m.h5", Kind.KERAS), Context(out=out)).artifact.path)


def few(tf: Any, layers: Any) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Return name → shape of the input, and the layers in front of a dense layer `y` and it."""
    factors = np.linspace(0.5, 2, 20).astype(np.float32).tolist()
    flat, row, image = (20,), (5, 20), (5, 3, 20)
    norm, batch, dense = layers.LayerNormalization, layers.BatchNormalization, layers.Dense
    y = dense(7, name="y")
    bare = dense(7, use_bias=False, name="y")
    return {
        "+ layer": (flat, [norm(), y]),
        "+ layer, rows": (row, [norm(), layers.Dropout(0.1), y]),
        "+ layer, another shape": (flat, [norm(), layers.Reshape((1, 20)), layers.Activation("linear"), y]),
        "+ layer, axes as they are": (row, [norm(), layers.Permute((1, 2)), lambda x: tf.transpose(x, (0, 1, 2)), y]),
        "+ batch": (flat, [batch(), y]),
        "+ batch behind dense": (flat, [dense(20), batch(), y]),
        "+ batch behind conv with relu": (image, [layers.Conv2D(20, 1, activation="relu"), batch(), y]),
        "+ batch, numbers": (flat, [batch(), layers.Rescaling(0.5, 0.1), lambda x: x / 2 - 1, y]),
        "+ batch, no bias but a sum behind": (flat, [batch(), bare, batch()]),
        "+ factors, no sum, no bias": (flat, [layers.Rescaling(factors), bare]),
        "+ function": (flat, [lambda x: x * factors, y]),
        "- layer without factors": (flat, [norm(scale=False), y]),
        "- layer, small epsilon": (flat, [norm(epsilon=1e-6), y]),
        "- layer and relu": (flat, [norm(), layers.ReLU(), y]),
        "- layer, channels mixed": (row, [norm(), layers.Flatten(), y]),
        "- layer, axes changed": (image, [norm(), layers.Permute((2, 1, 3)), y]),
        "- layer and pool": (row, [norm(), layers.GlobalAveragePooling1D(), y]),
        "- batch, no bias": (flat, [batch(), bare]),
        "- batch behind conv": (image, [layers.Conv2D(20, 1), batch(), y]),
        "- batch behind dense, relu": (flat, [dense(20), batch(), layers.ReLU(), y]),
        "- one number": (flat, [layers.Rescaling(1 / 255), y]),
        "- layer and conv": (image, [norm(), layers.Conv2D(7, 1, name="y")]),
        "- batch and conv": (image, [batch(), layers.Conv2D(7, 3, name="y")]),
    }


@pytest.mark.parametrize("number", range(23))
def test_the_rule_says_what_the_converter_does(lib: Any, number: int, tmp_path: Path) -> None:
    name, (shape, steps) = list(few(lib.tf, lib.tf_keras.layers).items())[number]
    image = x = lib.tf_keras.Input(shape)
    for step in steps:
        x = step(x)
    model = uneven(lib.tf_keras, lib.tf_keras.Model(image, x))
    assert list(multiplied(read_network(lib.tf, model), dense_per_channel=True)) == (
        ["y/kernel"] if name.startswith("+") else []
    )
    if name.startswith("-"):
        converted(lib, model, tmp_path)
    else:
        with pytest.raises(PassError, match=r"^cluster: y/kernel: the file holds \d+ distinct values where 9 were"):
            converted(lib, model, tmp_path)


def test_every_case_is_tried(lib: Any) -> None:
    assert len(few(lib.tf, lib.tf_keras.layers)) == 23


def test_kernels_of_every_kind_are_found_in_the_file(lib: Any, tmp_path: Path) -> None:
    layers = lib.tf_keras.layers
    image, row, cube = (lib.tf_keras.Input(shape) for shape in ((8, 8, 1), (6, 5), (4, 4, 4, 2)))
    x = layers.Conv2D(8, 3, name="one_channel")(image)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(6, 3, activation="relu", name="separable")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, name="transposed")(x)
    x = layers.Conv2D(4, 3, groups=2, name="grouped")(x)
    x = layers.Conv2D(5, 2, dilation_rate=2, name="dilated")(x)
    r = layers.Conv1D(6, 3, name="row")(row)
    r = layers.SeparableConv1D(6, 2, name="separable_row")(r)
    r = layers.Conv1DTranspose(6, 2, name="transposed_row")(r)
    twice = layers.Dense(6, name="twice")
    r = layers.TimeDistributed(layers.Dense(6), name="each")(twice(layers.ReLU()(twice(r))))
    c = layers.Conv3D(3, 2, name="cube")(cube)
    y = layers.Concatenate()([layers.Flatten()(t) for t in (x, r, c)])
    model = uneven(lib.tf_keras, lib.tf_keras.Model([image, row, cube], layers.Dense(1, name="last")(y)))
    converted(lib, model, tmp_path)


def test_kernels_with_one_scale_are_held_to_it(lib: Any, tmp_path: Path) -> None:
    layers = lib.tf_keras.layers
    x = lib.tf_keras.Input((20,))
    y = layers.Dense(16, name="plain", activation="relu")(x)
    y = layers.Dense(12, name="scaled")(y)
    model = lib.tf_keras.Model(x, layers.ReLU()(layers.BatchNormalization(name="norm")(y)))
    network = read_network(lib.tf, uneven(lib.tf_keras, model))
    assert multiplied(network, dense_per_channel=True) == {}
    assert multiplied(network, dense_per_channel=False) == {
        "scaled/kernel": "the converter multiplies the factors of `norm` behind it into it, and it has one scale"
    }
    converted(lib, model, tmp_path / "each")
    converted(lib, model, tmp_path / "named", names=("plain/kernel",), one_scale=True)
    with pytest.raises(PassError, match="cluster: scaled/kernel"):
        converted(lib, model, tmp_path / "one", one_scale=True)


def test_the_error_names_kernels_of_the_size_and_the_way_out(lib: Any, tmp_path: Path) -> None:
    layers = lib.tf_keras.layers
    x = lib.tf_keras.Input((20,))
    y = layers.Dense(20, activation="relu", name="well")(x)
    y = layers.LayerNormalization()(y)
    model = uneven(lib.tf_keras, lib.tf_keras.Model(x, layers.Dense(20, name="torn")(y)))
    with pytest.raises(PassError) as caught:
        converted(lib, model, tmp_path)
    assert "cluster: well/kernel, torn/kernel" in str(caught.value)
    assert "name it in `skip` of `cluster`" in str(caught.value)


def test_what_stands_behind_a_normalization_is_left_alone_and_the_rest_has_few_codes(lib: Any, tmp_path: Path) -> None:
    keras = lib.tf_keras
    layers = keras.layers
    x = keras.Input((20,))
    y = layers.Dense(32, name="first")(x)
    y = layers.LayerNormalization(name="norm")(y)
    y = layers.Dense(48, activation="relu", name="behind")(y)
    y = layers.Dense(40, name="inner")(y)
    y = layers.ReLU()(layers.BatchNormalization(name="batch")(y))
    model = uneven(keras, keras.Model(x, layers.Dense(4, activation="softmax", name="last")(y)))
    rng = np.random.default_rng(0)
    data = Dataset({"*": rng.normal(size=(64, 20)).astype(np.float32)}, np.arange(64) % 4)
    clustered = run(Cluster(**QUICK), stored(model, tmp_path / "m.h5"), tmp_path / "1", train=data)
    told = {f.where: f for f in clustered.findings}
    assert told["behind/kernel"].rule == "cluster-skipped"
    assert "multiplies the factors of `norm` before it into it" in told["behind/kernel"].what
    assert set(read_notes(clustered.artifact.path).clusters) == {"first/kernel", "inner/kernel", "last/kernel"}
    rounded = run(Qat(**QUICK), clustered.artifact.path, tmp_path / "2", train=data)
    for folder in ("3", "4"):
        (tmp_path / folder).mkdir()
    made = Convert().run(rounded.artifact, Context(out=tmp_path / "3", calibration=data))
    path = Quantize().run(made.artifact, Context(out=tmp_path / "4", calibration=data)).artifact.path
    graph = read_graph(path)
    found = [graph.tensors[op.inputs[1]].data for op in graph.ops if op.name == "FULLY_CONNECTED"]
    counts = {codes.shape: len(np.unique(codes)) for codes in found if codes is not None}
    assert counts.pop((48, 32)) > 16
    assert set(counts) == {(32, 20), (40, 48), (4, 40)}
    assert max(counts.values()) <= 16

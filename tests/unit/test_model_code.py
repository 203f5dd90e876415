"""Configs that would run code: what is refused, and that ordinary models are not."""

from __future__ import annotations

from typing import Any

import pytest

from edgecompile.errors import ModelError
from edgecompile.training.code import code_in_config
from edgecompile.training.scan import refuse


def layer(class_name: str, *, module: str | None = "keras.layers", registered: str | None = None, **config: Any) -> Any:
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": "suspect", **config},
        "registered_name": registered,
    }


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def sequential(*layers: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "model", "layers": list(layers)}}


def said(config: dict[str, Any]) -> str:
    return "\n".join(str(problem) for problem in code_in_config(config))


BYTECODE = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}

BAD = {
    "lambda layer": (layer("Lambda", function=BYTECODE), "`Lambda` holds a Python function as bytecode"),
    "lambda as activation": (layer("Dense", activation=BYTECODE), "`__lambda__` holds a Python function as bytecode"),
    "pickle": (layer("TorchModuleWrapper"), "`TorchModuleWrapper` holds a pickle"),
    "other saved model": (layer("TFSMLayer", filepath="/x"), "`TFSMLayer` loads another SavedModel"),
    "any module": (layer("system", module="os"), "is of class `system` (module `os`)"),
    "function of any module": (layer("Dense", activation=function("os", "system")), "names the function `os.system`"),
    "builtin": (layer("Dense", activation=function("builtins", "exec")), "names the function `builtins.exec`"),
    "keras function": (layer("Dense", activation=function("keras.utils", "get_file")), "`keras.utils.get_file`"),
    "keras function by a path": (layer("Dense", activation=function("keras.ops", "a.get_file")), "names the function"),
    "keras loader": (layer("Dense", activation=function("keras.models", "load_model")), "`keras.models.load_model`"),
    "keras class outside": (layer("Sequence", module="keras.utils"), "is of class `Sequence` (module `keras.utils`)"),
    "function as class": (layer("load_model", module="keras.models"), "is of class `load_model`"),
    "class by a path": (layer("Utils.get_file", module="keras"), "is of class `Utils.get_file`"),
    "lookalike package": (layer("Dense", module="keras_evil.layers"), "module `keras_evil.layers`"),
    "registered": (layer("Mine", module=None, registered="Custom>Mine"), "is of class `Custom>Mine`"),
    "registered, Keras 2": ({"class_name": "Custom>Mine", "config": {"name": "suspect"}}, "is of class `Custom>Mine`"),
    "own module": (layer("Mine", module="my.layers", registered="Mine"), "is of class `Mine` (module `my.layers`)"),
    "function of a package": (layer("Dense", activation=function("builtins", "mine>run")), "`builtins.mine>run`"),
    "name of ours": (layer("system", module="os", registered="edgecompile>Keras3Activation"), "(module `os`)"),
    "vocabulary file": (layer("StringLookup", vocabulary="/etc/passwd"), "reads the file `/etc/passwd`"),
    "type of any module": (
        layer("Dense", spec={"class_name": "__typespec__", "module": "os", "config": []}),
        "a type is taken from the module `os`",
    ),
    "TensorFlow function": (layer("TFOpLambda", function="io.write_file"), "calls the function `tf.io.write_file`"),
    "py_function": (layer("TFOpLambda", function="compat.v1.py_function"), "`tf.compat.v1.py_function`"),
    "raw op": (layer("TFOpLambda", function="raw_ops.ReadFile"), "`tf.raw_ops.ReadFile`"),
    "class method": (layer("ClassMethod", function="x"), "calls a Python method by its name"),
    "op in a layer": (layer("TensorFlowOpLayer", node_def='op: "WriteFile"'), "holds an op that touches files"),
    "nested": (layer("TimeDistributed", layer=layer("Bidirectional", layer=layer("Lambda"))), "`Lambda` holds"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    bad, message = BAD[name]
    text = said(sequential(layer("Flatten"), bad))
    assert message in text
    assert "suspect" in text
    assert "→" in text


GOOD = {
    "plain": layer("Dense", activation="relu"),
    "activation": layer("Dense", activation=function("builtins", "relu6")),
    "activation of the bridge": layer(
        "Dense", activation=layer("Keras3Activation", module="edgecompile.training.activations", registered="x")
    ),
    "activation by module": layer("Dense", activation=function("keras.activations", "hard_silu")),
    "operation": layer("GetItem", module="keras.src.ops.numpy", registered="GetItem"),
    "tf_keras": layer("Dense", module="tf_keras.layers"),
    "Keras 2 internals": layer("Functional", module="keras.src.engine.functional", registered="Functional"),
    "initializer": layer("Dense", init={"module": "keras.initializers", "class_name": "Zeros", "config": {}}),
    "policy": layer("Dense", dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}),
    "policy of Keras 2": layer(
        "Dense", dtype={"module": "keras.mixed_precision", "class_name": "Policy", "config": {}}
    ),
    "Keras 2": {"class_name": "Dense", "config": {"name": "d", "activation": "relu"}},
    "arithmetic": layer("TFOpLambda", function="math.multiply"),
    "old arithmetic": layer("TFOpLambda", function="compat.v1.nn.relu"),
    "slicing": layer("SlicingOpLambda", function="__operators__.getitem"),
    "values": layer("Normalization", mean={"class_name": "__numpy__", "config": {"value": [1.0], "dtype": "float32"}}),
    "vocabulary": layer("StringLookup", vocabulary=["a", "b"]),
    "type": layer("Dense", spec={"class_name": "__typespec__", "module": "tensorflow.python.x", "config": []}),
}


@pytest.mark.parametrize("name", GOOD)
def test_taken(name: str) -> None:
    assert said(sequential(GOOD[name])) == ""


def test_every_layer_is_reported_once() -> None:
    bytecode = layer("Lambda", function=BYTECODE)
    text = said(sequential(layer("Lambda"), bytecode, {**layer("Lambda"), "name": "other"}))
    assert "`__lambda__`" not in text
    assert text.count("layer suspect: `Lambda`") == 1
    assert text.count("layer other: `Lambda`") == 1


def test_compile_config_of_the_model_does_not_count() -> None:
    config = sequential(layer("Dense")) | {"compile_config": {"loss": function("mine", "loss")}}
    assert said(config) == ""
    assert "mine.loss" in said(sequential(config))  # but that of a nested model is used


def test_depth_is_no_problem() -> None:
    config: dict[str, Any] = layer("Lambda")
    for _ in range(50_000):
        config = {"a": [config]}
    assert "`Lambda`" in said(config)


def test_the_user_can_allow_it() -> None:
    problems = code_in_config(sequential(layer("Lambda")))
    refuse(problems, allow_code=True)
    refuse([], allow_code=False)
    with pytest.raises(ModelError, match="--allow-code, which runs the file's code"):
        refuse(problems, allow_code=False)

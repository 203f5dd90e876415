"""Which layers of a Keras config would run code that the file brings, or reach outside the model.

Keras' own safe mode has been passed before by configs that name a module and a function of Keras itself or of any
package. So this is a list of what may be named; everything else is reported.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgecompile.errors import Problem
from edgecompile.training.activations import Keras3Activation
from edgecompile.training.graphdef import runs_or_reaches_out

_PARTS = (
    "activations",
    "constraints",
    "dtype_policies",
    "engine",  # Keras 2
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",  # Keras 2
    "models",
    "ops",
    "optimizers",
    "quantizers",
    "random",
    "regularizers",
)
_MODULES = re.compile(rf"(tf_)?keras(\.src)?(\.({'|'.join(_PARTS)})(\.\w+)*)?")
"""Where the parts of models live. `keras.utils`, for one, is absent: it has functions that fetch and unpack files."""

_FUNCTION_MODULES = re.compile(
    r"(tf_)?keras(\.src)?\.(activations|initializers|losses|metrics|ops|regularizers)(\.\w+)*"
)
"""`keras.models.load_model` is a function too."""

_CLASS = re.compile(r"[A-Z]\w*")
_FUNCTION = re.compile(r"[a-z_]\w*")
"""A dot in a name would lead out of the module that was looked at."""

_MARKS = frozenset({"__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__"})
"""Plain values in Keras 3 configs."""

_CODE_LAYERS = {
    "Lambda": "holds a Python function as bytecode",
    "__lambda__": "holds a Python function as bytecode",
    "TorchModuleWrapper": "holds a pickle",
    "JaxLayer": "holds Python functions",
    "FlaxLayer": "holds Python functions",
    "TFSMLayer": "loads another SavedModel from the disk",
    "ClassMethod": "calls a Python method by its name",
    "InstanceMethod": "calls a Python method by its name",
}

_VOCABULARIES = frozenset({"StringLookup", "IntegerLookup", "TextVectorization"})

_SYMBOLS = re.compile(
    r"(__operators__|math|nn|linalg|image|signal|bitwise|dtypes|keras\.backend|keras\.activations)(\.\w+)+|\w+"
)
"""TensorFlow functions that a `TFOpLambda` layer may call: arithmetic by module, and functions of `tf` itself …"""

_NOT_ARITHMETIC = frozenset(
    {"function", "import_graph_def", "load_library", "load_op_library", "numpy_function", "print", "py_function"}
)
"""… but these."""

_OWN = (Keras3Activation.__module__, Keras3Activation.__name__)
"""What the bridge puts into tf_keras models, and training-time passes into their files."""

_HINT = "replace it by built-in layers; or build with --allow-code, which runs the file's code on this machine"
EXPORT_HINT = (
    "export the model where the class is defined, `model.export('folder')`, and build the folder: a SavedModel holds "
    "the computation instead of the class"
)
"""What to do about a class that is not a part of Keras."""

_CUSTOM_HINT = f"{EXPORT_HINT}; or put its module on PYTHONPATH and add --allow-code, which runs its code"


def code_in_config(config: Mapping[str, Any]) -> list[Problem]:
    """Return one problem for each object in a Keras 2 or 3 model config that is not plainly a part of Keras.

    The top-level compile config is not looked at: models are loaded without it.
    """
    top = {key: value for key, value in config.items() if key != "compile_config"}
    found: dict[Problem, None] = {}
    for layer, item in _objects(top):
        problem = _check(layer, item)
        if problem is not None:
            found[problem] = None
    # A Lambda holds its bytecode as an object of its own: one thing to tell, not two.
    told = {p.where for p in found if p.what.startswith("`Lambda`")}
    return [p for p in found if not (p.where in told and p.what.startswith("`__lambda__`"))]


def _objects(top: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every serialized object below top with the name of the layer that it belongs to.

    A stack instead of recursion: a config can be nested deeper than Python's stack.
    """
    todo: list[tuple[str, Any]] = [("", top)]
    while todo:
        layer, value = todo.pop()
        if isinstance(value, list):
            todo.extend((layer, item) for item in reversed(value))
        elif isinstance(value, Mapping):
            inner = value.get("config")
            name = value.get("name") or (inner.get("name") if isinstance(inner, Mapping) else None)
            layer = name if isinstance(name, str) else layer
            if "class_name" in value:
                yield layer, value
            todo.extend((layer, item) for item in reversed(list(value.values())))


def _check(layer: str, item: Mapping[str, Any]) -> Problem | None:
    class_name, module, config = str(item["class_name"]), item.get("module"), item.get("config")
    where = f"layer {layer}" if layer else f"class {class_name}"
    options = config if isinstance(config, Mapping) else {}
    if class_name in _CODE_LAYERS:
        return Problem(f"`{class_name}` {_CODE_LAYERS[class_name]}", where, _HINT)
    if class_name in _VOCABULARIES and isinstance(options.get("vocabulary"), str):
        return Problem(f"`{class_name}` reads the file `{options['vocabulary']}`", where, _HINT)
    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        return _check_symbol(str(options.get("function")), where)
    if class_name == "TensorFlowOpLayer" and runs_or_reaches_out(str(options.get("node_def"))):
        return Problem("`TensorFlowOpLayer` holds an op that touches files or runs code", where, _HINT)
    if class_name == "__typespec__":
        known = str(module).startswith("tensorflow.")
        return None if known else Problem(f"a type is taken from the module `{module}`", where, _HINT)
    if class_name == "function":
        return _check_function(str(config), module, where)
    if class_name in _MARKS or (module is None and not item.get("registered_name") and ">" not in class_name):
        return None  # a plain value, or a Keras 2 class name, which Keras looks up among its own
    if module is not None and _MODULES.fullmatch(str(module)) and _CLASS.fullmatch(class_name):
        return None
    if (module, class_name) == _OWN:
        return None
    named = item.get("registered_name") or class_name
    origin = f" (module `{module}`)" if module else ""
    return Problem(f"is of class `{named}`{origin}, which is not a part of Keras", where, _CUSTOM_HINT)


def _check_symbol(symbol: str, where: str) -> Problem | None:
    bare = symbol.removeprefix("compat.v1.")
    if _SYMBOLS.fullmatch(bare) and bare not in _NOT_ARITHMETIC:
        return None
    return Problem(f"calls the function `tf.{symbol}`", where, _HINT)


def _check_function(name: str, module: Any, where: str) -> Problem | None:
    # Keras writes `builtins` for its own activations and losses; Python's real builtins must stay out of reach.
    known = not hasattr(builtins, name) if module in (None, "builtins") else _FUNCTION_MODULES.fullmatch(str(module))
    if known and _FUNCTION.fullmatch(name):
        return None
    return Problem(f"names the function `{module}.{name}`", where, _CUSTOM_HINT)

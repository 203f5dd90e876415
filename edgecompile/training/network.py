"""A tf_keras model as a flat list of layer calls, and models rebuilt from that list.

Every training-time pass reads or rewrites the graph: nested models, shared layers and functions in the graph (`x + y`)
are the same to it as plain layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgecompile.errors import ModelError

After = Callable[[int, Any], Any]
"""(tensor number, tensor) → the tensor to go on with in its place."""


def unchanged(_index: int, tensor: Any) -> Any:
    """Go on with the tensor itself."""
    return tensor


@dataclass(frozen=True)
class Call:
    """One call of one layer.

    Attributes:
        layer: the tf_keras layer; the same object in several calls where the model shares it.
        name: of the layer, with those of the models it is nested in where it is not unique without.
        inputs: tensors that it reads, in the order of its arguments, a tensor twice where it is read twice.
        outputs: tensors that it gives.
        args, kwargs: what it is called with; tensors stand as `Ref`.
    """

    layer: Any
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    args: Any
    kwargs: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Class name of the layer."""
        return type(self.layer).__name__


@dataclass(frozen=True)
class Ref:
    """Stands for tensor number `index` in the arguments of a call."""

    index: int


@dataclass(frozen=True)
class Network:
    """A model's calls in an order in which they can be made.

    Attributes:
        model: the tf_keras model.
        calls: layer calls; those of nested models one by one, input layers left out.
        inputs, outputs: tensors, flat, in the model's order.
        tensors: tensor number → the symbolic tensor, which has shape and dtype.
        nested: names of the models that were nested in it.
    """

    model: Any
    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[Any, ...]
    nested: tuple[str, ...] = ()
    readers: Mapping[int, tuple[Call, ...]] = field(default_factory=dict)
    """Tensor number → the calls that read it."""
    makers: Mapping[int, Call] = field(default_factory=dict)
    """Tensor number → the call that gives it; model inputs have none."""

    def shape(self, tensor: int) -> tuple[int | None, ...]:
        """Return the shape of a tensor, batch first; None where a size is open."""
        return tuple(self.tensors[tensor].shape.as_list())

    def layers(self) -> list[tuple[str, Any]]:
        """Return name and layer, each layer once, in order."""
        found: dict[int, tuple[str, Any]] = {}
        for call in self.calls:
            found.setdefault(id(call.layer), (call.name, call.layer))
        return list(found.values())


def read_network(tf: Any, model: Any) -> Network:
    """Return the calls of a tf_keras model.

    Raises:
        ModelError: the model has no graph: only its own code knows how to call it.
    """
    if not getattr(model, "_is_graph_network", False):
        raise ModelError(
            "has no graph of layers: it was never built, or only its own code knows how to call it",
            where=f"model {model.name}",
            hint="build it with the functional interface, or leave out the training-time passes",
        )
    reader = _Reader(tf, model)
    return reader.network()


class _Reader:
    """Walks a model and the models nested in it."""

    def __init__(self, tf: Any, model: Any) -> None:
        self._tf, self._model = tf, model
        self._calls: list[Call] = []
        self._tensors: list[Any] = []
        self._nested: list[str] = []
        self._names = _layer_names(model)

    def network(self) -> Network:
        known = {id(tensor): self._new(tensor) for tensor in self._model.inputs}
        inputs = tuple(known[id(tensor)] for tensor in self._model.inputs)
        self._walk(self._model, known, training=None)
        outputs = tuple(known[id(tensor)] for tensor in self._model.outputs)
        readers: dict[int, list[Call]] = {}
        for call in self._calls:
            for tensor in dict.fromkeys(call.inputs):
                readers.setdefault(tensor, []).append(call)
        return Network(
            self._model,
            tuple(self._calls),
            inputs,
            outputs,
            tuple(self._tensors),
            tuple(dict.fromkeys(self._nested)),
            {tensor: tuple(calls) for tensor, calls in readers.items()},
            {tensor: call for call in self._calls for tensor in call.outputs},
        )

    def _new(self, tensor: Any) -> int:
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _walk(self, model: Any, known: dict[int, int], *, training: Any) -> None:
        """Append the calls of model; known maps its symbolic tensors to our numbers and grows."""
        for depth in sorted(model._nodes_by_depth, reverse=True):  # noqa: SLF001 (tf_keras has no public way to its nodes)
            for node in model._nodes_by_depth[depth]:  # noqa: SLF001
                if not node.is_input:
                    self._node(node, known, training=training)

    def _node(self, node: Any, known: dict[int, int], *, training: Any) -> None:
        layer, outputs = node.layer, self._tf.nest.flatten(node.outputs)
        args, kwargs = self._referring(node.call_args, known), self._referring(dict(node.call_kwargs), known)
        if getattr(layer, "_is_graph_network", False):
            self._nested.append(layer.name)
            refs = self._tf.nest.flatten(args[0])
            inner = {id(t): ref.index for t, ref in zip(layer.inputs, _in_order(layer, args[0], refs), strict=True)}
            given = kwargs.get("training")
            self._walk(layer, inner, training=training if given is None else given)
            known.update({id(o): inner[id(t)] for o, t in zip(outputs, layer.outputs, strict=True)})
            return
        if training is not None and kwargs.get("training") is None and getattr(layer, "_expects_training_arg", False):
            kwargs = {**kwargs, "training": training}  # `base(x, training=False)` holds for every layer of `base`
        made = {id(o): self._new(o) for o in outputs}
        known.update(made)
        refs = [ref for ref in self._tf.nest.flatten((args, list(kwargs.values()))) if isinstance(ref, Ref)]
        name = self._names[id(layer)]
        self._calls.append(Call(layer, name, tuple(r.index for r in refs), tuple(made.values()), args, kwargs))

    def _referring(self, structure: Any, known: Mapping[int, int]) -> Any:
        return self._tf.nest.map_structure(lambda x: Ref(known[id(x)]) if id(x) in known else x, structure)


def _in_order(model: Any, argument: Any, refs: list[Any]) -> list[Any]:
    """Return the tensors that a nested model is called with in the order of its inputs: dictionaries sort by key."""
    if isinstance(argument, Mapping) and not isinstance(model.input, Mapping):
        return [argument[name] for name in model.input_names]
    return refs


def _layer_names(model: Any) -> dict[int, str]:
    """Return id of layer → a name that no other layer of the model or of the models nested in it has."""
    names: dict[int, str] = {}
    taken: set[str] = set()

    def visit(one: Any, path: str) -> None:
        for layer in one.layers:
            if getattr(layer, "_is_graph_network", False):
                visit(layer, f"{path}{layer.name}_")
                continue
            if id(layer) in names or type(layer).__name__ == "InputLayer":
                continue
            name, count = layer.name, 0
            while name in taken:
                name = f"{path}{layer.name}" if not count and path else f"{path}{layer.name}_{count + 1}"
                count += 1
            names[id(layer)] = name
            taken.add(name)

    taken.update(model.input_names)
    visit(model, "")
    return names


def execute(
    tf: Any,
    network: Network,
    inputs: Sequence[Any],
    *,
    training: bool = False,
    after: After = unchanged,
) -> list[Any]:
    """Return the outputs of network for input tensors in the model's order, one call after the other.

    Args:
        tf: TensorFlow.
        network: the calls.
        inputs: one tensor per model input.
        training: whether layers run as in training, where the model does not say otherwise.
        after: gives the tensor to go on with in the place of tensor number index.
    """

    def passed_on(index: int, tensor: Any) -> Any:
        given, mask = after(index, tensor), getattr(tensor, "_keras_mask", None)
        if mask is not None:
            given._keras_mask = mask  # noqa: SLF001 (tf_keras hands the masks of its layers on like this)
        return given

    made = {i: passed_on(i, x) for i, x in zip(network.inputs, inputs, strict=True)}
    for call in network.calls:
        args, kwargs = tf.nest.map_structure(
            lambda x: made[x.index] if isinstance(x, Ref) else x, (call.args, dict(call.kwargs))
        )
        if kwargs.get("training") is None and getattr(call.layer, "_expects_training_arg", False):
            kwargs["training"] = training
        given = tf.nest.flatten(call.layer(*args, **kwargs))
        made.update({i: passed_on(i, x) for i, x in zip(call.outputs, given, strict=True)})
    return [made[i] for i in network.outputs]

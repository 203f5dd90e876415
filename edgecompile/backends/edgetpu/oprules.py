"""What the Edge TPU takes of one op: each rule is a function, its docstring the sentence that the user reads.

`optable` says which op is asked which rule, what the compiler says where it is broken, and where the rule comes from.
"""

from __future__ import annotations

import numpy as np

from edgecompile.backends.rules import is_constant, tensor
from edgecompile.tflite.graph import Graph, Op, Tensor
from edgecompile.units import show_shape

EIGHT_BIT = frozenset({"int8", "uint8"})
INNER_DIMENSIONS = 3

_LARGEST_SOFTMAX = 16_384
"""Elements. The documents say 16,000; compiler 16 mapped 16,384 (bright_128x128, color_red_128x128)."""

_MEAN_AREA_REFUSED = 32_768
"""Elements averaged into one: 1×256×128×3 over height and width stayed on the CPU, four times 1×64×128×3 did not."""

_DENSE_VERSION_REFUSED = 9
"""Compiler 14.1 left all layers of this version to the CPU; what 16 does is not known to differ."""

_DENSE_OUTPUTS_REFUSED = 100_000
"""Outputs of a fully connected layer that is left to the CPU for the size of its weights; how many inputs it had is not
said."""

_TRANSPOSE_REFUSED = 150_528
"""Elements: 1×3×224×224 to NHWC stayed on the CPU."""

_RESIZE_REFUSED = 8_388_608
"""Elements made: 1×512×512×32 stayed on the CPU."""

_RESIZE_FACTOR_REFUSED = 33
"""1×1 to 33×33 stayed on the CPU."""

_RESIZE_BOTH_REFUSED = 513 * 513 * 19, 513 / 33
"""Elements made and factor: 1×33×33×19 to 1×513×513×19 stayed on the CPU in Coral's DeepLab for Cityscapes."""


def moving(graph: Graph, op: Op) -> tuple[Tensor, ...]:
    """Return what op reads and writes at run time: no constants, no state that an op keeps for itself."""
    found = (graph.tensors[i] for i in dict.fromkeys((*op.inputs, *op.outputs)) if i >= 0)
    return tuple(t for t in found if not t.is_variable and not is_constant(graph, t))


def edgetpu_inner_dimensions(graph: Graph, op: Op) -> str:
    """On the Edge TPU only the three innermost dimensions of a tensor can be larger than 1."""
    wide = next((t for t in moving(graph, op) if any(d > 1 for d in t.shape[:-INNER_DIMENSIONS])), None)
    return "" if wide is None else f"{op.name} with a tensor of {show_shape(wide.shape)}"


def edgetpu_8_bit(graph: Graph, op: Op) -> str:
    """The Edge TPU computes 8-bit tensors."""
    other = next((t for t in moving(graph, op) if t.dtype not in EIGHT_BIT), None)
    return "" if other is None else f"{op.name} with {other.dtype} {show_shape(other.shape)}"


def edgetpu_float_input(graph: Graph, op: Op) -> str:
    """The Edge TPU takes 8-bit tensors; the host quantizes what is given in float."""
    given = graph.tensors[op.inputs[0]].dtype
    return "" if given in EIGHT_BIT else f"{given} given"


def edgetpu_follows(graph: Graph, op: Op) -> str:
    """On the Edge TPU a change between int8 and uint8 belongs to the op before it; after the CPU it stays there."""
    given, made = graph.tensors[op.inputs[0]].dtype, graph.tensors[op.outputs[0]].dtype
    return f"{given} to {made}" if given != made else ""


def edgetpu_op(graph: Graph, op: Op) -> str:
    """The Edge TPU does not have this op."""
    return op.name


def edgetpu_runtime(graph: Graph, op: Op) -> str:
    """An older runtime of the Edge TPU does not have this op."""
    return op.name


def edgetpu_old_plane(graph: Graph, op: Op) -> str:
    """Until runtime 12 the Edge TPU averaged and padded in height and width only."""
    rank = len(graph.tensors[op.inputs[0]].shape)
    other = sorted({a % rank for a in _axes(graph, op)} - {rank - 3, rank - 2})
    return f"{op.name} along axis {other[0]} of {rank}" if other else ""


def edgetpu_old_squeeze(graph: Graph, op: Op) -> str:
    """Until runtime 12 the Edge TPU squeezed only where nothing larger than 1 came before the axes that go."""
    given, made = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    return "" if given[len(given) - len(made) :] == made else f"{show_shape(given)} to {show_shape(made)}"


def edgetpu_weights_constant(graph: Graph, op: Op) -> str:
    """The Edge TPU takes filters and biases only where the file holds them."""
    numbers = (1, 3) if op.name == "TRANSPOSE_CONV" else (1, 2)
    given = [t for t in (tensor(graph, op, n) for n in numbers) if t is not None]
    return next((f"`{t.name}` is computed" for t in given if not is_constant(graph, t)), "")


def edgetpu_parameter_constant(graph: Graph, op: Op) -> str:
    """The Edge TPU takes axes, paddings, sizes and permutations only where the file holds them."""
    given = [t for t in (tensor(graph, op, n) for n in range(len(op.inputs))) if t is not None]
    return next((f"`{t.name}` is computed" for t in given if t.dtype == "int32" and not is_constant(graph, t)), "")


def edgetpu_no_fused_activation(graph: Graph, op: Op) -> str:
    """The Edge TPU pools and joins only without a fused activation function."""
    fused = op.options.get("fused_activation_function", 0)
    return f"{op.name} with {getattr(fused, 'name', fused)}" if fused else ""


def edgetpu_same_dilation(graph: Graph, op: Op) -> str:
    """The Edge TPU dilates a filter alike in height and width.

    Along an axis where the filter has one row or column there is nothing to dilate, and the factor does not count.
    """
    factors = op.options.get("dilation_h_factor", 1), op.options.get("dilation_w_factor", 1)
    filters = tensor(graph, op, 1)
    sizes = filters.shape[1:3] if filters is not None and len(filters.shape) == 4 else (None, None)
    counting = {factor for factor, size in zip(factors, sizes, strict=True) if size != 1}
    return f"dilation {factors[0]}×{factors[1]}" if len(counting) > 1 else ""


def edgetpu_tile_spreads(graph: Graph, op: Op) -> str:
    """The Edge TPU repeats a tensor only over height and width, and only where it has one row and one column."""
    given, made = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    rank = len(given)
    repeated = [axis for axis in range(rank) if given[axis] != made[axis]]
    spreads = rank == len(made) >= INNER_DIMENSIONS and all(
        axis in (rank - 3, rank - 2) and given[axis] == 1 for axis in repeated
    )
    return "" if spreads else f"{show_shape(given)} to {show_shape(made)}"


def edgetpu_dense_weights_format(graph: Graph, op: Op) -> str:
    """The Edge TPU takes fully connected weights in the default format only."""
    form = op.options.get("weights_format", 0)
    return f"format {getattr(form, 'name', form)}" if form else ""


def edgetpu_dense_version(graph: Graph, op: Op) -> str:
    """The Edge TPU compiler does not map fully connected layers of version 9, which keep their input's dimensions."""
    return f"version {op.version}" if op.version >= _DENSE_VERSION_REFUSED else ""


def edgetpu_dense_vector(graph: Graph, op: Op) -> str:
    """On the Edge TPU a fully connected layer gives one row."""
    shape = graph.tensors[op.outputs[0]].shape
    return f"{op.name} gives {show_shape(shape)}" if any(d > 1 for d in shape[:-1]) else ""


def edgetpu_dense_size(graph: Graph, op: Op) -> str:
    """The Edge TPU compiler leaves fully connected layers of about 100,000 outputs and more to the CPU."""
    outputs = graph.tensors[op.outputs[0]].shape[-1]
    return f"{outputs:,} outputs" if outputs >= _DENSE_OUTPUTS_REFUSED else ""


def edgetpu_concatenation_constant(graph: Graph, op: Op) -> str:
    """The Edge TPU joins a constant to one other tensor only, and only a constant of zeros."""
    constants = [t for t in (graph.tensors[i] for i in op.inputs) if is_constant(graph, t)]
    if not constants:
        return ""
    if len(op.inputs) > 2:
        return f"a constant among {len(op.inputs)} inputs"
    return next((f"`{t.name}` is not zero" for t in constants if not _zero(t)), "")


def _zero(item: Tensor) -> bool:
    """Return whether a constant stands for zeros: its codes are the zero point."""
    if item.data is None:
        return False
    zero_point = 0 if item.quantization is None else int(item.quantization.zero_point[0])
    return bool((item.data == zero_point).all())


def edgetpu_batch_axis(graph: Graph, op: Op) -> str:
    """The Edge TPU does not reduce, pad, pack or split the batch dimension."""
    rank = len(graph.tensors[op.outputs[0] if op.name == "PACK" else moving(graph, op)[0].index].shape)
    if rank < 2:
        return ""
    touched = 0 in [a % rank for a in _axes(graph, op)]
    return f"{op.name} along axis 0 of {rank}" if touched else ""


def _axes(graph: Graph, op: Op) -> list[int]:
    """Return the axes that op works along; of a PAD those that it pads."""
    if op.name == "PACK":
        return [int(op.options.get("axis", 0))]
    given = tensor(graph, op, 0 if op.name == "SPLIT" else 1)
    if given is None or given.data is None:
        return []
    if op.name == "PAD":
        return [axis for axis, pair in enumerate(given.data.reshape(-1, 2)) if pair.any()]
    return [int(a) for a in np.atleast_1d(given.data)]


def edgetpu_mean_depth(graph: Graph, op: Op) -> str:
    """The Edge TPU averages over the innermost dimension only where that is a multiple of 4."""
    shape = graph.tensors[op.inputs[0]].shape
    over_depth = len(shape) - 1 in [a % len(shape) for a in _axes(graph, op)]
    return f"{shape[-1]} channels" if over_depth and shape[-1] % 4 else ""


def edgetpu_mean_area(graph: Graph, op: Op) -> str:
    """The Edge TPU averages no more than about 32,000 elements into one."""
    area = mean_area(graph, op)
    return f"{area:,} elements" if area >= _MEAN_AREA_REFUSED else ""


def mean_area(graph: Graph, op: Op) -> int:
    """Return how many elements op reduces to one."""
    shape = graph.tensors[op.inputs[0]].shape
    return int(np.prod([shape[a % len(shape)] for a in set(_axes(graph, op))], dtype=np.int64))


def edgetpu_softmax_size(graph: Graph, op: Op) -> str:
    """The Edge TPU computes a softmax over at most 16,384 elements."""
    size = (graph.tensors[op.inputs[0]].shape or (1,))[-1]
    return f"{size:,} elements" if size > _LARGEST_SOFTMAX else ""


def edgetpu_prelu_alpha(graph: Graph, op: Op) -> str:
    """The Edge TPU takes one PReLU slope a channel: share the others (`shared_axes=[1, 2]` in Keras)."""
    alpha = tensor(graph, op, 1)
    if alpha is None or not any(d > 1 for d in alpha.shape[:-1]):
        return ""
    return f"slopes of {show_shape(alpha.shape)}"


def edgetpu_slice_depth_stride(graph: Graph, op: Op) -> str:
    """The Edge TPU slices the innermost dimension with stride 1 only."""
    strides = tensor(graph, op, 3)
    if strides is None or strides.data is None or not strides.data.size or int(strides.data[-1]) == 1:
        return ""
    return f"strides {strides.data.tolist()}"


def edgetpu_slice_masks(graph: Graph, op: Op) -> str:
    """The Edge TPU takes strided slices without ellipsis and new-axis masks."""
    masks = [name for name in ("ellipsis_mask", "new_axis_mask") if op.options.get(name, 0)]
    return masks[0].replace("_", " ") if masks else ""


def edgetpu_transpose_size(graph: Graph, op: Op) -> str:
    """The Edge TPU does not transpose tensors of about 150,000 elements and more."""
    size = elements(graph, op)
    return f"{show_shape(graph.tensors[op.inputs[0]].shape)}, {size:,} elements" if size >= _TRANSPOSE_REFUSED else ""


def edgetpu_resize_size(graph: Graph, op: Op) -> str:
    """The Edge TPU does not resize to 8 million elements and more, nor 33-fold and more, to keep precision.

    Where both are large, less is too much: 5 million elements, 16-fold.
    """
    factor, size = resize_factor(graph, op), elements(graph, op)
    if factor >= _RESIZE_FACTOR_REFUSED:
        return f"{factor:g}-fold"
    if size >= _RESIZE_BOTH_REFUSED[0] and factor >= _RESIZE_BOTH_REFUSED[1]:
        return f"{size:,} elements, {factor:.3g}-fold"
    return f"{size:,} elements" if size >= _RESIZE_REFUSED else ""


def resize_factor(graph: Graph, op: Op) -> float:
    """Return by how much op enlarges height or width, the larger of both."""
    given, made = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    if len(given) != 4 or len(made) != 4:
        return 1.0
    return max(made[axis] / max(given[axis], 1) for axis in (1, 2))


def elements(graph: Graph, op: Op) -> int:
    """Return how many elements op makes."""
    return int(np.prod(graph.tensors[op.outputs[0]].shape, dtype=np.int64))

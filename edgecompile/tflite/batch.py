"""Which axis of a model's inputs and outputs counts rows: the first, or none.

A model may take one row as it is, without a batch axis: a waveform [15600], a spectrogram [49, 40], a number []. Where
there are rows, their shape says which it is (`feeds.match`); this is for where there are none.
"""

from __future__ import annotations

from edgecompile.tflite.graph import Graph

Shape = tuple[int, ...]


def batch_axes(graph: Graph) -> tuple[bool, ...]:
    """Return for each input of graph whether its first axis counts rows.

    It does where it is open or 1. A fixed axis of more counts rows where all other inputs and all outputs have one of
    the same size, and one of them holds more than a number for each.
    """
    ends = [graph.tensors[i].shape for i in (*graph.inputs, *graph.outputs)]
    together = len({shape[:1] for shape in ends}) == 1 and any(len(shape) > 1 for shape in ends)
    signatures = [graph.tensors[i].shape_signature for i in graph.inputs]
    return tuple(
        bool(shape) and (shape[0] == 1 or signature[:1] == (-1,) or together)
        for shape, signature in zip(ends, signatures, strict=False)
    )


def row_shapes(graph: Graph) -> tuple[Shape, ...]:
    """Return the shape of one row of each input of graph."""
    shapes = [graph.tensors[i].shape for i in graph.inputs]
    return tuple(shape[1:] if axis else shape for shape, axis in zip(shapes, batch_axes(graph), strict=True))


def with_batch(graph: Graph, output: int) -> Shape:
    """Return the shape of output number `output` of graph with a batch axis, which it may not have."""
    shape = graph.tensors[graph.outputs[output]].shape
    sizes = {graph.tensors[i].shape[0] for i, axis in zip(graph.inputs, batch_axes(graph), strict=True) if axis}
    return shape if shape[:1] == (1,) or (shape and shape[0] in sizes) else (1, *shape)

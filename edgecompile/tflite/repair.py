"""Mend what some writers get wrong in a `.tflite`, where only one reading makes sense."""

from __future__ import annotations

from edgecompile.tflite.edit import Model


def mend_axes(model: Model) -> int:
    """Let scales name an axis that their tensor has; return how many did not.

    Files for TFLite Micro, which never looks, give a bias the axis of its filter; LiteRT refuses them. A tensor is
    changed where its scales fit one axis alone, or where it has a single scale and the axis means nothing.
    """
    mended = 0
    for tensor in (t for subgraph in model.subgraphs for t in subgraph.tensors):
        how = tensor.quantization
        if how is None or how.scale is None or not len(how.scale) or tensor.shape is None or not len(tensor.shape):
            continue
        sizes, scales = [int(size) for size in tensor.shape], len(how.scale)
        axis = how.quantizedDimension
        if axis < len(sizes) and scales in (1, sizes[axis]):
            continue
        if scales == 1:
            how.quantizedDimension = 0
        elif sizes.count(scales) == 1:
            how.quantizedDimension = sizes.index(scales)
        else:
            continue
        mended += 1
    return mended

"""What edgetpu_compiler says about an op, in its own words. People grep for these and write parsers for them."""

from __future__ import annotations

MAPPED = "Mapped to Edge TPU"
MORE_SUBGRAPHS = "More than one subgraph is not supported"
UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
NOT_SUPPORTED = "Operation not supported"
VERSION = "Operation version not supported"
DATA_TYPE = "Operation is working on an unsupported data type"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
NOT_CONSTANT = "Filter, bias, or other param is not constant at compile-time"
STRIDES = "Only Strided-Slice with unitary strides supported"

NOT_GIVEN = "Not given to the compiler"
"""Ours: of ops behind one that the compiler cannot read, where the model is cut."""

STATUSES = (
    MAPPED,
    MORE_SUBGRAPHS,
    UNSPECIFIED,
    NOT_SUPPORTED,
    VERSION,
    DATA_TYPE,
    RANK,
    NOT_CONSTANT,
    STRIDES,
)
"""All that the logs we know show. Compiler 2.0 (2019) also cut `RANK` short, to its second line."""

"""Names of classes that a `.tflite` brings along in its metadata, checked against what it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecompile.report import Finding
from edgecompile.tflite.associated import (
    METADATA,
    AssociatedError,
    LabelFile,
    label_files,
    read_archive,
    read_lines,
)
from edgecompile.tflite.flat import load
from edgecompile.tflite.graph import Graph

_AGAIN = "pack the metadata again, or give the names with --labels"
_UNUSED = "The bundle names no classes by it."


@dataclass(frozen=True)
class ClassNames:
    """What a model says about its classes.

    Attributes:
        names: in order of class numbers; empty where it says nothing, or nothing usable.
        output: which output they belong to, counted from 0.
        axis: whether they name the places along that output's last axis; otherwise the numbers in it.
        findings: what the user should know about them.
    """

    names: tuple[str, ...] = ()
    output: int = 0
    axis: bool = True
    findings: tuple[Finding, ...] = ()


def class_names(path: Path, graph: Graph) -> ClassNames:
    """Return the class names that the `.tflite` at path brings along.

    Of several files for an output, such as one for each language, the first counts, as the metadata's schema says.

    Args:
        path: the file.
        graph: what it holds.
    """
    where = METADATA
    try:
        files = read_archive(load(path))
        listed = label_files(graph.metadata[METADATA]) if METADATA in graph.metadata else ()
    except AssociatedError as error:
        return ClassNames(findings=(_warning(f"the model's metadata cannot be read: {error}", where),))
    findings = []
    for file in listed:
        if file.name not in files:
            findings.append(_warning(f"the metadata names `{file.name}`, which the file does not hold", where))
            continue
        try:
            names = read_lines(files[file.name])
        except AssociatedError as error:
            findings.append(_warning(f"`{file.name}` cannot be read: {error}", file.name))
            continue
        if fault := _fault(names, file, graph):
            findings.append(_warning(f"`{file.name}` cannot be used: {fault}", file.name))
            continue
        findings.append(_used(file, [f for f in listed if f.output == file.output and f != file]))
        return ClassNames(names, file.output, file.axis, tuple(findings))
    return ClassNames(findings=tuple(findings))


def _fault(names: Sequence[str], file: LabelFile, graph: Graph) -> str:
    """Return why names are not those of the classes of an output; empty where they may be."""
    if file.output >= len(graph.outputs):
        return f"it belongs to output {file.output}, and there are {len(graph.outputs)}"
    if not names:
        return "it is empty"
    shape = graph.tensors[graph.outputs[file.output]].shape
    if file.axis and shape[-1:] != (len(names),):
        size = shape[-1] if shape else 1
        return f"it has {len(names):,} names, and output `{graph.output_names()[file.output]}` has {size:,} values"
    odd = next((name for name in names if not name or not name.isprintable()), None)
    if odd is not None:
        return f"the name {odd!r} cannot be a line of labels.txt"
    twice = next((name for name in names if names.count(name) > 1), None)
    return "" if twice is None else f"the name `{twice}` is there twice"


def _used(file: LabelFile, others: Sequence[LabelFile]) -> Finding:
    language = f" ({file.locale})" if file.locale else ""
    rest = ", ".join(f"`{other.name}`" for other in others)
    return Finding(
        severity="info",
        rule="metadata-labels",
        what=f"names of classes come from `{file.name}`{language} in the model's metadata",
        where=file.name,
        consequence=f"It is the first of several: {rest} are kept beside it and not used." if others else "",
        remedy="Give other names with --labels." if others else "",
    )


def _warning(what: str, where: str) -> Finding:
    return Finding(
        severity="warning", rule="metadata-labels", what=what, where=where, consequence=_UNUSED, remedy=_AGAIN
    )

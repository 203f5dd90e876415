"""`.tflite` files with TFLite metadata and an archive of files, as tflite-support packs them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecompile.tflite.edit import read_model, write_model

AXIS_LABELS, VALUE_LABELS, SCORE_CALIBRATION = 2, 3, 4
Listed = Sequence[tuple[str, int, str]]
"""Name, type and locale of the files that the metadata gives to an output."""


def _vector(builder: flatbuffers.Builder, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def _table(builder: flatbuffers.Builder, **slots: int) -> int:
    builder.StartObject(8)
    for place, offset in slots.items():
        builder.PrependUOffsetTRelativeSlot(int(place[1:]), offset, 0)
    return int(builder.EndObject())


def metadata(*outputs: Listed) -> bytes:
    """Return TFLite metadata that gives files to outputs."""
    builder = flatbuffers.Builder(1024)
    tensors = []
    for files in outputs:
        made = []
        for name, kind, locale in files:
            strings = builder.CreateString(name), builder.CreateString(locale)
            builder.StartObject(5)
            builder.PrependUOffsetTRelativeSlot(0, strings[0], 0)
            builder.PrependInt8Slot(2, kind, 0)
            builder.PrependUOffsetTRelativeSlot(3, strings[1], 0)
            made.append(builder.EndObject())
        tensors.append(_table(builder, s6=_vector(builder, made)))
    subgraph = _table(builder, s3=_vector(builder, tensors))
    builder.Finish(_table(builder, s3=_vector(builder, [subgraph])), b"M001")
    return bytes(builder.Output())


def with_metadata(content: bytes, *outputs: Listed, files: Mapping[str, bytes], absolute: bool = False) -> bytes:
    """Return a `.tflite` with metadata and files behind it; absolute: places in the archive count from its start."""
    model = read_model(content)
    model.buffers.append(schema.BufferT(data=np.frombuffer(metadata(*outputs), np.uint8)))
    model.metadata = [schema.MetadataT(name=b"TFLITE_METADATA", buffer=len(model.buffers) - 1)]
    head = write_model(model)
    behind = io.BytesIO(head if absolute else b"")
    with zipfile.ZipFile(behind, "a") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return behind.getvalue() if absolute else head + behind.getvalue()

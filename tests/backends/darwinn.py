"""Compiled models written by hand: the package that Google's schema describes, and a `.tflite` file around it."""

from __future__ import annotations

from pathlib import Path

from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder as FlatBuilder

from edgecompile.tflite.edit import read_model, write_model


def packed(*programs: tuple[int, int, int], runtime: int = 14) -> bytes:
    """Return options with a package of programs (type, parameter bytes, instruction bytes)."""
    inner = _table_of_strings([_program(*program) for program in programs])
    build = FlatBuilder(64)
    version = build.CreateString("cl/1")
    content = build.CreateByteVector(inner)
    build.StartObject(5)
    build.PrependInt32Slot(0, runtime, 0)
    build.PrependUOffsetTRelativeSlot(1, content, 0)
    build.PrependUOffsetTRelativeSlot(4, version, 0)
    build.Finish(build.EndObject(), b"DWN1")
    return b"1\x00wrapped" + bytes(build.Output()) + b"tail"


def _program(kind: int, parameters: int, instructions: int) -> bytes:
    build = FlatBuilder(64)
    chip = build.CreateString("beagle")
    stream = build.CreateByteVector(bytes(instructions))
    build.StartObject(2)
    build.PrependUOffsetTRelativeSlot(0, stream, 0)
    chunk = build.EndObject()
    build.StartVector(4, 1, 4)
    build.PrependUOffsetTRelative(chunk)
    chunks = build.EndVector()
    content = build.CreateByteVector(bytes(parameters))
    build.StartObject(15)
    build.PrependUOffsetTRelativeSlot(5, chunks, 0)
    build.PrependUOffsetTRelativeSlot(6, content, 0)
    build.PrependUOffsetTRelativeSlot(10, chip, 0)
    build.PrependInt32Slot(12, 832, 0)
    build.PrependInt16Slot(13, kind, 0)
    build.PrependUint64Slot(14, 2**63 + 7, 0)
    build.Finish(build.EndObject())
    return bytes(build.Output())


def _table_of_strings(parts: list[bytes]) -> bytes:
    build = FlatBuilder(64)
    strings = [build.CreateByteVector(part) for part in parts]
    build.StartVector(4, len(strings), 4)
    for item in reversed(strings):
        build.PrependUOffsetTRelative(item)
    vector = build.EndVector()
    build.StartObject(1)
    build.PrependUOffsetTRelativeSlot(0, vector, 0)
    build.Finish(build.EndObject())
    return bytes(build.Output())


def compile_by_hand(source: Path, *, inside: int, options: bytes) -> bytes:
    """Return source with its first ops, `inside` of them, replaced by one custom op with these options."""
    model = read_model(source)
    main = model.subgraphs[0]
    gone, stay = main.operators[:inside], main.operators[inside:]
    model.operatorCodes.append(
        schema.OperatorCodeT(
            builtinCode=schema.BuiltinOperator.CUSTOM,
            deprecatedBuiltinCode=schema.BuiltinOperator.CUSTOM,
            customCode=b"edgetpu-custom-op",
            version=1,
        )
    )
    custom = schema.OperatorT(
        opcodeIndex=len(model.operatorCodes) - 1,
        inputs=list(main.inputs),
        outputs=list(gone[-1].outputs),
        customOptions=list(options),
    )
    main.operators = [custom, *stay]
    return write_model(model)

"""Logs of edgetpu_compiler: every shape that is known, and failures by their words."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecompile.backends.edgetpu import status
from edgecompile.backends.edgetpu.log import diagnose, parse_log, worth_retrying

PRINTED = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 3173 ms.

Input model: yolov5s-int8-224.tflite
Input size: 7.37MiB
Output model: yolov5s-int8-224_edgetpu.tflite
Output size: 8.34MiB
On-chip memory used for caching model parameters: 6.08MiB
On-chip memory remaining for caching model parameters: 0.00B
Off-chip memory used for streaming uncached model parameters: 1.70MiB
Number of Edge TPU subgraphs: 2
Total number of operations: 294
Operation log: yolov5s-int8-224_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the model will instead run on the CPU, which is slower. If possible, consider updating your model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 289
Number of operations that will run on CPU: 5

Operator                       Count      Status

RESIZE_NEAREST_NEIGHBOR        2          Mapped to Edge TPU
CONCATENATION                  1          Operation is otherwise supported, but not mapped due to some unspecified limitation
CONCATENATION                  17         Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""  # noqa: E501  # the compiler's own words

WRITTEN = """Edge TPU Compiler version 15.0.340273435
Input: mnist4.tflite
Output: mnist4_edgetpu.tflite

Operator                       Count      Status

DEQUANTIZE                     1          Operation is working on an unsupported data type
CONV_2D                        2          Mapped to Edge TPU
"""

OLD = """Edge TPU Compiler version 2.0.291256449

Model compiled successfully in 161 ms.

Input model: face.tflite
Input size: 478.66KiB
Output model: face_edgetpu.tflite
Output size: 537.74KiB
On-chip memory available for caching model parameters: 7.69MiB
On-chip memory used for caching model parameters: 729.50KiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 90
"""


def test_what_the_compiler_prints() -> None:
    log = parse_log(PRINTED)
    assert log.version == "16.0.384591198"
    assert (log.input, log.output) == ("yolov5s-int8-224.tflite", "yolov5s-int8-224_edgetpu.tflite")
    assert (log.input_bytes, log.output_bytes) == (round(7.37 * 2**20), round(8.34 * 2**20))
    assert (log.cached_bytes, log.room_left_bytes, log.streamed_bytes) == (round(6.08 * 2**20), 0, round(1.70 * 2**20))
    assert log.capacity_bytes == log.cached_bytes
    assert (log.subgraphs, log.ops, log.ops_on_tpu, log.ops_on_cpu, log.milliseconds) == (2, 294, 289, 5, 3173)
    assert log.operators == {
        ("RESIZE_NEAREST_NEIGHBOR", status.MAPPED): 2,
        ("CONCATENATION", status.UNSPECIFIED): 1,
        ("CONCATENATION", status.MAPPED): 17,
    }
    assert log.unknown_statuses() == ()


def test_what_it_writes_beside_the_model() -> None:
    log = parse_log(WRITTEN)
    assert (log.version, log.input, log.output) == ("15.0.340273435", "mnist4.tflite", "mnist4_edgetpu.tflite")
    assert log.operators == {("DEQUANTIZE", status.DATA_TYPE): 1, ("CONV_2D", status.MAPPED): 2}
    assert log.cached_bytes is log.ops is log.subgraphs is log.capacity_bytes is None


def test_a_search_for_what_compiles_is_read_by_its_end() -> None:
    """As `-d -k 10` prints it (google-coral/edgetpu #671): what failed on the way says nothing of the result."""
    text = """Edge TPU Compiler version 16.0.384591198
Searching for valid delegate with step 10
Try to compile segment with 340 ops
Started a compilation timeout timer of 180 seconds.
ERROR: Restored original execution plan after delegate application failure.
Compilation failed: Compilation failed due to large activation tensors in model.
Compilation child process completed within timeout period.
Compilation failed!
Try to compile segment with 330 ops
Intermediate tensors: Reshape,Reshape_8
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 2270 ms.

Input model: net.tflite
Input size: 5.21MiB
Output model: net_edgetpu.tflite
Output size: 6.51MiB
On-chip memory used for caching model parameters: 6.02MiB
On-chip memory remaining for caching model parameters: 1.02MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 84

Operator                       Count      Status

QUANTIZE                       1          Mapped to Edge TPU
CONV_2D                        46         Mapped to Edge TPU
"""
    found = parse_log(text)
    assert (found.input, found.subgraphs, found.ops, found.milliseconds) == ("net.tflite", 1, 84, 2270)
    assert found.capacity_bytes == round(6.02 * (1 << 20)) + round(1.02 * (1 << 20))
    assert dict(found.operators) == {("QUANTIZE", "Mapped to Edge TPU"): 1, ("CONV_2D", "Mapped to Edge TPU"): 46}


def test_compiler_2_says_how_much_room_there_was() -> None:
    log = parse_log(OLD)
    assert (log.cached_bytes, log.room_left_bytes) == (round(729.5 * 1024), None)
    assert log.capacity_bytes == log.room_bytes == round(7.69 * 2**20)


def test_rows_of_one_op_and_status_are_added_up() -> None:
    assert parse_log("RELU 1 Mapped to Edge TPU\nRELU 2 Mapped to Edge TPU").operators == {("RELU", status.MAPPED): 3}


def test_statuses_that_nobody_has_seen_are_kept_and_named() -> None:
    log = parse_log("RELU   1   Operation refuses to work on Mondays")
    assert log.unknown_statuses() == ("Operation refuses to work on Mondays",)


def test_another_format_gives_nothing_and_no_error() -> None:
    log = parse_log('{"operators": [], "version": 17}')
    assert (log.version, log.operators, log.ops) == ("", {}, None)


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version of this builtin might",
            "CONV_2D version 6 is younger than the compiler (2021)",
            "older TensorFlow",
        ),
        ("ERROR: Op builtin_code out of range: 150. Are you using", "operator code 150 is younger", "GELU"),
        (
            "Compilation failed: Compilation failed due to large activation tensors in model.",
            "activations are too large",
            "smaller input",
        ),
        (
            "ERROR: Attempting to use a delegate that only supports static-sized tensors with a graph that has "
            "dynamic-sized tensors.",
            "no fixed size",
            "--shape",
        ),
        ("Invalid model: net.tflite\nModel not quantized", "not quantized", "--recipe int8"),
        (
            "loc(\"a/b\"): error: 'tfl.strided_slice' op is not supported on DarwiNN. See the operation detail:",
            "took a `tfl.strided_slice` that it cannot compile",
            "change this op",
        ),
        ("Invalid model: net.tflite\nModel could not be parsed", "cannot load the model", "interpreter"),
    ],
)
def test_failures_that_explain_themselves(text: str, what: str, hint: str) -> None:
    found = diagnose(text)
    assert found is not None
    assert what in found.what
    assert hint in found.hint
    assert not worth_retrying(text)


@pytest.mark.parametrize("text", ["Internal compiler error. Aborting!", "Compilation failed!", ""])
def test_failures_that_do_not(text: str) -> None:
    assert diagnose(text) is None
    assert worth_retrying(text)


def test_every_real_log_is_understood(edgecompile_data: Path) -> None:
    folder = edgecompile_data / "edgetpu"
    files = sorted([*folder.glob("logs/*"), *folder.glob("text_logs/*")])
    assert len(files) == 12
    for file in files:
        text = file.read_text("utf-8")
        log = parse_log(text)
        rows = [line.split(None, 2) for line in text.splitlines() if line[:1].isupper() and line.split()[1:2] != []]
        table = {(r[0], r[2].strip()): int(r[1]) for r in rows if len(r) == 3 and r[1].isdigit()}
        assert dict(log.operators) == table, file.name
        assert log.unknown_statuses() == ()
        if log.ops is not None:
            assert sum(log.operators.values()) == log.ops


def test_real_logs_that_state_sizes(edgecompile_data: Path) -> None:
    log = parse_log((edgecompile_data / "edgetpu/text_logs/efficientdet_lite0_v16.txt").read_text("utf-8"))
    mib = 2**20
    assert (log.cached_bytes, log.room_left_bytes, log.streamed_bytes) == (round(4.21 * mib), round(3.29 * mib), 0)
    assert (log.subgraphs, log.ops, log.ops_on_tpu, log.ops_on_cpu) == (1, 267, 264, 3)


def test_statuses_that_users_reported_are_known(edgecompile_data: Path) -> None:
    text = (edgecompile_data / "edgetpu/text_logs/other_statuses_from_issues.txt").read_text("utf-8")
    for said in (status.NOT_CONSTANT, status.RANK, status.UNSPECIFIED, status.VERSION, status.DATA_TYPE):
        assert said in text
    assert diagnose(next(line for line in text.splitlines() if "large activation" in line)) is not None
    assert diagnose(next(line for line in text.splitlines() if "dynamic-sized" in line)) is not None

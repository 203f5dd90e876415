"""What training made of a model: read from files, and put in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nets import Net, written

from edgecompile.backends import BACKENDS
from edgecompile.bundle.page_payoff import payoff_view
from edgecompile.measure import stage
from edgecompile.payoff import KernelInfo, Payoff, Stage, runtime_note


def model(folder: Path) -> Path:
    """Two dense layers with one kernel between them, and a convolution of which a quarter is zero."""
    net = Net()
    kernel = net.weights(4, 2, 2, 1)
    kernel[:, 0, 0] = 0
    x = net.flat(net.conv(net.input("x", [1, 3, 3, 1]), 4, weights=kernel))
    shared = net.constant(np.repeat([[1.0], [2.0], [0.0]], 36, axis=1))
    bias = net.constant(net.weights(3))
    ends = {name: net.op("FULLY_CONNECTED", [x, shared, bias], [1, 3]) for name in ("a", "b")}
    return written(net.done(ends), folder)


def test_a_stage_is_what_the_file_holds(tmp_path: Path) -> None:
    found = stage("prune", model(tmp_path))
    conv, dense = found.kernels
    assert (conv.weights, conv.zeros, conv.macs) == (16, 0.25, 9 * 16)
    assert (dense.weights, dense.distinct, dense.macs) == (108, 3, 2 * 108), "two layers compute with it"
    assert dense.zeros == round(1 / 3, 6)
    assert found.macs == conv.macs + dense.macs
    assert found.zeros == round((4 + 36) / 124, 6)
    assert found.parameters == 16 + 4 + 108 + 3
    assert 0 < found.gzip_bytes < found.bytes == (tmp_path / "source.tflite").stat().st_size


def kernel(**more: object) -> KernelInfo:
    given = {"layer": "a;b", "op": "CONV_2D", "dtype": "int8", "weights": 16, "macs": 99, "zeros": 0, "distinct": 16}
    return KernelInfo.model_validate(given | more)


def stages(*kernels: tuple[KernelInfo, ...]) -> Payoff:
    sizes = {"parameters": 1, "macs": 1, "zeros": 0, "bytes": 1, "gzip_bytes": 1}
    made = [Stage.model_validate({"name": "n", **sizes, "kernels": one}) for one in kernels]
    return Payoff(stages=tuple(made), runtime="All of it.")


def test_the_page_says_what_changed_in_every_kernel() -> None:
    (row,) = payoff_view(stages((kernel(),), (kernel(zeros=0.5, distinct=4),))).kernels
    assert row == ("a", "CONV_2D", "16", "99", "0.0% → 50.0%", "16 → 4")


def test_kernels_that_are_not_the_same_are_not_compared() -> None:
    before, after = (kernel(), kernel(op="ADD")), (kernel(op="ADD", zeros=0.5), kernel())
    assert [row[4] for row in payoff_view(stages(before, after)).kernels] == ["50.0%", "0.0%"]


def test_a_runtime_is_asked_about_what_was_won() -> None:
    note = BACKENDS["litert"].weights_note
    assert runtime_note(["prune", "cluster", "qat"], note) == note
    assert runtime_note(["channels", "qat"], note).startswith("Removed channels are gone")
    assert note not in runtime_note(["channels", "qat"], note)
    assert note in runtime_note(["channels", "prune 2"], note)
    assert "for accuracy" in runtime_note(["distil", "qat"], note)

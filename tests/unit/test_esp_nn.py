"""ESP-NN's scratch memory: sizes worked out by hand from the functions of its releases 1.1.1 to 1.2.3."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgecompile.tflite import esp_nn


def size(chip: esp_nn.Chip, given: tuple[int, ...], kernel: tuple[int, ...], made: tuple[int, ...], name: str) -> int:
    tensors = [SimpleNamespace(shape=given, dtype="int8"), SimpleNamespace(shape=kernel), SimpleNamespace(shape=made)]
    options = {"stride_h": 1, "stride_w": 1, "padding": SimpleNamespace(name="SAME")}
    op = SimpleNamespace(index=7, name=name, inputs=(0, 1), outputs=(2,), options=options)
    found = esp_nn.scratch(SimpleNamespace(tensors=tensors, ops=[op]), chip)  # type: ignore[arg-type]
    return found.get(7, (0,))[0]


@pytest.mark.parametrize(
    ("given", "kernel", "made", "name", "wanted"),
    [
        # padded input, input with a border, weights twice, sums, margin
        ((1, 10, 10, 16), (16, 3, 3, 16), (1, 10, 10, 16), "CONV_2D", 2 * 12 * 12 * 16 + 2 * 9 * 16 * 16 + 64 + 64),
        # weights for 8 channels, a transposed tile, margin
        ((1, 10, 10, 8), (16, 1, 1, 8), (1, 10, 10, 16), "CONV_2D", 8 * 16 + 16 * 8 + 64),
        ((1, 10, 10, 16), (1, 3, 3, 16), (1, 10, 10, 16), "DEPTHWISE_CONV_2D", 9 * 16 + 12 * 12 * 16 + 16),
        # weights and values in 16 bits
        ((1, 10, 10, 16), (1, 5, 5, 16), (1, 10, 10, 16), "DEPTHWISE_CONV_2D", 2 * (25 * 16 + 1600) + 32),
        ((1, 10), (), (1, 10), "SOFTMAX", 40),
    ],
)
def test_sizes_on_the_s3(
    given: tuple[int, ...], kernel: tuple[int, ...], made: tuple[int, ...], name: str, wanted: int
) -> None:
    assert size("s3", given, kernel, made, name) == wanted
    assert size("generic", given, kernel, made, name) == (40 if name == "SOFTMAX" else 0)

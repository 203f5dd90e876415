"""Where a rule comes from. Nothing here is a guess: what nobody has shown is said to be unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["document", "log", "issue", "pair"]
"""document: published by the chip's, compiler's or runtime's authors. log: a log of the real compiler that somebody
published. issue: what users and maintainers found. pair: a public model and what the real compiler made of it."""


@dataclass(frozen=True)
class Evidence:
    """One source.

    Attributes:
        kind: what sort of source it is.
        where: enough to find it.
        short: what tables say, beside a list of sources.
    """

    kind: Kind
    where: str
    short: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}"


def issue(number: int) -> Evidence:
    """Return an issue of the Edge TPU's own repository."""
    return Evidence("issue", f"google-coral/edgetpu #{number}", f"#{number}")


def log(what: str, short: str) -> Evidence:
    """Return a published log of the real compiler."""
    return Evidence("log", what, f"log of {short}")


def pair(model: str) -> Evidence:
    """Return a public model that is there before and after the real compiler."""
    return Evidence("pair", model, f"pair {model}")


CORAL = Evidence(
    "document", "Coral, “TensorFlow models on the Edge TPU”: model requirements, supported operations", "Coral"
)
CORAL_2019 = Evidence(
    "document", "Coral, the same page as of 2019, when runtime 12 was current: the ops that were there", "Coral 2019"
)
ARTPEC = Evidence("document", "Axis, ARTPEC-7 “Supported ops” (the same chip; runtime 14)", "Axis")
CHANGES = Evidence("document", "google-coral/edgetpu CHANGES.md: ops that runtime 13 added", "CHANGES.md")
LIBCORAL = Evidence("document", "google-coral/libcoral CHANGES.md: what the tool `split_fc` is for", "libcoral")
OP_VERSIONS = Evidence(
    "document", "TensorFlow, versioning/runtime_version.cc: first release with each op version", "TensorFlow"
)

DEEPLAB = pair("deeplabv3_mnv2_pascal_quant")
CITYSCAPES = pair("deeplab_mobilenet_edgetpu_slim_cityscapes_quant")
TCN = pair("edgetpu-tcn, quantized_model: filters of 3×1, dilation 2×1 and 4×1")
LSTM = pair("keras_lstm_mnist_ptq")
BODYPIX = pair("bodypix_mobilenet_v1_075_512_512_16_quant_decoder")
SPLIT_CONCAT = pair("split_concat")
BRIGHT = pair("bright_128x128")
FLOAT_INPUTS = pair("N32-nMACs41287680_quant")
YOLOV5_224 = log("YOLOv5s, int8, 224×224, compiler 16, `-s -a`", "YOLOv5s at 224")
YOLOV5_V15 = log("YOLOv5s, int8, compiler 15", "YOLOv5s, compiler 15")
YOLOV3_TINY = log("YOLOv3-tiny, int8, compiler 15", "YOLOv3-tiny")
YOLOV8_256 = log("YOLOv8n, int8, 256×256, compiler 16: all 256 ops mapped", "YOLOv8n")
YOLOV9 = log("YOLOv9-t, int8, compiler 16: 719 of 750 ops mapped", "YOLOv9-t")
EFFICIENTDET = log("EfficientDet-Lite0, compiler 16: 264 of 267 ops mapped", "EfficientDet-Lite0")
PRELUS = log("MobileHumanPose, int8, compiler 16: 41 PRELU and RESIZE_BILINEAR mapped", "MobileHumanPose")
DENSE_V9 = log(
    "dense layers on 3-D inputs, compiler 14.1: 12 FULLY_CONNECTED, “Operation version not supported”", "dense layers"
)
MANY = log("EfficientDet, MobileNet, ResNet and YOLO models, compilers 14 to 16", "several models")
DENSE_8192 = log("one dense layer of 8192×8192, compiler 16: mapped, 0 B cached", "a dense layer")
DENSE_PAIR = pair("dense_256")

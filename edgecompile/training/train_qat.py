"""The qat pass at work: open what rounding needs, fine-tune, note the ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgecompile.errors import PassError
from edgecompile.report import Finding
from edgecompile.training.fit import Student
from edgecompile.training.held import hold
from edgecompile.training.int8 import Layout, activation_name, lay_out
from edgecompile.training.network import Network, execute
from edgecompile.training.orders import Done, Orders
from edgecompile.training.qat import Ranges, rounded_weights
from edgecompile.training.rows import spread
from edgecompile.training.split import split_for_int8, stands_alone
from edgecompile.training.workshop import Workshop

OBSERVED_AT_ONCE = 32
"""Rows of the sample that run together while ranges are found: all activations of them are in memory."""
SEVERAL = frozenset({"log_sigmoid", "mish", "selu", "softplus", "softsign"})
"""Activations that LiteRT has no op for."""


def train_qat(shop: Workshop, orders: Orders, *, dense_per_channel: bool) -> Done:
    """Return the model of shop, fine-tuned with int8 rounding.

    Raises:
        PassError: no training data, or nothing in the model can be rounded.
        ConfigError: teacher, loss, labels and model do not fit each other.
    """
    tf = shop.tf
    model, renamed = split_for_int8(tf, shop.keras, shop.model)
    shop = shop.replaced(model, notes=shop.notes.renamed(renamed))
    found = [k for k in shop.kernels() if k.shape != "recurrent"]
    layout = lay_out(shop.network)
    if not found:
        raise PassError(
            "found nothing to train with int8 rounding: the model has no convolution and no dense layer",
            where="qat",
            hint="leave `qat` out: `quantize` alone gives the same",
        )
    held = hold(tf, shop.kernels(), shop.notes)
    for kernel in found:
        if kernel.name not in held.books:  # values of a book are int8 steps already
            by_channel = kernel.shape != "dense" or dense_per_channel
            held.forms.add(kernel, rounded_weights(tf, kernel, per_channel=by_channel))
    ranges = Ranges(tf, shop.network, layout)
    sample = shop.sample()
    ranges.observe(shop.batches(sample, OBSERVED_AT_ONCE), rows=spread(len(shop.data), len(sample[0])))

    def run(inputs: Sequence[Any], *, training: bool) -> Sequence[Any]:
        # BatchNormalization keeps its statistics: on the device it is part of the convolution before it.
        with held.forms.applied():
            return execute(tf, shop.network, inputs, training=False, after=ranges.round)

    student = Student(
        run=run,
        variables=[*shop.model.trainable_variables, *ranges.variables],
        state=[*shop.model.variables, *ranges.variables, *held.variables()],
    )
    _, facts = shop.tune(student, orders)
    held.forms.finish()
    notes = shop.notes.model_copy(update={"ranges": ranges.learned()})
    facts |= {"rounded_kernels": len(found), "learned_ranges": len(notes.ranges)}
    return Done(shop.model, notes, facts, _findings(shop.network, layout))


def _findings(network: Network, layout: Layout) -> tuple[Finding, ...]:
    told = {name: f"what the layer gives was not rounded in training: {why}" for name, why in layout.skipped.items()}
    for call in network.calls:
        if stands_alone(network, call):
            told[call.name] = "int8 rounds the product in the layer and then the sum; training rounded only the sum"
        if activation_name(call.layer) in SEVERAL and call.name not in told:
            told[call.name] = (
                f"int8 computes `{activation_name(call.layer)}` in several ops; training rounded only what it gives"
            )
        if call.kind == "SeparableConv1D":
            told[call.name] = (
                "int8 rounds what lies between the kernels of the layer; training rounded only its outputs"
            )
    return tuple(
        Finding(
            severity="info",
            rule="qat-skipped",
            what=what,
            where=f"layer {name}",
            consequence="`quantize` sets its ranges from calibration rows, as without `qat`",
        )
        for name, what in told.items()
    )

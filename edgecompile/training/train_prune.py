"""The prune pass at work: masks by magnitude that grow while the model is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecompile.errors import PassError
from edgecompile.report import Finding
from edgecompile.training.forms import masked
from edgecompile.training.held import hold
from edgecompile.training.kernels import Kernel, ensure_named, matches
from edgecompile.training.masks import (
    Floats,
    Mask,
    Schedule,
    blocks,
    obeys_two_of_four,
    scattered,
    sparsity_at,
    two_of_four,
)
from edgecompile.training.orders import Done, Orders
from edgecompile.training.workshop import Workshop

UPDATES = 50
"""How often masks are chosen anew while sparsity rises; a finer schedule changes nothing that could be measured."""
_TINY = 1e-9
SMALL = 0.02
"""Share of the weights that the smallest kernels may hold together and be left alone: the first convolution and the
last dense layer of most models, which lose the most accuracy and save the least."""

_REACH = "the pass knows the kernels of convolutions, dense and recurrent layers"


@dataclass(frozen=True)
class Pruning:
    """What is removed.

    Attributes:
        sparsity: share of zeros in every pruned kernel.
        schedule: how sparsity rises.
        block: output channels × input channels of what is removed together.
        two_of_four: of every four input channels two are removed, instead.
        end: share of the training after which the sparsity is reached.
        skip: layers or kernels to leave alone, names with `*`.
    """

    sparsity: float
    schedule: Schedule
    block: tuple[int, int]
    two_of_four: bool
    end: float
    skip: tuple[str, ...]

    @property
    def gradual(self) -> bool:
        """Whether masks are chosen more than once."""
        return self.schedule == "polynomial" and not self.two_of_four

    def mask(self, rows: Floats, inner: int, sparsity: float) -> Mask:
        """Return which weights of rows stay at a sparsity."""
        if self.two_of_four:
            return two_of_four(rows, inner=inner)
        if self.block != (1, 1):
            return blocks(rows, sparsity, shape=self.block, inner=inner)
        return scattered(rows, sparsity)


def train_prune(shop: Workshop, orders: Orders, pruning: Pruning) -> Done:
    """Return the model of shop, pruned while it is fine-tuned.

    Raises:
        PassError: no training data, no kernel that can be pruned, or one that holds fewer zeros than asked for.
        ConfigError: teacher, loss, labels and model do not fit each other, or `skip` names nothing.
    """
    ensure_named(pruning.skip, shop.names(), where="prune")
    chosen, left = choose_kernels(shop.kernels(), pruning)
    others = [(name, f"the weights of `{kind}` were not pruned: {_REACH}") for name, kind in shop.unreached()]
    if not chosen:
        hint = "; ".join(f"{name}: {why}" for name, why in (*left, *others))
        raise PassError("found no kernel to prune", where="prune", hint=hint)
    held = hold(shop.tf, shop.kernels(), shop.notes)
    earlier = {name: mask.numpy() for name, mask in held.masks.items()}
    for kernel in chosen:
        if kernel.name not in held.masks:
            held.masks[kernel.name] = shop.tf.Variable(np.ones(kernel.values().shape, np.float32), trainable=False)
            held.forms.add(kernel, masked(held.masks[kernel.name]))

    def on_step(step: int, steps: int) -> None:
        last = int(steps * pruning.end) if pruning.gradual else 0
        if step == last or (step < last and step % max(1, last // UPDATES) == 0):
            share = 1.0 if step == last else step / steps
            level = sparsity_at(share, final=pruning.sparsity, schedule=pruning.schedule, end=pruning.end)
            for kernel in chosen:
                mask = pruning.mask(kernel.rows(kernel.values()), kernel.inner, level)
                shaped = kernel.shaped(mask.astype(np.float32))
                held.masks[kernel.name].assign(shaped * earlier.get(kernel.name, 1))

    # An epoch that ends at `end` has not trained with the last masks yet.
    kept_from = pruning.end + _TINY if pruning.gradual else _TINY
    _, facts = shop.tune(shop.student(held, on_step=on_step, kept_from=kept_from), orders)
    held.forms.finish()
    ensure_zeros(chosen, pruning)
    facts |= {"pruned_kernels": len(chosen), "kernels_left": len(left) + len(others)}
    told = [*((name, f"the kernel was not pruned: {why}") for name, why in left), *others]
    return Done(shop.model, shop.notes, facts, tuple(_finding(name, what) for name, what in told))


def choose_kernels(found: Sequence[Kernel], pruning: Pruning) -> tuple[list[Kernel], list[tuple[str, str]]]:
    """Return the kernels to prune, and name and reason of those that are left alone."""
    left: list[tuple[str, str]] = []
    chosen = []
    budget = SMALL * sum(k.values().size for k in found)
    for kernel in sorted(found, key=lambda k: k.values().size):
        why = _reason(kernel, pruning)
        if not why and kernel.values().size <= budget:
            budget -= kernel.values().size
            why = "it is too small to matter for the size"
        if why:
            left.append((kernel.name, why))
        else:
            chosen.append(kernel)
    order = {kernel.name: number for number, kernel in enumerate(found)}
    return sorted(chosen, key=lambda k: order[k.name]), sorted(left, key=lambda item: order[item[0]])


def _reason(kernel: Kernel, pruning: Pruning) -> str:
    if matches(kernel.name, pruning.skip):
        return "`skip` names it"
    if not kernel.trainable:
        return "the layer is frozen"
    if kernel.shape == "depthwise":
        return "depthwise kernels are small, and every weight of them matters"
    if pruning.two_of_four and kernel.inner < 4:
        return f"it has {kernel.inner} input channels, and 2:4 needs four side by side"
    if not pruning.mask(kernel.rows(kernel.values()), kernel.inner, pruning.sparsity).any():
        return f"it has {kernel.values().size} weights, and nothing of it would be left"
    return ""


def ensure_zeros(chosen: Sequence[Kernel], pruning: Pruning) -> None:
    """Raise PassError where a kernel holds fewer zeros than asked for, or breaks 2:4."""
    for kernel in chosen:
        rows = kernel.rows(kernel.values())
        share = float((rows == 0).mean())
        if pruning.two_of_four and not obeys_two_of_four(rows, inner=kernel.inner):
            raise PassError("the kernel breaks 2:4", where=f"prune: {kernel.name}")
        if not pruning.two_of_four and share < pruning.sparsity:
            what = f"asked for {pruning.sparsity:.1%} zeros, and the kernel holds {share:.1%}"
            raise PassError(what, where=f"prune: {kernel.name}")


def _finding(name: str, what: str) -> Finding:
    return Finding(severity="info", rule="prune-skipped", what=what, where=name)

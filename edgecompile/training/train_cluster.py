"""The cluster pass at work: every kernel comes down to few values while the model is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence

from edgecompile.errors import PassError
from edgecompile.report import Finding
from edgecompile.training.clusters import Book
from edgecompile.training.held import hold
from edgecompile.training.kernels import Kernel, ensure_named, matches
from edgecompile.training.multiplied import multiplied
from edgecompile.training.orders import Done, Orders
from edgecompile.training.workshop import Workshop

REFITS = 20
"""How often values are fitted anew to the weights …"""
REFIT_UNTIL = 0.7
"""… in this share of the training; then they stay, so that the weights can settle."""
_REACH = "the pass knows the kernels of convolutions and dense layers"


def train_cluster(
    shop: Workshop, orders: Orders, *, clusters: int, skip: tuple[str, ...], dense_per_channel: bool
) -> Done:
    """Return the model of shop with at most so many values a kernel, fine-tuned; zeros stay zero.

    Raises:
        PassError: no training data, or no kernel that can be clustered.
        ConfigError: teacher, loss, labels and model do not fit each other, or `skip` names nothing.
    """
    ensure_named(skip, shop.names(), where="cluster")
    found = shop.kernels()
    torn = multiplied(shop.network, dense_per_channel=dense_per_channel)
    left = [(k.name, why) for k in found if (why := _reason(k, skip) or torn.get(k.name, ""))]
    chosen = [k for k in found if k.name not in dict(left)]
    others = [(name, f"the weights of `{kind}` were not clustered: {_REACH}") for name, kind in shop.unreached()]
    if not chosen:
        hint = "; ".join(f"{name}: {why}" for name, why in (*left, *others))
        raise PassError("found no kernel to cluster", where="cluster", hint=hint)
    new = {k.name: clusters for k in chosen}
    earlier = {name: count for name, count in shop.notes.clusters.items() if name not in new}
    held = hold(shop.tf, found, shop.notes.model_copy(update={"clusters": earlier}))
    single = tuple(k.name for k in chosen if k.shape == "dense" and not dense_per_channel)
    for kernel in chosen:
        held.books[kernel.name] = Book.fitted(shop.tf, kernel, clusters, per_tensor=kernel.name in single)
        held.forms.add(kernel, held.books[kernel.name].form(shop.tf))

    def on_step(step: int, steps: int) -> None:
        until = int(steps * REFIT_UNTIL)
        if step and step <= until and step % max(1, until // REFITS) == 0:
            for kernel in chosen:
                held.books[kernel.name].refit(kernel, held.masks.get(kernel.name))

    _, facts = shop.tune(shop.student(held, on_step=on_step), orders)
    held.forms.finish()
    kept = tuple(name for name in shop.notes.per_tensor if name in earlier)
    notes = shop.notes.model_copy(update={"clusters": {**earlier, **new}, "per_tensor": (*kept, *single), "ranges": {}})
    facts |= {"clustered_kernels": len(chosen), "kernels_left": len(left) + len(others)}
    told = [*((name, f"the kernel was not clustered: {why}") for name, why in left), *others]
    return Done(shop.model, notes, facts, tuple(_finding(name, what) for name, what in told))


def _reason(kernel: Kernel, skip: Sequence[str]) -> str:
    if matches(kernel.name, skip):
        return "`skip` names it"
    if not kernel.trainable:
        return "the layer is frozen"
    if kernel.shape == "recurrent":
        return "int8 kernels of recurrent layers have scales of their own for each gate"
    if kernel.shape == "depthwise":
        return "depthwise kernels are small, and every weight of them matters"
    return ""


def _finding(name: str, what: str) -> Finding:
    return Finding(severity="info", rule="cluster-skipped", what=what, where=name)

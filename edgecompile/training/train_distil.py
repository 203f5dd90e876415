"""The distil pass at work: fine-tune a model towards a teacher, keeping what earlier passes won."""

from __future__ import annotations

from edgecompile.errors import PassError
from edgecompile.training.held import hold
from edgecompile.training.orders import Done, Orders
from edgecompile.training.workshop import Workshop


def train_distil(shop: Workshop, orders: Orders) -> Done:
    """Return the model of shop, fine-tuned.

    Raises:
        PassError: no training data, or no epoch made the model better.
        ConfigError: teacher, loss, labels and model do not fit each other.
    """
    held = hold(shop.tf, shop.kernels(), shop.notes)
    history, facts = shop.tune(shop.student(held), orders)
    if not history.best:
        before, *after = history.held_out
        raise PassError(
            f"no epoch was better than the model as it came: loss {before:.4g} on held-out rows, then {min(after):.4g}",
            where="distil",
            hint="leave `distil` out, lower `learning_rate`, or name another model as `teacher`",
        )
    held.forms.finish()
    return Done(shop.model, shop.notes, facts)

"""The distil pass at work: fine-tune a model towards a teacher, keeping what earlier passes won."""

from __future__ import annotations

from edgecompile.training.held import hold
from edgecompile.training.orders import Done, Orders
from edgecompile.training.workshop import Workshop


def train_distil(shop: Workshop, orders: Orders) -> Done:
    """Return the model of shop, fine-tuned.

    Raises:
        PassError: no training data.
        ConfigError: teacher, loss, labels and model do not fit each other.
    """
    held = hold(shop.tf, shop.kernels(), shop.notes)
    _, facts = shop.tune(shop.student(held), orders)
    held.forms.finish()
    return Done(shop.model, shop.notes, facts)

"""What earlier passes won, kept by every pass that trains after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgecompile.training.clusters import Book
from edgecompile.training.forms import Forms, masked
from edgecompile.training.kernels import Kernel
from edgecompile.training.stored import Notes

KEPT_ZEROS = 0.05
"""Share of exact zeros from which a kernel counts as pruned: training leaves none by chance."""


@dataclass(frozen=True)
class Held:
    """What is kept.

    Attributes:
        forms: of all kernels with something to keep; a pass adds its own.
        masks: kernel → variable of 0 and 1, for kernels with zeros.
        books: kernel → its values, for clustered kernels.
    """

    forms: Forms
    masks: dict[str, Any]
    books: dict[str, Book]

    def variables(self) -> list[Any]:
        """Return masks and books: what belongs to a state of the model beside its weights."""
        return [*self.masks.values(), *(v for book in self.books.values() for v in (book.values, book.scales))]


def hold(tf: Any, found: Sequence[Kernel], notes: Notes) -> Held:
    """Return the forms that keep the zeros and the clusters of kernels."""
    forms, masks, books = Forms(tf), {}, {}
    for kernel in found:
        nonzero = kernel.values() != 0
        if 1 - nonzero.mean() >= KEPT_ZEROS:
            masks[kernel.name] = tf.Variable(nonzero.astype("float32"), trainable=False)
            forms.add(kernel, masked(masks[kernel.name]))
        if kernel.name in notes.clusters:
            per_tensor = kernel.name in notes.per_tensor
            books[kernel.name] = Book.found(tf, kernel, notes.clusters[kernel.name], per_tensor=per_tensor)
            forms.add(kernel, books[kernel.name].form(tf))
    return Held(forms, masks, books)

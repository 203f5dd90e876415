"""What the weights of a model look like while it is trained, and in the end: masked, clustered, rounded.

A kernel keeps its free (latent) weights; the model computes with a form of them. Gradients pass through to the latent
weights as if the form were not there, so that a weight can move to another cluster or another step. `finish` writes
the form into the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edgecompile.training.kernels import Kernel

Form = Callable[[Any], Any]
"""Latent weights (a tensor) → the weights that the model computes with, same shape."""


class Forms:
    """The forms of a model's kernels, applied in the order in which they were added."""

    def __init__(self, tf: Any) -> None:
        self._tf = tf
        self._forms: dict[str, list[Form]] = {}
        self._kernels: dict[str, Kernel] = {}

    def add(self, kernel: Kernel, form: Form) -> None:
        """Apply form to kernel, after the forms that it has."""
        self._kernels[kernel.name] = kernel
        self._forms.setdefault(kernel.name, []).append(form)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the layers compute with the forms of their kernels.

        Kernels are replaced below Keras' own bookkeeping, which would take the variable out of the layer.
        """
        variables = {name: kernel.variable for name, kernel in self._kernels.items()}
        try:
            for name, kernel in self._kernels.items():
                object.__setattr__(kernel.owner, kernel.attribute, self._formed(name, variables[name]))
            yield
        finally:
            for name, kernel in self._kernels.items():
                object.__setattr__(kernel.owner, kernel.attribute, variables[name])

    def _formed(self, name: str, latent: Any) -> Any:
        given = self._tf.convert_to_tensor(latent)
        for form in self._forms[name]:
            given = form(given)
        return given

    def finish(self) -> None:
        """Write the form of every kernel into it."""
        for name, kernel in self._kernels.items():
            kernel.variable.assign(self._formed(name, kernel.variable))


def straight_through(tf: Any, latent: Any, formed: Any) -> Any:
    """Return formed, to the last bit, with the gradient that latent would have."""
    return tf.stop_gradient(formed) + (latent - tf.stop_gradient(latent))


def masked(mask: Any) -> Form:
    """Return the form that keeps weights where mask (a variable of 0 and 1, same shape) is 1."""
    return lambda latent: latent * mask

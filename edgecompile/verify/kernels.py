"""Which kernel sets may stand for a device: those that run the result and compute all of its ops right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from edgecompile.backends.base import Runnable
from edgecompile.tflite.runner import AnyKernels

_PREFERRED: tuple[Literal["reference", "builtin"], ...] = ("reference", "builtin")
"""What golden vectors come from: the plain kernels, which every interpreter has, if they will do."""


@dataclass(frozen=True)
class KernelSets:
    """What the passes found out about the kernel sets that run the result.

    Attributes:
        works: those that run it; empty when nobody asked.
        wrong: those of them that compute an op wrong.
    """

    works: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    def sound(self, kernels: AnyKernels) -> bool:
        """Return whether kernels run the result and compute it right, as far as is known."""
        return kernels not in self.wrong and (not self.works or kernels in self.works)

    @property
    def golden(self) -> Literal["reference", "builtin", "tflm"]:
        """The kernels that golden vectors come from."""
        if self.works == ("tflm",):
            return "tflm"
        return next((k for k in _PREFERRED if self.sound(k)), "reference")

    def instead(self, stand_in: Runnable) -> Runnable:
        """Return stand_in, on built-in kernels where it names the reference kernels and these will not do.

        Kernels that the device itself runs stay, whatever they compute: that is what the device does.
        """
        if stand_in.kernels != "reference" or self.golden != "builtin":
            return stand_in
        why = "compute an op of it wrong" if "reference" in self.wrong else "do not run it"
        return stand_in.model_copy(
            update={
                "kernels": "builtin",
                "fidelity": f"{stand_in.fidelity}, which {why}: measured on LiteRT's built-in kernels instead",
            }
        )


def kernel_sets(facts: Iterable[Mapping[str, object]]) -> KernelSets:
    """Return what the last of the passes that asked found out.

    Args:
        facts: those of each pass, in order.
    """
    asked = [one for one in facts if "kernels" in one]
    if not asked:
        return KernelSets()
    works, wrong = (str(asked[-1].get(key, "")) for key in ("kernels", "wrong_kernels"))
    return KernelSets(tuple(filter(None, works.split(", "))), tuple(filter(None, wrong.split(", "))))

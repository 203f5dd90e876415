"""Verify: what a build promised, against what came out of it.

`accuracy` and `parity` measure; `checks` sets the measured against the promised; `verdict` and `headline` say it.
"""

from edgecompile.verify.kernels import KernelSets, kernel_sets
from edgecompile.verify.measure import accuracy, parity, parity_rows
from edgecompile.verify.pairs import real_outputs
from edgecompile.verify.promises import check_gate, checks, unchecked, verdict
from edgecompile.verify.wording import headline, show_check, show_drop, show_score

__all__ = [
    "KernelSets",
    "accuracy",
    "check_gate",
    "checks",
    "headline",
    "kernel_sets",
    "parity",
    "parity_rows",
    "real_outputs",
    "show_check",
    "show_drop",
    "show_score",
    "unchecked",
    "verdict",
]

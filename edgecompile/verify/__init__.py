"""Verify: what a build promised, against what came out of it.

`accuracy` and `parity` measure; `checks` sets the measured against the promised; `verdict` and `headline` say it.
"""

from edgecompile.verify.chance import check_chance
from edgecompile.verify.kernels import KernelSets, kernel_sets
from edgecompile.verify.measure import accuracy, parity, parity_rows
from edgecompile.verify.pairs import real_outputs
from edgecompile.verify.promises import check_gate, check_warnings, checks, unchecked
from edgecompile.verify.wording import VERDICTS, headline, show_check, show_drop, show_score, verdict

__all__ = [
    "VERDICTS",
    "KernelSets",
    "accuracy",
    "check_chance",
    "check_gate",
    "check_warnings",
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

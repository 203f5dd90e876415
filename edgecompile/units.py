"""Numbers as people read them. Everything inside the package is bytes, seconds and fractions."""

from __future__ import annotations

from collections.abc import Sequence

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def show_bytes(n: int) -> str:
    """Return n bytes with thousands separated, and the rounded KiB or MiB where that helps: `98,496 B (96.2 KiB)`."""
    if n < KIB:
        return f"{n} B"
    rounded = f"{n / KIB:.1f} KiB" if n < MIB else f"{n / MIB:.2f} MiB"
    return f"{n:,} B ({rounded})"


def show_percent(fraction: float, *, digits: int = 2) -> str:
    """Return a fraction in [0, 1] as a percentage: 0.8719 → `87.19%`."""
    return f"{100 * fraction:.{digits}f}%"


def show_points(fraction: float, *, digits: int = 2) -> str:
    """Return a difference of fractions in percentage points, signed: -0.0015 → `-0.15 points`."""
    return f"{100 * fraction:+.{digits}f} points"


def show_value(value: float, unit: str, *, digits: int = 2) -> str:
    """Return a value in a unit of the report: `points` and `fraction` in percent with digits, `bytes`, `count`, others.

    Numbers without a unit of their own (`metric`, `output`) get digits + 2 significant places.
    """
    if unit in ("points", "fraction"):
        # + 0.0: what rounds to nothing has no sign.
        shown = f"{round(100 * value, digits) + 0.0:.{digits}f}"
        return f"{shown} points" if unit == "points" else f"{shown}%"
    if unit == "bytes":
        return show_bytes(round(value))
    if unit in ("count", "codes"):
        return f"{value:,.0f}" if value == round(value) else f"{value:,.{digits}f}"
    return f"{value:.{digits + 2}g}"


def show_apart(a: float, b: float, unit: str) -> tuple[str, str]:
    """Return two values in a unit, with digits enough to tell them apart: 1.004 and 1 are not both `1.00`."""
    for digits in range(2, 15):
        shown = show_value(a, unit, digits=digits), show_value(b, unit, digits=digits)
        if a == b or shown[0] != shown[1]:
            return shown
    return repr(a), repr(b)


def show_seconds(seconds: float) -> str:
    """Return a duration for people: `0.8 s`, `12 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def show_shape(shape: Sequence[int]) -> str:
    """Return a tensor shape as people write it: (1, 32, 32, 3) → `1×32×32×3`; a scalar → `scalar`."""
    return "×".join(str(d) for d in shape) if shape else "scalar"

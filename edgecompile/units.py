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

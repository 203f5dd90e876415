"""Vela's summary of a compilation: one row of CSV, whose memory columns are KiB without saying so.

Source of the units: ethos-u-vela 5.2.0, `stats_writer.write_summary_metrics_csv_common`: memory and arena size are
divided by 1024, weights and traffic are bytes, times are seconds, the clock is in Hz.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from edgecompile.errors import ToolError

AREAS = {"sram": "SRAM", "dram": "DRAM", "on_chip_flash": "On-chip Flash", "off_chip_flash": "Off-chip Flash"}
"""Column prefix → what Vela calls the memory."""

PARTS = {
    "npu": "NPU",
    "sram_access": "SRAM access",
    "dram_access": "DRAM access",
    "on_chip_flash_access": "On-chip Flash access",
    "off_chip_flash_access": "Off-chip Flash access",
}
"""Column suffix → what takes the cycles."""


@dataclass(frozen=True)
class Summary:
    """What Vela says of a compiled model. All of it is modelled but the sizes of memory and weights.

    Attributes:
        memory: memory → bytes in use, as Vela counts: NPU tensors and constants, in the areas it knows.
        traffic: memory → bytes moved in one inference.
        cycles: what takes them → cycles of one inference; these overlap.
        total_cycles: cycles of one inference, NPU ops only.
        clock_hz: of the NPU.
        macs: multiply-accumulate operations of the ops that Vela made, on the NPU.
        weights: bytes of the weights in the source model.
        encoded_weights: bytes that Vela's compression leaves of them.
        constants_in: the memory that holds weights and the command stream.
        arena_in: the memory that holds activations.
        cache_bytes: SRAM that Vela planned for.
    """

    memory: Mapping[str, int]
    traffic: Mapping[str, int]
    cycles: Mapping[str, int]
    total_cycles: int
    clock_hz: float
    macs: int
    weights: int
    encoded_weights: int
    constants_in: str
    arena_in: str
    cache_bytes: int

    @property
    def seconds(self) -> float:
        """Return the modelled time of the NPU ops of one inference."""
        return self.total_cycles / self.clock_hz


def parse_summary(text: str, *, where: str) -> Summary:
    """Return what a summary CSV says, every size in bytes.

    Raises:
        ToolError: a column is missing or is no number: another Vela wrote another table.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    row = rows[0] if rows else {}
    try:
        return Summary(
            memory={title: _kib(row, f"{area}_memory_used") for area, title in AREAS.items()},
            traffic={title: _whole(row, f"{area}_total_bytes") for area, title in AREAS.items()},
            cycles={title: _whole(row, f"cycles_{part}") for part, title in PARTS.items()},
            total_cycles=_whole(row, "cycles_total"),
            clock_hz=float(row["core_clock"]),
            macs=_whole(row, "nn_macs"),
            weights=_whole(row, "total_original_weights"),
            encoded_weights=_whole(row, "total_npu_encoded_weights"),
            constants_in=row["weights_storage_area"],
            arena_in=row["feature_map_storage_area"],
            cache_bytes=_kib(row, "arena_cache_size"),
        )
    except KeyError as error:
        raise _unknown(f"has no column `{error.args[0]}`", where) from None
    except ValueError as error:
        raise _unknown(str(error), where) from None


def _whole(row: Mapping[str, str], column: str) -> int:
    number = float(row[column])
    if not number.is_integer():
        raise ValueError(f"has {row[column]} in column `{column}`, where a whole number is expected")
    return int(number)


def _kib(row: Mapping[str, str], column: str) -> int:
    """Return a size in bytes; n / 1024 is exact in binary, so that whole bytes come back."""
    number = float(row[column]) * 1024
    if not number.is_integer():
        raise ValueError(f"has {row[column]} KiB in column `{column}`, which is not a whole number of bytes")
    return int(number)


def _unknown(what: str, where: str) -> ToolError:
    return ToolError(
        f"Vela's summary {what}", where=where, hint='install the tested version: pip install "ethos-u-vela==5.2.0"'
    )

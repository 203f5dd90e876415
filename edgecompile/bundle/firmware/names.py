"""Names in the C sources of a model: all of them follow one prefix, so that two models fit into one firmware."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """Names that start with a prefix.

    Attributes:
        low: of functions, files, variables and CMake targets.
    """

    low: str = "model"

    @property
    def up(self) -> str:
        """Return the prefix of macros and include guards."""
        return self.low.upper()

    @property
    def camel(self) -> str:
        """Return the prefix of C++ types."""
        return "".join(part.capitalize() for part in self.low.split("_"))

    @property
    def library(self) -> str:
        """Return the name of the component, module or library, and of its folder."""
        return f"edgecompile_{self.low}"

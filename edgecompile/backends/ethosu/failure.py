"""A run of Vela that failed, as an error that says what is known, with its output kept."""

from __future__ import annotations

from edgecompile.backends.ethosu.said import crash
from edgecompile.backends.ethosu.vela import PACKAGE, VELA, VelaError
from edgecompile.cache import default_root
from edgecompile.errors import ConfigError, EdgeCompileError, ToolError

_OPTIONS = ("ConfigOptionError", "CliOptionError")
_BAD_MODEL = "Does not have valid TFLite Semantics"
_MOST_CHARS = 400


def explained(error: VelaError, *, name: str, target: str) -> EdgeCompileError:
    """Return the error to raise for a run that failed; what Vela printed lies in the `logs` folder of the cache.

    Args:
        error: how it failed.
        name: stem for the file that is kept.
        target: name of the target.
    """
    first = error.problems[0]
    where = first.where
    if error.text:
        kept = default_root() / "logs" / f"{name}-{VELA}.txt"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(error.text, "utf-8")
        where = str(kept)
    if error.hung:
        return ToolError(first.what, where=where, hint="raise `timeout_s` in the target's [options]")
    kind, said = crash(error.text)
    said = said[:_MOST_CHARS]
    if kind in _OPTIONS:
        return ConfigError(f"`{VELA}` refuses the options: {said}", where=f"target {target}, [options]")
    if _BAD_MODEL in said:
        hint = 'quantize the whole model (quantize.scheme = "int8"), or convert it again'
        return ToolError(f"`{VELA}` refuses the model: {said}", where=where, hint=hint)
    if kind:
        hint = f"a fault of Vela: try `pip install --upgrade {PACKAGE}`, or report it there with the model"
        return ToolError(f"`{VELA}` crashed: {kind}: {said}", where=where, hint=hint)
    return ToolError(first.what, where=where, hint=first.hint or "read what it printed")

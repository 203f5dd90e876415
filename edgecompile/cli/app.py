"""The command line as typer sees it: verbs in the order that help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecompile import __version__
from edgecompile.cli import build, cache, doctor, inspect, options, passes, samples, targets, verify

app = typer.Typer(
    help="Compiles trained TensorFlow and Keras models for edge devices, and proves what it says about them.",
    epilog=options.epilog(
        """
edgecompile samples digits-cnn
edgecompile build model.keras --target coral --data val.npz
edgecompile verify out/model-coral
""",
        codes=True,
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help costs half the time and can be searched and copied from
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgecompile {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=lambda v: _print_version(wanted=v)
        ),
    ] = False,
) -> None:
    del version  # its callback did the work
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _function, _short, _examples, _codes in (
    (build.build, "Build a model for one or more targets.", build.EXAMPLES, True),
    (verify.verify, "Check a bundle and measure it again.", verify.EXAMPLES, True),
    (inspect.inspect, "Show what the Edge TPU does with a model.", inspect.EXAMPLES, False),
    (targets.targets, "List targets, or show one with its sources.", targets.EXAMPLES, False),
    (passes.passes, "List passes and built-in recipes, or show one.", passes.EXAMPLES, False),
    (doctor.doctor, "Show what is installed and what is missing.", doctor.EXAMPLES, False),
    (samples.samples, "List sample models, or copy one.", samples.EXAMPLES, False),
    (cache.cache, "Show, prune or clear the store of step results.", cache.EXAMPLES, False),
):
    app.command(short_help=_short, epilog=options.epilog(_examples, codes=_codes))(_function)

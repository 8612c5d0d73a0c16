"""The commands of ``alloygen``, in the order of ``alloygen --help``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

import alloygen
from alloygen.cli import diagrams, models, problems, reference
from alloygen.errors import AlloygenError


class _Commands(TyperGroup):
    """Commands whose AlloygenErrors become one red line on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AlloygenError as error:
            message = " ".join(str(error).split())
            Console(stderr=True).print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Certified free energies of alloys on a lattice, from a cluster expansion.",
)

app.command("fit")(models.fit_command)
app.command("compile")(problems.compile_command)
app.command("ising")(problems.ising_command)
app.command("free-energy")(models.free_energy_command)
app.command("certify")(diagrams.certify_command)
app.command("phase-diagram")(diagrams.phase_diagram_command)
app.command("outpaint")(models.outpaint_command)
app.command("sample")(models.sample_command)
app.command("enumerate")(problems.enumerate_command)
app.command("reference")(reference.reference_command)
app.command("ground-states")(reference.ground_states_command)
app.command("info")(problems.info_command)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"alloygen {alloygen.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass

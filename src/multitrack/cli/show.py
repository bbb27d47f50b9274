"""`multitrack show`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .output import AsJson, print_json

if TYPE_CHECKING:
    from ..view import RunView


def show(
    run: Annotated[str, typer.Argument(help="A run id in the local store, or ADDRESS#ID.")],
    as_recorded: Annotated[
        bool, typer.Option("--as-recorded", help="As it was recorded, not as people changed it at the service.")
    ] = False,
    console: Annotated[bool, typer.Option("--console", help="All that was printed, not the last lines of it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show everything that is known of a run."""
    from .. import read
    from ..address import Address
    from ..sheet import show_run

    address = Address.parse(run)
    if address.run_id is None:
        raise ConfigError(f"{run!r} names no run: write its id, 32 letters and digits, or ADDRESS#ID; `multitrack runs` lists them")
    with read.open(address, as_recorded=as_recorded) as store:
        view = store.run(address.run_id)
        if as_json:
            print_json(_describe(view, whole_console=console))
        else:
            print("\n".join(show_run(view, whole_console=console)))


def _describe(view: RunView, *, whole_console: bool) -> dict[str, Any]:
    from ..records import to_wire
    from ..sheet import describe_records
    from ..summary import describe

    more = {"native_id": view.native_id, "status": view.status, "url": view.url, "deleted": view.ref.deleted}
    return {**to_wire(describe(view.state)), **to_wire(describe_records(view.state, whole_console=whole_console)), **more}

"""`multitrack data`"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .output import AsJson, print_json, print_table

if TYPE_CHECKING:
    from ..data import DataDifference
    from ..records import DataFile, DataVersion
    from ..view import RunView

Run = Annotated[str, typer.Argument(help="A run id in the local store, or ADDRESS#ID.")]

data = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Name what differs between the data of runs.")


@data.command()
def diff(before: Run, after: Run, as_json: AsJson = False) -> None:
    """Name the files and columns that differ between the data of two runs. The exit code is 1 if any do."""
    from .. import read
    from ..address import Address
    from ..data import diff_data

    with ExitStack() as stack:
        views = []
        for text in (before, after):
            address = Address.parse(text)
            if address.run_id is None:
                raise ConfigError(
                    f"{text!r} names no run: write its id, 32 letters and digits, or ADDRESS#ID; `multitrack runs` lists them"
                )
            views.append(stack.enter_context(read.open(address)).run(address.run_id))
        one, other = views
        owners = {id(version): view for view in views for version in view.data}
        found = diff_data(one.data, other.data, files=lambda version: _files(owners[id(version)], version))
        count = len(one.data), len(other.data)
    if as_json:
        print_json([{name: getattr(item, name) for name in item.__slots__} for item in found])
    else:
        _print(found, count)
    raise typer.Exit(1 if found else 0)


def _files(view: RunView, version: DataVersion) -> Sequence[DataFile]:
    from ..data import read_files

    return version.files if version.file_list is None else read_files(view.content(version.file_list.name))


def _print(found: Sequence[DataDifference], count: tuple[int, int]) -> None:
    if found:
        rows = [(item.data, item.change, item.what, item.name, item.before or "", item.after or "") for item in found]
        print_table(("data", "change", "what", "name", "before", "after"), rows)
    elif not any(count):
        print("neither run has recorded data (run.log_data)")
    else:
        print("the data is the same")

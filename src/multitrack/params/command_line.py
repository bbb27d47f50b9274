"""Which settings argparse was given, and which it took from its defaults."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..values import describe
from .given import COMMAND_LINE, DEFAULT


def sources_of(parser: Any, values: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, str]:
    """Return the source of each value that a parser has read from these arguments; what the program has changed since has none.

    Nothing is parsed again: a parser's types and actions may open files or end the program.

    Raises:
        TypeError: it is no ArgumentParser.
    """
    if not isinstance(parser, argparse.ArgumentParser):
        raise TypeError(f"parser is an argparse.ArgumentParser, not {describe(parser)}")
    options = list(_options(arguments, parser.prefix_chars))
    files = [text[1:] for text in arguments if parser.fromfile_prefix_chars and text[:1] in parser.fromfile_prefix_chars]
    found: dict[str, str] = {}
    for action, owner in _actions(parser, values, arguments):
        name = action.dest
        if name not in values or name == argparse.SUPPRESS:
            continue
        default = owner.get_default(name)
        is_default = values[name] == default or str(values[name]) == str(default)
        if any(_is_given(option, action, owner) for option in options):
            found[name] = COMMAND_LINE
        elif name in found:
            continue
        elif is_default:
            found[name] = DEFAULT
        elif files:
            found[name] = f"file {files[-1]}"
        elif not action.option_strings:
            found[name] = COMMAND_LINE
    return found


def _actions(
    parser: argparse.ArgumentParser, values: Mapping[str, Any], arguments: Sequence[str]
) -> Iterator[tuple[argparse.Action, argparse.ArgumentParser]]:
    """Yield a parser's actions, and those of the subcommand that was chosen."""
    for action in parser._actions:
        yield action, parser
        if isinstance(action, argparse._SubParsersAction):
            chosen = values.get(action.dest)
            for name, inner in action.choices.items():
                if name == chosen or (chosen is None and name in arguments):
                    yield from _actions(inner, values, arguments)


def _options(arguments: Sequence[str], prefixes: str) -> Iterator[str]:
    for text in arguments:
        if text == "--":
            return
        if len(text) > 1 and text[0] in prefixes:
            yield text.partition("=")[0]


def _is_given(option: str, action: argparse.Action, parser: argparse.ArgumentParser) -> bool:
    """Return whether an argument is this action's option, whole, shortened, or with its value behind it: `-n3`."""
    for string in action.option_strings:
        if option == string:
            return True
        is_long = string[:2] == option[:2] and len(string) > 2
        if not is_long and len(string) == 2 and option.startswith(string) and option not in parser._option_string_actions:
            return True
        if is_long and parser.allow_abbrev and string.startswith(option):
            meant = [other for other in parser._option_string_actions if other.startswith(option)]
            return option not in parser._option_string_actions and meant == [string]
    return False

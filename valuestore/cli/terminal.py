"""Terminal: how text, tables and JSON are shown.

Whatever comes from records goes through ``shown`` or becomes JSON: no control character reaches the
terminal, and nothing is read as rich's markup. rich is imported only when a table is drawn.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestore.config import Settings, keys_folder, load_settings, read_file
from valuestore.errors import ConfigError, NotARepository

if TYPE_CHECKING:
    from _typeshed import SupportsWrite
    from rich.console import Console

    from valuestore.db.engine.database import Database
    from valuestore.repository import Repository

SHORT_ID = 16
"""Digits of an id that are shown: its time and counter. Unique within a process, all but surely elsewhere."""

_UNBOUNDED = 1 << 20
_STYLES = {
    "done": "green",
    "cached": "cyan",
    "failed": "bold red",
    "running": "yellow",
    "interrupted": "yellow",
}

_LEAST_WIDTH = 4
"""Columns that give way keep so much: a word's beginning."""

_READABLE_WIDTH = 24
"""As wide as the widest of them stay, if headers can give way instead."""

_MINUTES = len("2026-01-31 12:00")
_HEX, _LONGEST_ID = frozenset("0123456789abcdef"), 64


def shown(value: object, *, lines: bool = False) -> str:
    """Text with everything escaped that is not printable; ``lines`` keeps line breaks and tabs."""
    text = _bytes_text(value) if isinstance(value, bytes) else "NULL" if value is None else str(value)
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(
        char if char.isprintable() or char in kept else char.encode("unicode_escape").decode()
        for char in text
    )


def short(record_id: str) -> str:
    """The beginning of an id that is enough to find it."""
    return record_id[:SHORT_ID]


def shown_time(when: datetime) -> str:
    """Seconds are enough for people."""
    return f"{when:%Y-%m-%d %H:%M:%S}"


def print_json(data: Any) -> None:
    """Indented JSON on stdout, ASCII only; bytes as hex, other objects as text."""
    sys.stdout.write(json.dumps(data, indent=2, default=_json_text) + "\n")


def print_json_list(records: Iterable[Any]) -> None:
    """As ``print_json`` of a list, but each record is written when it is there."""
    separator = "[\n"
    for record in records:
        text = json.dumps([record], indent=2, default=_json_text)
        sys.stdout.write(separator + text[2:-2])
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


class _Escaped:
    def write(self, text: str) -> int:
        return sys.stdout.write(shown(text.replace("\r\n", "\n"), lines=True))


def text_out() -> SupportsWrite[str]:
    """Where CSV is written: on a terminal no control characters but line ends get through."""
    return _Escaped() if sys.stdout.isatty() else sys.stdout


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout. On a terminal columns give way to its width, but not ids; elsewhere nothing does."""
    if not sys.stdout.isatty():
        sys.stdout.writelines(_plain_table(columns, rows))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    console = open_console()
    lines = [[shown(cell) for cell in row] for row in rows]
    widths, gap, lines = _fitted([shown(name) for name in columns], lines, console.width)
    table.padding = (0, gap, 0, 0)
    console = open_console(width=max(console.width, sum(widths) + gap * len(widths)))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(Text(shown(column)), no_wrap=True, overflow="ellipsis", width=width)
    for cells in lines:
        named = zip(columns, cells, strict=True)
        table.add_row(*[Text(cell, style=_style(name, cell)) for name, cell in named])
    console.print(table)


def print_found(
    data: Any, columns: Sequence[str], rows: Iterable[Sequence[object]], *, as_json: bool
) -> None:
    """What was found: as JSON, or its rows as a table."""
    if as_json:
        print_json(data)
    else:
        print_table(columns, rows)


def print_more(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table below what was printed, if it has rows."""
    if rows:
        print()
        print_table(columns, rows)


def _fitted(
    columns: Sequence[str], lines: list[list[str]], room: int
) -> tuple[list[int], int, list[list[str]]]:
    """Widths of columns that fit into so much room, the gap between them, and the cells.

    Ids stay whole, whatever else there is, since they are there to be typed, and so do times; the widest of
    the others gives way first. If little would be left of it, headers and seconds give way before.
    """
    times = [name.endswith("(UTC)") for name in columns]
    kept = [
        is_time or all(_HEX.issuperset(cell) and len(cell) <= _LONGEST_ID for cell in column)
        for is_time, *column in zip(times, *lines, strict=True)
    ]
    widths, is_readable = _narrowed([columns, *lines], kept, room - 2 * len(columns))
    if is_readable or not lines:
        return widths, 2, lines
    lines = [
        [cell[:_MINUTES] if is_time else cell for cell, is_time in zip(line, times, strict=True)]
        for line in lines
    ]
    return _narrowed(lines, kept, room - len(columns))[0], 1, lines


def _narrowed(lines: Sequence[Sequence[str]], kept: list[bool], room: int) -> tuple[list[int], bool]:
    """Widths of columns when the widest that are not kept have given way, and whether these can be read."""
    widths = [max(_LEAST_WIDTH, *map(_cell_len, column)) for column in zip(*lines, strict=True)]
    others = [width for width, is_kept in zip(widths, kept, strict=True) if not is_kept]
    room -= sum(widths) - sum(others)
    widest = most = max(others, default=0)
    while most > _LEAST_WIDTH and sum(min(width, most) for width in others) > room:
        most -= 1
    fitted = [width if is_kept else min(width, most) for width, is_kept in zip(widths, kept, strict=True)]
    return fitted, most >= min(widest, _READABLE_WIDTH)


def _plain_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Its lines where nobody looks; rich takes a minute for a hundred thousand."""
    lines = [[shown(cell) for cell in row] for row in (columns, *rows)]
    sizes = [[_cell_len(cell) for cell in line] for line in lines]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    for line, size in zip(lines, sizes, strict=True):
        cells = zip(line, size, widths, strict=True)
        yield "  ".join(cell + " " * (width - taken) for cell, taken, width in cells).rstrip() + "\n"


def _cell_len(cell: str) -> int:
    if cell.isascii():
        return len(cell)
    from rich.cells import cell_len  # late: most texts are ASCII

    return cell_len(cell)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and values, one pair to a line; None is left out. A value of several lines is indented."""
    given = [(name, shown(value, lines=True)) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in given), default=0)
    for name, text in given:
        first, *rest = text.rstrip("\n").split("\n")
        if rest:
            print(f"{name}:", *(f"    {line}" for line in (first, *rest)), sep="\n")
        else:
            print(f"{name:<{width}}  {first}")


def open_console(*, width: int | None = None) -> Console:
    """A rich console that reads nothing as markup; as wide as it needs to be where nobody looks."""
    from rich.console import Console

    width = width if sys.stdout.isatty() else _UNBOUNDED
    height = width and 25  # a width alone does not count where the terminal is dumb
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False, width=width, height=height)


def _style(column: str, cell: str) -> str:
    return _STYLES.get(cell, "") if column == "status" else "bold" if column == "id" else ""


def _bytes_text(data: bytes) -> str:
    return f"x'{data.hex()}'" if len(data) <= 16 else f"x'{data[:16].hex()}...' ({len(data)} bytes)"


def _json_text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


# --- Which repository a command means.


def located(place: str) -> Path:
    """Where a repository is: by its name (``valuestore repo``), else by its path. Raises: ConfigError.

    Who has no configuration, or cannot read it, has no names.
    """
    file = None
    if _NAME.fullmatch(place):
        with suppress(ConfigError):
            file = user_file()
    return Path(repositories().get(place, place) if file and os.access(file, os.R_OK) else place)


def repositories() -> dict[str, str]:
    """Places of repositories by their names, as this user's configuration has them. Raises: ConfigError."""
    found = read_file(user_file()).get("repositories", {})
    if not isinstance(found, dict) or not all(isinstance(place, str) for place in found.values()):
        raise ConfigError("repositories", f"in {user_file()} it is no table of paths by names")
    return found


def user_file() -> Path:
    """This user's configuration, beside the keys. Raises: ConfigError without a home folder."""
    return keys_folder().with_name("config.toml")


_NAME = re.compile(r"[A-Za-z0-9_-]+")

RepositoryOption = Annotated[
    Path | None,
    typer.Option(
        "--repository",
        "-r",
        metavar="PATH",
        parser=located,
        help="Its folder, or a name of `valuestore repo`. Default: .valuestore here or in a parent.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="CSV instead of a table.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many.")]
SinceOption = Annotated[str | None, typer.Option(metavar="TIME", help="2h, 3d, or 2026-01-31T12:00 (UTC).")]
PageOption = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where a page ended.")]

RecordArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Beginning of an id, - for the newest execution, a task's name.")
]
PairsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE ...", help="Values are JSON, or text.")
]


def command_group(help_: str) -> typer.Typer:
    """Commands below one name, which by itself shows its help."""
    group = typer.Typer(help=help_, invoke_without_command=True)

    @group.callback()
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            print(context.get_help())

    return group


def open_existing(location: Path | None) -> Repository:
    """The repository there, for looking at it: none is made. Raises: NotARepository."""
    from valuestore.repository import Repository

    _require(location)
    return Repository.open(location)


def open_database(location: Path | None) -> Database:
    """Its metadata database, whatever schema it has. Raises: NotARepository."""
    from valuestore import repository

    return repository.open_database(*_require(location))


def _require(location: Path | None) -> tuple[Path, Settings]:
    from valuestore.repository import find_folder

    folder = find_folder(location)
    settings = load_settings(folder, {})
    if not settings.database and not (folder / "valuestore.db").exists():
        named = "" if location is None else ", `valuestore repo list` shows those that have a name"
        raise NotARepository(str(folder), f"there is none yet (`valuestore init` makes one{named})")
    return folder, settings

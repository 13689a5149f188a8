"""Terminal: how text, tables and JSON are shown.

Whatever comes from records goes through ``shown`` or becomes JSON: no control character reaches the
terminal, and nothing is read as rich's markup. rich is imported only when a table is drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.config import Settings, load_settings
from valuestore.errors import NotARepository

if TYPE_CHECKING:
    from valuestore.db.engine.database import Database
    from valuestore.repository import Repository

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

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

_KEPT_WIDTH = 24
"""Columns this wide are shown whole on a terminal: ids, times, most names."""


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


class TerminalText:
    """Where CSV is written for a terminal: no control characters but line ends get through."""

    def write(self, text: str) -> int:
        """Write it escaped."""
        return sys.stdout.write(shown(text.replace("\r\n", "\n"), lines=True))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout. On a terminal, columns are cut to its width; elsewhere nothing is cut."""
    if not sys.stdout.isatty():
        sys.stdout.writelines(_plain_table(columns, rows))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    console = open_console()
    lines = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip([shown(name) for name in columns], *lines, strict=True)]
    kept = [width for width in widths if width <= _KEPT_WIDTH]
    # A long preview must not take the room of the ids that one types.
    room = (console.width - sum(kept) - 2 * len(widths)) // max(len(widths) - len(kept), 1)
    for column, width in zip(columns, widths, strict=True):
        most = None if width <= _KEPT_WIDTH else max(room, _KEPT_WIDTH // 3)
        table.add_column(Text(shown(column)), no_wrap=True, overflow="ellipsis", max_width=most)
    for cells in lines:
        table.add_row(
            *[Text(cell, style=_style(name, cell)) for name, cell in zip(columns, cells, strict=True)]
        )
    console.print(table)


def _plain_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Its lines where nobody looks; rich takes a minute for a hundred thousand."""
    from rich.cells import cell_len

    lines = [[shown(cell) for cell in row] for row in (columns, *rows)]
    sizes = [[len(cell) if cell.isascii() else cell_len(cell) for cell in line] for line in lines]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    for line, size in zip(lines, sizes, strict=True):
        cells = zip(line, size, widths, strict=True)
        yield "  ".join(cell + " " * (width - taken) for cell, taken, width in cells).rstrip() + "\n"


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


def open_console(*, stderr: bool = False) -> Console:
    """A rich console that reads nothing as markup; as wide as it needs to be where nobody looks."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    width = None if file.isatty() else _UNBOUNDED
    return Console(file=file, markup=False, highlight=False, emoji=False, width=width)


def _style(column: str, cell: str) -> str:
    return _STYLES.get(cell, "") if column == "status" else "bold" if column == "id" else ""


def _bytes_text(data: bytes) -> str:
    return f"x'{data.hex()}'" if len(data) <= 16 else f"x'{data[:16].hex()}...' ({len(data)} bytes)"


def _json_text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


# --- Which repository a command means.

RepositoryOption = Annotated[
    Path | None,
    typer.Option(
        "--repository", "-r", metavar="PATH", help="Its folder. Default: .valuestore here or in a parent."
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


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
        raise NotARepository(str(folder), "there is none yet (`valuestore init` makes one)")
    return folder, settings

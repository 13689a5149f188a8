"""``valuestore get`` and ``put``: a value's bytes, out of a repository and into one. Nothing is executed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from valuestore.cli.failure import Usage
from valuestore.cli.terminal import RepositoryOption, open_existing, short, shown
from valuestore.errors import ValuestoreError
from valuestore.values.codecs.plain import PLAIN
from valuestore.values.entry import SCHEME

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there, not to stdout.")
]

_TEXT = "text"
"""The codec of str."""


def get(
    value: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Beginning of the id of a value, job, call or execution; -: the newest execution.",
        ),
    ],
    output: OutputOption = None,
    repository: RepositoryOption = None,
) -> None:
    """Write a value's bytes, or those of a result, to stdout.

    Text and bytes are written as they are; numbers, lists, dicts as JSON, if that has them; arrays as .npy,
    frames as Arrow IPC, images as PNG; any other value in the codec that `valuestore show` names. The bytes
    are verified, and nothing is executed.

    \b
    Examples:
      valuestore get 3fa9 > report.txt
      valuestore get 3fa9 -o weather.arrow
      valuestore get -              what the newest execution gave
    """
    with open_existing(repository) as opened:
        name = value.removeprefix(SCHEME)
        if name != value and opened.catalog.stat(name).value_hash is None:  # bare bytes
            write_out(opened.catalog.get(name), output, value)
            return
        ref = opened.find_value(opened.history.result(value))
        as_json = _json(opened.get(ref.value_hash)) if ref.codec == PLAIN else None
        if output is None and as_json is None and ref.codec != _TEXT and sys.stdout.isatty():
            what = f"{short(ref.value_hash)} is a {ref.type_name}, {ref.size} bytes of {ref.codec}"
            raise Usage(f"{what}, which no terminal shows; -o FILE keeps it, `valuestore show` describes it")
        data = opened.archive.read(ref) if as_json is None else as_json.encode()
    write_out(data, output, value)


def write_out(data: bytes, output: Path | None, name: str) -> None:
    """To a file, else to stdout: a terminal gets text alone, control characters escaped. Raises: Usage."""
    if output is not None:
        with failing_as(f"cannot write {output}"):
            output.write_bytes(data)
    elif sys.stdout.isatty():
        try:
            print(shown(data.decode("utf-8").removesuffix("\n"), lines=True))
        except UnicodeDecodeError as error:
            what = f"{name} has {len(data):,} bytes that are no text, which no terminal shows"
            raise Usage(f"{what}; -o FILE keeps them") from error
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)


def _json(value: Any) -> str | None:
    """A line of JSON, if the very same value can be read from it."""
    try:
        text = json.dumps(value, allow_nan=False)
        return f"{text}\n" if repr(json.loads(text)) == repr(value) else None
    except (TypeError, ValueError, RecursionError):
        return None


@contextmanager
def failing_as(problem: str) -> Iterator[None]:
    """What keeps the block from its file is said in one sentence. Raises: Usage."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ValuestoreError):
            raise
        raise Usage(f"{problem}: {error.strerror or error}") from error


def put(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Its path; -: stdin.")],
    repository: RepositoryOption = None,
    *,
    as_text: Annotated[bool, typer.Option("--text", help="Keep it as a str: it must be UTF-8.")] = False,
) -> None:
    """Keep the bytes of a file as a value, and print its hash. A repository is made if there is none.

    \b
    Examples:
      valuestore put notes.md --text
      curl -s https://example.org | valuestore put -
    """
    from valuestore.repository import Repository

    with failing_as(f"cannot read {file}"):
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        content = data.decode("utf-8") if as_text else data
    except UnicodeDecodeError as error:
        raise Usage(f"{file} is not UTF-8 (byte {error.start}); leave out --text") from error
    with Repository.open(repository) as opened:
        print(opened.put(content).value_hash)

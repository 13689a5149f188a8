"""``valuestore catalog``: names for content, with attributes. Nothing stored is executed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestore.cli.failure import NOT_FOUND, Usage, say
from valuestore.cli.keep.value import OutputOption, failing_as, write_out
from valuestore.cli.terminal import (
    JsonOption,
    PairsArgument,
    RepositoryOption,
    command_group,
    open_existing,
    print_facts,
    print_found,
    print_json,
    print_json_list,
    print_table,
    shown_time,
)
from valuestore.errors import NotFound, TagError

if TYPE_CHECKING:
    from valuestore.catalog import Catalog

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name, such as models/best.")]

catalog = command_group(
    """Names for content, with attributes: put, found, changed, in versions.

    \b
    Examples:
      valuestore catalog put models/best model.bin loss=0.1 stage=trial
      valuestore catalog put models/best --value - stage=final     what the newest execution gave
      valuestore catalog find stage=final
      valuestore catalog get models/best -o model.bin
    """
)


@catalog.command()
def put(
    name: Name,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="What it is to hold; -: stdin. Not with --value.")
    ] = None,
    pairs: PairsArgument = None,
    value: Annotated[
        str | None, typer.Option("--value", metavar="ID", help="The value of this id, or that it gave.")
    ] = None,
    repository: RepositoryOption = None,
) -> None:
    """Have a name stand for the bytes of a file, or for a value, and print its version.

    Without pairs it keeps its attributes. A repository is made if there is none.
    """
    from valuestore.repository import Repository

    if value is not None:
        pairs = [text for text in (file, *(pairs or ())) if text is not None]
    elif file is None:
        raise Usage("name a file, or - for stdin, or a value by --value ID")
    attrs = _parsed(pairs) or None
    with Repository.open(repository) as opened:
        if value is not None:
            print(opened.catalog.bind(name, opened.history.result(value), attrs=attrs).version)
            return
        with failing_as(f"cannot read {file}"):
            source: Any = nullcontext(sys.stdin.buffer) if file == "-" else open(str(file), "rb")  # noqa: SIM115
        with source as stream:
            print(opened.catalog.put(name, stream, attrs=attrs).version)


@catalog.command()
def get(
    name: Name,
    output: OutputOption = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, metavar="N", help="As it was at this version.")
    ] = None,
    repository: RepositoryOption = None,
) -> None:
    """Write the bytes to stdout, or to a file, which has the old content or all of the new.

    Of a name that a value was bound to they are its payload; `valuestore get catalog:NAME` writes the value.
    """
    with _catalog(repository) as names:
        if output is None:
            write_out(names.get(name, version=version), None, name)
            return
        with failing_as(f"cannot write {output}"):
            names.to_file(name, output, version=version)


@catalog.command()
def ls(
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Names that begin so.")] = "",
    glob: Annotated[str | None, typer.Option("--glob", metavar="PATTERN", help="* crosses /.")] = None,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """The names there are, one a line."""
    with _catalog(repository) as names:
        found = names.names(prefix, glob=glob)
        if as_json:
            print_json_list(found)
            return
        for name in found:
            print(name if name.isprintable() else repr(name))


@catalog.command()
def find(
    pairs: PairsArgument = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Names that begin so.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="How many.")] = None,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """The names that have all of these attributes; exit code 1 if there is none.

    1 and 1.0 are equal; KEY= is an explicit null.
    """
    with _catalog(repository) as names:
        found = list(names.find(where=_parsed(pairs), prefix=prefix, limit=limit))
    if as_json:
        print_json([{"name": name, "attrs": attrs} for name, attrs in found])
    elif found:
        print_table(("name", "attributes"), [(name, json.dumps(attrs)) for name, attrs in found])
    if not found:
        say("no names match; `valuestore catalog ls` shows all")
        raise typer.Exit(NOT_FOUND)


@catalog.command()
def attrs(
    name: Name,
    pairs: PairsArgument = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="KEY", help="Remove it; may be given again.")
    ] = None,
    repository: RepositoryOption = None,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Remove all others.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The attributes of a name, after those given are set and removed. No bytes move."""
    with _catalog(repository) as names:
        if replace:
            names.set_attrs(name, _parsed(pairs))
        elif pairs or remove:
            names.update_attrs(name, _parsed(pairs), remove=remove or ())
        found = names.attrs(name)
    if as_json:
        print_json(found)
    else:
        print_facts([(key, json.dumps(value)) for key, value in found.items()])


@catalog.command()
def versions(name: Name, repository: RepositoryOption = None, *, as_json: JsonOption = False) -> None:
    """The versions of a name, oldest first: what it stood for, since when, by whom."""
    with _catalog(repository) as names:
        found = names.versions(name)
    rows = [
        (one.version, shown_time(one.modified), one.author, one.size, one.digest, json.dumps(one.attrs))
        for one in found
    ]
    data = [{key: getattr(each, key) for key in each.__slots__} for each in found]
    columns = "version", "made (UTC)", "by", "bytes", "digest", "attributes"
    print_found(data, columns, rows, as_json=as_json)


@catalog.command()
def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME ...", help="Names.")],
    repository: RepositoryOption = None,
) -> None:
    """Delete names, all or none. Versions stay until `valuestore gc`."""
    with _catalog(repository) as opened, opened.batch():
        for name in names:
            opened.delete(name)


@contextmanager
def _catalog(location: Path | None) -> Iterator[Catalog]:
    """That of a repository there is."""
    with open_existing(location) as opened:
        try:
            yield opened.catalog
        except NotFound as error:
            note = "`valuestore catalog ls` shows the names, `valuestore catalog versions NAME` one's"
            error.add_note(note)
            raise


def _parsed(pairs: list[str] | None) -> dict[str, Any]:
    from valuestore.db.record.tag import parse_tag

    try:
        parsed = list(map(parse_tag, pairs or ()))
    except TagError as error:
        raise Usage(f"attribute {error.args[0]!r}: {error.args[1]}") from error
    attrs = dict(parsed)
    if len(attrs) < len(parsed):
        raise Usage("an attribute is given twice; it has one value, which may be a list: KEY=[1, 2]")
    return attrs

"""``valuestore keys``: the keys that pickled values are signed with. Ids are shown, secrets never."""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from valuestore.cli.failure import Usage
from valuestore.cli.terminal import (
    JsonOption,
    RepositoryOption,
    command_group,
    open_existing,
    print_found,
    print_json,
)
from valuestore.errors import NotARepository
from valuestore.values.trust.keys import Key, KeyRing

_ACCEPTED = ("signs", "verifies")

keys = command_group("The keys that pickled values are signed with: one signs, all of them verify.")


@keys.command(name="list")
def list_keys(repository: RepositoryOption = None, *, as_json: JsonOption = False) -> None:
    """The keys there are, by id, and for how many values of the repository here each vouches.

    Keys of others that vouch for values here are among them; what they alone signed is computed anew. No key
    is made: the first comes when a value is pickled.
    """
    ring = KeyRing.open()
    signing_id = _signing_id(ring)
    counts = _signers(repository)
    uses = {key.key_id: "signs" if key.key_id == signing_id else "verifies" for key in ring.find_all()}
    uses |= dict.fromkeys(counts.keys() - uses.keys(), "not accepted: `valuestore keys add FILE`")
    rows = [(key_id, use, counts[key_id]) for key_id, use in sorted(uses.items())]
    found = [
        {"key_id": key_id, "signs": use == "signs", "accepted": use in _ACCEPTED, "values": count}
        for key_id, use, count in rows
    ]
    print_found(found, ("key", "use", "vouches for"), rows, as_json=as_json)


@keys.command()
def add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A key file, such as a colleague's or a team's.")
    ],
    *,
    sign: Annotated[bool, typer.Option("--sign", help="Sign with its first key from now on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Accept values signed with the keys in FILE: whoever has one can run code in your pipelines.

    The keys are copied, so FILE can be deleted. It has one key a line, each 64 hex digits, and only you may
    be able to read it (`chmod 600`).
    """
    ring = KeyRing.open()
    added = ring.add(file, sign=sign)
    signing_id = _signing_id(ring)
    _print([(key, key.key_id == signing_id) for key in added], as_json=as_json)


@keys.command()
def rotate(*, as_json: JsonOption = False) -> None:
    """Make a new key and sign with it from now on. What the others signed is accepted as before."""
    _print([(KeyRing.open().rotate(), True)], as_json=as_json)


@keys.command()
def adopt(
    repository: RepositoryOption = None,
    *,
    modules: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", help="Of yours: its data classes need no signature."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign them; without it they are only shown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Sign the values of a repository that are not loaded for want of a signature.

    Those stored before such values were signed, say. Whoever could write to the repository until now may
    have put anything among them, which your pipelines then execute: look at the types first, and adopt
    only what nobody else could write to. Others compute such values anew.

    Whether a class is a data class, whose values load for everybody, is known once it is imported.
    """
    from valuestore.cli.keep.adopt import find_unsigned, sign_value

    for name in modules or ():
        sys.path.insert(0, str(Path.cwd()))
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise Usage(str(error)) from error
    counts: Counter[str] = Counter()
    with open_existing(repository) as opened:
        for found in list(find_unsigned(opened)):
            counts[", ".join(sorted(found.class_names))] += 1
            if yes:
                sign_value(opened, found)
    rows = [(names, count, "signed" if yes else "not signed") for names, count in counts.most_common()]
    signed = [{"types": names, "values": count, "signed": yes} for names, count, _ in rows]
    print_found(signed, ("types", "values", "state"), rows, as_json=as_json)


@keys.command(name="show-path")
def show_path(*, as_json: JsonOption = False) -> None:
    """Where the keys are: what to back up, and what to hand to a colleague by a safe way."""
    ring = KeyRing.open()
    place = str(ring.file or ring.folder)
    if as_json:
        print_json({"path": place, "is_file": ring.file is not None})
    else:
        print(place)


def _signers(location: Path | None) -> Counter[str]:
    """The number of values that each key vouches for; none where no repository was named or found."""
    from valuestore.db.history.things import find_signers

    try:
        with open_existing(location) as opened:
            return Counter(find_signers(opened.database))
    except NotARepository:
        if location is not None:
            raise
        return Counter()


def _signing_id(ring: KeyRing) -> str | None:
    signing = ring.find_signing()
    return None if signing is None else signing.key_id


def _print(found: list[tuple[Key, bool]], *, as_json: bool) -> None:
    rows = [(key.key_id, "signs" if signs else "verifies") for key, signs in found]
    told = [{"key_id": key.key_id, "signs": signs} for key, signs in found]
    print_found(told, ("key", "use"), rows, as_json=as_json)

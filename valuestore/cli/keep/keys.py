"""``valuestore keys``: the keys that pickled values are signed with. Ids are shown, secrets never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.cli.terminal import JsonOption, RepositoryOption, open_existing, print_json, print_table
from valuestore.db.history.things import find_by_codec
from valuestore.errors import PayloadError, StoreError
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import SIGNED, TAGGED, decode_lowered
from valuestore.values.codecs.signed import seal
from valuestore.values.payload import Encoded
from valuestore.values.trust.keys import Key, KeyRing
from valuestore.values.trust.leaves import find_class_names

if TYPE_CHECKING:
    from valuestore.repository import Repository


keys = typer.Typer(invoke_without_command=True)


@keys.callback()
def about(context: typer.Context) -> None:
    """The keys that pickled values are signed with: one signs, all of them verify."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@keys.command(name="list")
def list_keys(*, as_json: JsonOption = False) -> None:
    """The keys there are, by id. None is made: the first comes when a value is pickled."""
    ring = KeyRing.open()
    signing_id = _signing_id(ring)
    _print([(key, key.key_id == signing_id) for key in ring.find_all()], as_json=as_json)


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
    yes: Annotated[bool, typer.Option("--yes", help="Sign them; without it they are only shown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Sign the values of a repository that are not loaded for want of a signature.

    Those stored before such values were signed, say. Whoever could write to the repository until now may
    have put anything among them, which your pipelines then execute: look at the types first, and adopt
    only what nobody else could write to. Others compute such values anew.
    """

    counts: Counter[str] = Counter()
    with open_existing(repository) as opened:
        for found in list(find_unsigned(opened)):
            counts[", ".join(sorted(found.class_names))] += 1
            if yes:
                sign_value(opened, found)
    rows = [(names, str(count), "signed" if yes else "not signed") for names, count in counts.most_common()]
    if as_json:
        print_json(
            [{"types": names, "values": count, "signed": yes} for names, count in counts.most_common()]
        )
    else:
        print_table(("types", "values", "state"), rows)


@keys.command(name="show-path")
def show_path(*, as_json: JsonOption = False) -> None:
    """Where the keys are: what to back up, and what to hand to a colleague by a safe way."""
    ring = KeyRing.open()
    place = str(ring.file or ring.folder)
    if as_json:
        print_json({"path": place, "is_file": ring.file is not None})
    else:
        print(place)


def _signing_id(ring: KeyRing) -> str | None:
    signing = ring.find_signing()
    return None if signing is None else signing.key_id


def _print(found: list[tuple[Key, bool]], *, as_json: bool) -> None:
    if as_json:
        print_json([{"key_id": key.key_id, "signs": signs} for key, signs in found])
    else:
        print_table(("key", "use"), [(key.key_id, "signs" if signs else "verifies") for key, signs in found])


# --- Adopt: sign the values of a repository that load with a signature alone, and have none.
#
# They were stored before such values were signed, or by somebody whose key is not here. ``valuestore keys
# adopt`` shows of which types they are, and signs them if it is told to. Nothing is loaded.


@dataclass(frozen=True)
class Unsigned:
    """A value without a signature, its tagged data, and the names of the classes and rules in it."""

    ref: ValueRef
    data: bytes
    class_names: frozenset[str]


def find_unsigned(repository: Repository) -> Iterator[Unsigned]:
    """Those that may need a signature: a program that has the classes loads some of them without."""
    for page in find_by_codec(repository.database, TAGGED):
        for ref in repository.lookup.values(page).values():
            try:
                data = repository.archive.read(ref)
                names = find_class_names(decode_lowered(TAGGED, data))
            except (PayloadError, StoreError):  # damaged or gone: a rerun sees to it
                continue
            if names:
                yield Unsigned(ref, data, names)


def sign_value(repository: Repository, found: Unsigned) -> None:
    """Store it anew, signed by this user. Raises: KeyUnusable, StoreError, DatabaseError."""
    ref = found.ref
    sign = partial(
        seal,
        type_name=ref.type_name,
        value_hash=ref.value_hash,
        signer=repository.archive.registry.signer,
    )
    encoded = Encoded(
        ref.value_hash, ref.type_name, SIGNED, found.data, None, external=ref.external, seal=sign
    )
    signed = replace(repository.archive.store(encoded), preview=ref.preview)
    repository.recorder.forget(ref.value_hash)
    repository.recorder.record_values((signed,))

"""``valuestore repo``: names for repositories, in this user's configuration; ``--repository`` takes them."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated

import typer

from valuestore.cli.keep.setting import as_toml, replace_text
from valuestore.cli.terminal import JsonOption, command_group, print_found, repositories, user_file
from valuestore.config import read_file
from valuestore.errors import ConfigError
from valuestore.permissions import make_folder

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, - and _.")]

repo = command_group(
    """Names for repositories: `--repository NAME`, `push NAME`, `pull NAME`.

    \b
    Examples:
      valuestore repo add team /srv/team
      valuestore log -r team
    """
)


@repo.command()
def add(
    name: NameArgument, location: Annotated[str, typer.Argument(metavar="PATH", help="Its folder.")]
) -> None:
    """Give a repository a name, which wins over a folder of that name here; ./NAME is the folder."""
    from valuestore.repository import find_folder

    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise ConfigError("repositories", f"{name!r} is no name: letters, digits, - and _ make one")
    folder = find_folder(location).absolute()
    _write({**repositories(), name: str(folder)})
    print(f"{name} is {folder}")


@repo.command("list")
def list_names(*, as_json: JsonOption = False) -> None:
    """The names there are."""
    named = repositories()
    print_found(named, ("name", "repository"), sorted(named.items()), as_json=as_json)


@repo.command()
def remove(name: NameArgument) -> None:
    """Forget a name. The repository stays as it is."""
    named = repositories()
    if name not in named:
        raise ConfigError("repositories", f"there is no {name!r}; `valuestore repo list` shows the names")
    _write({key: place for key, place in named.items() if key != name})
    print(f"{name} is forgotten; {named[name]} stays as it is")


def _write(named: dict[str, str]) -> None:
    """Have the table hold these names; what else is in the file stays. Raises: ConfigError."""
    import tomllib

    file = user_file()
    before = read_file(file)
    make_folder(file.parent, shared=None)
    text = file.read_text("utf-8-sig") if file.exists() else ""
    table = "".join(f"{key} = {as_toml('repositories', place)}\n" for key, place in named.items())
    rest = re.sub(r"^\[repositories\][^\n]*\n(?:[^\[\n][^\n]*(?:\n|$)|\n)*", "", text, flags=re.M)
    made = f"{rest.rstrip()}\n\n[repositories]\n{table}".lstrip()
    with suppress(tomllib.TOMLDecodeError):
        if tomllib.loads(made) == {**before, "repositories": named}:
            replace_text(file, made)
            return
    raise ConfigError("repositories", f"its table is not found in {file}: change it there yourself")

"""``valuestore db``: the schema of the metadata database."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from valuestore.cli.terminal import RepositoryOption, command_group, open_database
from valuestore.errors import ConfigError

db = command_group("The schema of the metadata database.")


@db.command()
def current(repository: RepositoryOption = None) -> None:
    """Which schema revision the database has; changes nothing."""
    from valuestore.db.schema import migrate

    with closing(open_database(repository)) as database:
        revision = migrate.current(database)
    if revision is None:
        print("empty: no schema yet")
    elif revision == migrate.HEAD:
        print(f"{revision} (newest)")
    elif revision in migrate.KNOWN:
        print(f"{revision} (the newest is {migrate.HEAD}: run `valuestore db upgrade`)")
    else:
        print(f"{revision} (newer than this valuestore, which reads up to {migrate.HEAD})")


@db.command()
def upgrade(repository: RepositoryOption = None) -> None:
    """Bring the schema to the newest revision; a SQLite file is copied beside itself first."""
    from valuestore.db.schema import migrate

    with closing(open_database(repository)) as database:
        before = migrate.current(database)
        after = migrate.upgrade(database)
    print(f"{after} (was {before})" if before != after else f"{after} (newest already)")


@db.command()
def versions() -> None:
    """The revisions that this valuestore knows, oldest first."""
    from valuestore.db.schema import migrate

    for revision in migrate.KNOWN:
        print(f"{revision} (newest)" if revision == migrate.HEAD else revision)


@db.command()
def downgrade(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="An older one: see `db versions`.")],
    repository: RepositoryOption = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Without it, nothing is done.")] = False,
) -> None:
    """Take the schema back. What newer tables alone hold is lost; a SQLite file is copied first."""
    from valuestore.db.schema import migrate

    if revision not in migrate.KNOWN:
        raise ConfigError("revision", f"no {revision!r}; there are {', '.join(migrate.KNOWN)}")
    if not yes:
        raise ConfigError("--yes", "a downgrade drops what the older schema has no place for; say --yes")
    with closing(open_database(repository)) as database:
        before = migrate.current(database)
        after = migrate.downgrade(database, revision)
    print(f"{after} (was {before})" if before != after else f"{after} (already)")

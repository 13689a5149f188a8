"""``valuestore stats``: how much a repository keeps."""

from __future__ import annotations

from valuestore.cli.terminal import JsonOption, RepositoryOption, open_existing, print_json, print_table


def stats(repository: RepositoryOption = None, *, as_json: JsonOption = False) -> None:
    """How much a repository keeps: rows by table, and bytes."""
    with open_existing(repository) as opened:
        found = opened.stats()
    sizes = {"inline_bytes": found.inline_bytes, "stored_bytes": found.stored_bytes}
    if as_json:
        print_json({"rows": found.rows, **sizes})
        return
    print_table(("kept", "count"), [(name, f"{count:,}") for name, count in (found.rows | sizes).items()])

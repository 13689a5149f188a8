"""Tagging: the labels of one run: given to it, set by ``tag`` in its pipeline, and set by themselves.

Every execution is labelled with the version, the user, the host, and the git commit it ran from.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valuestore.db.tags import current_author, tag_rows
from valuestore.errors import NotHashableError, StoreError, ValuestoreWarning
from valuestore.repository import Repository
from valuestore.scheduler.checkout import GitStatus, find_checkout, git_commit
from valuestore.scheduler.execution import Execution


class Tagging:
    """Keeps the labels of one run. ``job_id`` is the job whose result is being put together."""

    def __init__(self, repository: Repository, execution: Execution, tags: Mapping[str, Any]) -> None:
        self.archive = repository.archive
        self.recorder = repository.recorder
        self.execution = execution
        self.author = current_author()
        self.job_id: str | None = None
        self._checkout = find_checkout()
        self._given = {**_automatic_tags(self._checkout), **repository.settings.tags, **tags}

    def begin(self) -> None:
        """Record what the run is labelled with from its start. Raises: TagError."""
        self._keep("execution", self.execution.execution_id, self._given)
        self._status = GitStatus.of(self._checkout) if self._checkout else None

    def end(self) -> None:
        """Record what took a while to find out."""
        dirty = self._status.is_dirty() if self._status else None
        if dirty is not None and "git.dirty" not in self._given:
            self._keep("execution", self.execution.execution_id, {"git.dirty": dirty})

    def keep(
        self,
        value: Any,
        tags: Mapping[str, Any],
        job_tags: Mapping[str, Any],
        execution_tags: Mapping[str, Any],
    ) -> None:
        """What ``tag`` was given. Raises: TagError."""
        self._keep("execution", self.execution.execution_id, execution_tags)
        if self.job_id is not None:
            self._keep("job", self.job_id, job_tags)
        if not tags:
            return
        try:
            ref = self.archive.pack(value)
        except (NotHashableError, StoreError) as error:
            warnings.warn(f"a value is not tagged: {error}", ValuestoreWarning, stacklevel=2)
            return
        self.recorder.record_values((ref,))
        self._keep("value", ref.value_hash, tags)

    def _keep(self, entity: str, entity_id: str, tags: Mapping[str, Any]) -> None:
        if tags:
            self.recorder.record_tags(tag_rows(entity, entity_id, tags, self.author))


def _automatic_tags(checkout: Path | None) -> dict[str, Any]:
    """What every execution is labelled with at once."""
    from valuestore import __version__

    tags = {"valuestore.version": __version__, "user": current_author(), "host": platform.node()}
    commit = git_commit(checkout) if checkout else None
    return {**tags, "git.commit": commit} if commit else tags

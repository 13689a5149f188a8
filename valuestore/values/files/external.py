"""External: what File, FileSet and Dir have in common: a place outside whose state is part of the value.

``identity`` chooses what of it counts:

=================  ==========================================================================
``path+content``   the default: path as written and content. A task can see both.
``content``        the content alone: moved or renamed, it is the same value.
``stat``           path, size and time of change (on servers what they vouch for): nothing is read.
``path``           the path alone, for what never changes: valid as long as it is there.
=================  ==========================================================================

Each choice gives another value. Not a type of its own: it is not registered.
"""

from __future__ import annotations

import copyreg
import os
import threading
from abc import abstractmethod
from contextlib import suppress
from typing import Any, ClassVar, Literal, Self, cast

from valuestore.errors import NotHashableError, NotSupported
from valuestore.hashing import ALGORITHMS, DEFAULT_ALGORITHM, active_algorithm, algorithm_of
from valuestore.values.files.filesystem import Filesystem
from valuestore.values.files.local_files import LOCAL_FILES
from valuestore.values.files.location import is_named, may_contact, scheme_of, stored, written
from valuestore.values.value import Plain, Value

Identity = Literal["path+content", "content", "stat", "path"]
IDENTITIES = ("path+content", "content", "stat", "path")


class External(Value, register=False):
    """A place, what of it counts, and if it comes out of a store: what was recorded of it."""

    _place_key: ClassVar[str] = "path"
    _path_says_all: ClassVar[bool] = True
    """Whether ``identity="path"`` needs no look, nor says what one would show."""

    path: str
    identity_kind: Identity
    _recorded: dict[str, Plain] | None
    _described: tuple[int, dict[str, Plain]] | None

    def __init__(self, path: str | os.PathLike[str] | External, identity: Identity = "path+content") -> None:
        if identity not in IDENTITIES:
            raise ValueError(f"identity={identity!r}: it is one of {', '.join(IDENTITIES)}")
        given = path.path if isinstance(path, External) else path
        self._set(self._normal(written(given, type(self).__name__)), identity, None)

    def _set(self, path: str, identity: Identity, recorded: dict[str, Plain] | None) -> None:
        self.path = path
        self.identity_kind = identity
        self._recorded = recorded
        self._described = None

    @staticmethod
    def _normal(path: str) -> str:
        """Without slashes at the end, where they mean nothing: fsspec ignores them, but for web pages."""
        if scheme_of(path) in ("", "http", "https") or path.endswith("://"):
            return path
        return path.rstrip("/")

    @abstractmethod
    def _mark(self) -> dict[str, Plain]:
        """What counts besides the path, as it is now, by ``identity_kind``."""

    def _mark_unlike(self, recorded: dict[str, Plain]) -> dict[str, Plain] | None:
        """As ``_mark``, or None as soon as it is clear that it is not what was recorded.

        What is recorded may be forged: looking must not cost more than it lists.
        """
        return self._mark()

    def _is_missing(self, mark: dict[str, Plain]) -> bool:
        """Whether a mark says that nothing is there."""
        return next(iter(mark.values())) in (None, False)

    def exists(self) -> bool:
        """Whether something is there."""
        return self._filesystem.look(self.path) is not None

    def identity(self) -> Plain:
        """What counts of it, as it is now (see the module).

        One that came out of a store and is on a server that this program did not name is what it was
        recorded as: asking would call whom the store chose.
        """
        state = self._state_now()
        self._described = (threading.get_ident(), state)
        return state if self.identity_kind != "content" else self._without_place(state)

    def state(self) -> Plain:
        """What is stored: what identifies it, and always its path.

        After ``identity`` in the same thread it is what that said, so that both are of one look.
        """
        described = self._described
        if described is not None and described[0] == threading.get_ident():
            return described[1]
        return self._state_now()

    def state_recorded(self) -> Plain:
        """The state that this came out of a store with; without one, that of now."""
        return self._recorded if self._recorded is not None else self._state_now()

    @classmethod
    def from_state(cls, state: Plain) -> Self:
        """The value as it was recorded; ``is_valid`` tells whether it still is. Nothing is looked at."""
        kind = state.get("identity", "path+content")
        if kind not in IDENTITIES:
            raise ValueError(f"no identity {kind!r}")
        if state.get("algorithm", DEFAULT_ALGORITHM) not in ALGORITHMS:
            raise ValueError(f"no algorithm {state['algorithm']!r}")
        external = object.__new__(cls)
        external._set(cls._normal(stored(state[cls._place_key])), cast(Identity, kind), state)
        return external

    def is_valid(self) -> bool:
        """Whether it is there and, if it was recorded, what it was then.

        False as well for one of a server that this program did not name (``VALUESTORE_CONTACT_HOSTS`` allows
        more): a value from a store calls nobody. Raises: StoreUnavailable if the place gives no answer.
        """
        if self._recorded is None:
            with suppress(NotHashableError):
                return self._is_there()
            return False
        mark = self._recorded_mark(self._recorded) if may_contact(self.path) else None
        return mark is not None and not self._is_missing(mark)

    def is_as_recorded(self) -> bool:
        """Whether it is what it was recorded as, be that missing. Looks at the place as ``is_valid`` does."""
        recorded = self._recorded
        return recorded is None or not may_contact(self.path) or self._recorded_mark(recorded) is not None

    def _recorded_mark(self, recorded: dict[str, Plain]) -> dict[str, Plain] | None:
        """What counts of it now, or None if that is not what was recorded."""
        algorithm = recorded.get("algorithm")
        if not isinstance(algorithm, str):
            algorithm = algorithm_of(recorded.get("digest")) or DEFAULT_ALGORITHM
        token = active_algorithm.set(algorithm)
        try:
            mark = self._mark_unlike(recorded)
        except NotHashableError:
            return None
        finally:
            active_algorithm.reset(token)
        return mark if mark is not None and recorded == self._state_of(mark) else None

    def changed_place(self) -> str:
        """Of one that is not as it was recorded: the first place that is not, itself or in it."""
        return self.path

    def external(self) -> str | None:
        """The place, without credentials."""
        return self.path

    def _is_there(self) -> bool:
        """Whether what it stands for is there; nothing is read."""
        return self.exists()

    def _state_now(self) -> dict[str, Plain]:
        if self._recorded is not None and not may_contact(self.path):
            return self._recorded
        return self._state_of({} if self.identity_kind == "path" and self._path_says_all else self._mark())

    def _state_of(self, mark: dict[str, Plain]) -> dict[str, Plain]:
        kind = {} if self.identity_kind == "path+content" else {"identity": self.identity_kind}
        if self.identity_kind == "path" and self._path_says_all:
            mark = {}
        return {self._place_key: self.path, **mark, **kind}

    def _without_place(self, state: dict[str, Plain]) -> dict[str, Plain]:
        return {name: part for name, part in state.items() if name != self._place_key}

    @property
    def _filesystem(self) -> Filesystem:
        return filesystem_of(self.path)

    def __fspath__(self) -> str:
        if scheme_of(self.path):
            raise NotSupported(self.path, "being opened as a local path", "use open(), or stage it first")
        return self.path

    def __repr__(self) -> str:
        kind = "" if self.identity_kind == "path+content" else f", identity={self.identity_kind!r}"
        return f"{type(self).__name__}({self.path!r}{kind})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, External) or type(other) is not type(self):
            return NotImplemented
        return (other.path, other.identity_kind) == (self.path, self.identity_kind)

    def __hash__(self) -> int:
        return hash((self.path, self.identity_kind))

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, without a look at the place: a pickle is on its way to a worker, not into a store."""
        return copyreg.__newobj__, (type(self),), self.__getstate__()  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        """A pickle carries no credentials, but the permission to ask the server, or to write to the place."""
        named = may_contact(self.path) if scheme_of(self.path) else is_named(self.path)
        return {**vars(self), "_described": None, "_named": named}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.pop("_named"):
            written(state["path"], type(self).__name__)
        vars(self).update(state)


def filesystem_of(path: str) -> Filesystem:
    """The filesystem of a location. Raises: BadReference if fsspec has none for its scheme."""
    if not scheme_of(path):
        return LOCAL_FILES
    from valuestore.values.files.remote_files import remote_files  # loads fsspec

    return remote_files(path)

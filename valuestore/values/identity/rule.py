"""Rule: how the objects of one class are identified and stored; and codec: a format of their own.

Rules are found in rulebook.py and applied in canonical.py and lift.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes
from valuestore.values.value import Plain


@dataclass(frozen=True)
class Codec:
    """A format of its own for the objects of one class, such as ``.npy``: object <-> bytes.

    ``encode`` gives the bytes in pieces, which may be views (of format B) of the object's own memory.
    ``decode`` must execute nothing that the bytes name; the object may show them as its own memory, which
    may be written to unless they are read-only. Objects that do not ``fit`` are stored by state instead.
    """

    name: str
    encode: Callable[[Any], Iterable[Bytes]]
    decode: Callable[[Bytes], Any]
    fits: Callable[[Any], bool] = field(default=lambda _: True)


def _refuse(_data: Bytes) -> Any:
    raise DecodeError("pickle", "a pickle is read through its repository alone")


def _unsigned(_obj: object) -> list[bytes]:
    raise AssertionError("pickles are made by dump_signed")


PICKLED = Codec("pickle", _unsigned, _refuse)
"""The format of objects that nobody has another for (codecs/signed.py)."""


_CODE = frozenset(
    {"builtins.function", "builtins.type", "builtins.module", "functools.lru_cache", "valuestore.Task"}
)
"""Types whose values are code, known by a digest of it."""


@dataclass(frozen=True)
class TypeRule:
    """How the objects of one class are identified and stored.

    ``identity`` gives what is hashed, ``state`` (default: the same) what is stored; both may hold anything
    that has a rule. ``from_state`` rebuilds the object and must execute nothing that the state names.
    ``unordered`` says that identity is a list whose order does not count. With a ``codec``, objects are
    stored in its format instead of by state. ``is_valid`` says whether an object is still true of the
    outside world. ``subclasses`` says that the rule serves subclasses too that have none of their own.
    ``locate`` makes the path to a refused part, which names places in the identity, name them in the
    object: it is given the object and the path's steps, innermost first, and changes these. ``summary`` is
    what a preview shows of an object, instead of its identity. ``family`` names the family of classes that
    say themselves what their objects are, if the class is of one (families.py). ``as_value`` takes the place
    of identity for values, not for constants in code: it may tell an object in another way, or refuse it,
    as ``check`` may all objects of its class.
    """

    type: type
    type_name: str
    identity: Callable[[Any], Plain]
    from_state: Callable[[Any], Any]
    state: Callable[[Any], Plain] | None = None
    unordered: bool = False
    codec: Codec | None = None
    is_valid: Callable[[Any], bool] | None = None
    subclasses: bool = False
    locate: Callable[[Any, list[str]], None] | None = None
    summary: Callable[[Any], Plain] | None = None
    family: str = ""
    as_value: Callable[[Any], Plain] | None = None
    check: Callable[[Any], None] | None = None

    @property
    def is_code(self) -> bool:
        """Whether its objects hold as long as code does: they are code, or say themselves what they need."""
        return self.type_name in _CODE or self.is_valid is not None

    def code_of(self, obj: object) -> object:
        """What stands for an object of such a class: itself, if a name may lead to it, or its type."""
        return self.type_name if self.is_valid is not None else obj

    @property
    def narrow(self) -> bool:
        """Whether it serves subclasses in that it refuses them: what they add is not known."""
        return getattr(self.identity, "narrow", False)

    def codec_of(self, obj: object) -> Codec | None:
        """The format that this object is stored in, or None if it is stored by its state."""
        return self.codec if self.codec is not None and self.codec.fits(obj) else None

"""Nested: the Values inside an object, found, asked and replaced; calls that nothing would evaluate.

Not the way to an identity (canonical.py). Called through the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from valuestore.errors import DecodeError, MisplacedCall, NotHashableError
from valuestore.hashing import ATOMS, Digest
from valuestore.plugins import is_built_in
from valuestore.values.code.ownership import is_own_class
from valuestore.values.codecs.plain import MAY_GO_STALE, PLAIN_CODECS
from valuestore.values.codecs.signed import PICKLED
from valuestore.values.identity.attributes import instance_attributes
from valuestore.values.identity.builtins import PLAIN_TYPE_NAMES
from valuestore.values.identity.canonical import Refused
from valuestore.values.identity.inside import Lazy, calls_refused, find, referents, rows_of
from valuestore.values.identity.rulebook import Rulebook
from valuestore.values.value import Value, hooks_in_use

_LEAVES = ATOMS | {complex}
_MOST_PARTS = 100_000
"""How many parts of what has no identity are looked at for calls."""


class Inside(NamedTuple):
    """What is in a loaded value: whatever may go stale, and the code of the user's that it brings.

    ``classes``: those of the objects, as hashing finds them. ``code``: as of ``Encoded``.
    """

    asked: list[object]
    classes: frozenset[type]
    code: tuple[object, ...]


def _iter_parts(
    obj: object, rules: Rulebook, beyond: Callable[[object], Iterable[object]] = lambda _: ()
) -> Iterator[object]:
    """Everything inside, itself too, but atoms and containers; ``beyond``: in what has no identity."""
    stack = [obj]
    seen: dict[int, object] = {}  # the objects are kept, or another could get the id of one that is gone
    while stack:
        current = stack.pop()
        kind = type(current)
        if kind in _LEAVES or id(current) in seen:
            continue
        seen[id(current)] = current
        if isinstance(current, Value):
            yield current
            stack.extend(current.iter_subvalues())
            if type(current).identity is Value.identity:
                stack.extend(instance_attributes(current).values())
            elif current.external() is None:  # else asking what it is looks at the outside, as it does itself
                with suppress(NotHashableError):
                    stack.append(current.identity())
        elif kind in (list, tuple, set, frozenset):
            stack.extend(current)  # type: ignore[arg-type]
        elif kind is dict:
            stack.extend(current.keys())  # type: ignore[attr-defined]
            stack.extend(current.values())  # type: ignore[attr-defined]
        elif kind not in PLAIN_TYPE_NAMES and (rule := rules.known_rule(kind)) is not None:
            yield current
            codec = rule.codec_of(current)
            if codec is None or codec is PICKLED:
                try:
                    stack.append(rule.identity(current))
                except Refused:  # what has no identity holds nothing that could be asked
                    stack.extend(beyond(current))
        elif kind not in PLAIN_TYPE_NAMES:
            stack.extend(beyond(current))


class Insides(Rulebook):
    """A rulebook that says what is inside an object. The registry is one."""

    def hash(self, obj: object) -> Digest:
        """The value hash. Raises: NotHashableError."""
        raise NotImplementedError

    def rows_of(self, obj: object, /) -> tuple[list[Any], list[Any]]:
        return rows_of(obj)

    def iter_values(self, obj: object) -> Iterator[Value]:
        """Every ``Value`` in the object, however deep, and the values inside each; each once."""
        return (found for found in _iter_parts(obj, self) if isinstance(found, Value))

    def is_valid(self, obj: object) -> bool:
        """Whether everything inside that stands for outside state is still true of it."""
        return self.are_valid(_iter_parts(obj, self))

    def are_valid(self, asked: Iterable[object]) -> bool:
        for found in asked:
            if isinstance(found, Value):
                if not found.is_valid():
                    return False
            elif (valid := self._rules[type(found)].is_valid) is not None and not valid(found):
                return False
        return True

    def may_go_stale(self, codec: str, type_name: str) -> bool:
        """Whether a stored value may stand for outside state; no library with rules of ours is imported."""
        if codec in MAY_GO_STALE:
            return True
        if codec in PLAIN_CODECS or is_built_in("types", type_name.partition(".")[0]):
            return False
        try:
            return self.rule_named(type_name).is_valid is not None
        except DecodeError:  # of a class that is not here: loading it says so
            return True

    def look_inside(self, obj: object) -> Inside:
        """All that a run wants to know of a loaded value, in one walk."""
        asked: list[object] = []
        classes: set[type] = set()
        code: list[object] = []
        for part in _iter_parts(obj, self):
            kind = type(part)
            rule = None if isinstance(part, Value) else self._rules[kind]
            if rule is None or rule.is_valid is not None:
                asked.append(part)
            if kind not in classes and is_own_class(part):
                classes.add(kind)
            if rule is not None and rule.is_code:
                code.append(rule.code_of(part))
        return Inside(asked, frozenset(classes), tuple(code))

    def is_current(self, obj: object, value_hash: Digest) -> bool:
        """Whether code of the user's that is in what was loaded as ``value_hash`` is what it was.

        Typed payloads tell that by themselves, a pickle refers to functions by name.
        """
        with suppress(NotHashableError):
            return self.hash(obj) == value_hash
        return False

    def map_values(self, obj: Any, function: Callable[[Value], Any]) -> Any:
        """``obj`` with ``function(value)`` for each Value in it; the same object if none was replaced.

        Looks into what inside.py says, and not into Values. A Value that is met twice is replaced by one
        object. Raises: NotHashableError if ``obj`` contains itself; what ``function`` raises.
        """
        return find(obj, Value).replaced(function)

    def check_no_calls(self, obj: object) -> None:
        """For what has no identity. Raises: MisplacedCall if it holds a call where nothing evaluates it."""
        if find(obj, Lazy).leaves:
            return
        parts = islice(_iter_parts(obj, self, referents), _MOST_PARTS)
        call = next((part for part in parts if issubclass(type(part), Lazy)), None)
        if call is not None:
            try:
                with calls_refused():
                    self.hash(obj)
            except MisplacedCall:
                raise
            except NotHashableError:  # for another reason, met first
                pass
            raise MisplacedCall("value", repr(call))

    def preprocess(self, obj: Any, *, position_of: Callable[[], int]) -> Any:
        """What a task is given in place of ``obj``: each Value in it as its ``preprocess`` says."""
        if "preprocess" not in hooks_in_use:
            return obj
        return self.map_values(obj, lambda value: value.preprocess(position=position_of()))

    def postprocess(self, obj: Any, *, eval_hash: str) -> Any:
        """What is kept in place of ``obj`` that a task returned: each Value as its ``postprocess`` says."""
        if "postprocess" not in hooks_in_use:
            return obj
        return self.map_values(obj, lambda value: value.postprocess(eval_hash=eval_hash))

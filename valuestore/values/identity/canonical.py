"""Canonical form: any object -> plain data that says what it is, and back.

Objects that are plain already are their own canonical form. Anything else is *lowered*: it becomes the
node ``("\\0", type name, state)``, its state lowered in turn, by the rule of its type. A tuple of the
user's that starts with ``"\\0"`` is lowered as a node too, so no plain data can pass for a node.
*Lifting* is the way back. Called by the registry alone, which knows the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from valuestore.errors import DecodeError, NotHashableError, PayloadError, ValuestoreError
from valuestore.hashing import ATOMS, Bytes, NotPlain, encode_plain
from valuestore.values.code.ownership import is_own
from valuestore.values.identity.cycles import ABOVE, NOWHERE, Path
from valuestore.values.identity.refusal import Refused as Refused
from valuestore.values.identity.refusal import explain_depth as explain_depth
from valuestore.values.identity.refusal import path_text, short_text
from valuestore.values.identity.sharing import check_growth, may_grow
from valuestore.values.value import Plain, Value

NODE = "\0"
_TUPLE = "builtins.tuple"
_DICT = "builtins.dict"
_NAN = float("nan")
_MAY_BE_NAN = re.compile(rb"G[\x7f\xff](?:[\xf1-\xff]|\xf0(?!\0{6}))").search
_UNCHANGED = ATOMS - {float}  # which may be a NaN
_CONTAINERS = frozenset({list, tuple, dict})


@dataclass(frozen=True)
class Codec:
    """A format of its own for the objects of one class, such as ``.npy``: object <-> bytes.

    ``encode`` gives the bytes in pieces, which may be views (of format B) of the object's own memory.
    ``decode`` must execute nothing that the bytes name; the object may show them as its own memory, which
    may be written to unless they are read-only. An object that does not ``fit`` the format is stored by its
    rule's state instead.
    """

    name: str
    encode: Callable[[Any], Iterable[Bytes]]
    decode: Callable[[Bytes], Any]
    fits: Callable[[Any], bool] = field(default=lambda _: True)


def _refuse(_data: Bytes) -> Any:
    raise DecodeError("pickle", "a pickle is read through its repository alone")


def _unsigned(_obj: object) -> list[bytes]:
    raise AssertionError("pickles are made by dump_leaf, which signs them")


PICKLED = Codec("pickle", _unsigned, _refuse)
"""The format of objects that nobody has another for (codecs/pickled.py)."""


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
    def narrow(self) -> bool:
        """Whether it serves subclasses in that it refuses them: what they add is not known."""
        return getattr(self.identity, "narrow", False)

    def codec_of(self, obj: object) -> Codec | None:
        """The format that this object is stored in, or None if it is stored by its state."""
        return self.codec if self.codec is not None and self.codec.fits(obj) else None


class Rules(Protocol):
    """Where lowering and lifting look things up: the registry."""

    def rule_for(self, cls: type, /) -> TypeRule:
        """The rule of a class. Raises: Refused."""

    def rule_named(self, type_name: str, /) -> TypeRule:
        """The rule behind a stored type name. Raises: DecodeError."""

    def encode_as(self, codec: Codec, obj: object, /) -> Iterable[Bytes]:
        """The object's bytes in that format, in pieces. Raises: UntrustedPayload."""

    def decode(self, codec: str, type_name: str, data: Bytes, /) -> Any:
        """The object that a codec made these bytes from. Raises: DecodeError, UntrustedPayload."""


@dataclass(frozen=True, slots=True)
class Part:
    """A ``Value`` met inside an object: its canonical form as hashed, and the Values inside it."""

    value: Value
    hashed: Plain
    parts: tuple[Part, ...]


def _distinct(parts: list[Part]) -> list[Part]:
    return list({id(part): part for part in parts}.values())


@dataclass(frozen=True, slots=True)
class Lowered:
    """An object's canonical form, as hashed and as stored (the same object unless a rule keeps them apart).

    ``parts`` are the Values inside the object, each once, in the order they were met. ``differs`` says that
    the two forms are not the same, be it asked for or not; ``shows_memory``, that the stored form was taken
    from memory that may have changed since it was hashed. ``classes`` are the user's own of what is inside.
    ``is_loop``: something in the object leads back to it, so it has no stored form but a pickle.
    """

    hashed: Plain
    stored: Plain
    parts: tuple[Part, ...]
    differs: bool
    shows_memory: bool = False
    classes: frozenset[type] = frozenset()
    is_loop: bool = False


def encode(obj: object) -> bytes | None:
    """Canonical bytes of an object that is plain, or None if it has to be lowered first.

    NaN has many bit patterns and one identity, so bytes that may hold one take the slow way too; the
    choice depends on the content alone.
    """
    try:
        if type(obj) in _CONTAINERS and may_grow(obj):
            check_growth(obj)
        data = encode_plain(obj)
    except NotPlain:
        return None
    return None if _MAY_BE_NAN(data) else data


def lower(obj: Any, rules: Rules, *, stored: bool = True, as_value: bool = False) -> Lowered:
    """The canonical form of ``obj``; without ``stored``, the form that is stored is not asked for.

    ``as_value`` says that it is a value, and no constant that code refers to.

    Raises: NotHashableError with the path to the first part that has no identity.
    """
    try:
        hashing = _Lowering(rules, stored=False, as_value=as_value)
        form = hashing.lower(obj)
        loops = hashing.path.beginnings
        is_loop = id(obj) in loops
        differs = hashing.stored_differs or bool(loops)
        if hashing.shares:
            check_growth(form)
        form_stored, met_codec = form, False
        if stored and differs and not is_loop:
            form_stored, met_codec = _stored_form(obj, rules, as_value, set(loops))
        own = frozenset([cls for cls in hashing.by_class if is_own(cls.__module__)])
        return Lowered(form, form_stored, hashing.found(obj), differs, met_codec, own, is_loop)
    except Refused as refusal:
        raise refusal.error(path_text(refusal.parts), str(refusal)) from None
    except RecursionError:
        raise NotHashableError(*explain_depth(obj)) from None
    except RuntimeError as error:  # "dictionary changed size during iteration" and its like
        raise NotHashableError("value", f"it changed while it was read ({error})") from error


def _stored_form(obj: Any, rules: Rules, as_value: bool, loops: set[int]) -> tuple[Plain, bool]:
    """The form that is stored, and whether a codec wrote parts of it. ``loops``: where these begin, by id."""
    storing = _Lowering(rules, stored=True, as_value=as_value, loops=loops)
    form = storing.lower(obj)
    while storing.path.beginnings:  # in what the state tells, and the identity does not
        loops |= storing.path.beginnings.keys()
        storing = _Lowering(rules, stored=True, as_value=as_value, loops=loops)
        form = storing.lower(obj)
    if storing.shares:
        check_growth(form)
    return form, storing.met_codec


class _Lowering:
    """One pass over an object. Those of the ids ``loops`` become pickles."""

    def __init__(self, rules: Rules, stored: bool, as_value: bool, loops: Iterable[int] = ()) -> None:
        self.rules = rules
        self.stored = stored
        self.as_value = as_value
        self.stored_differs = False
        self.met_codec = False
        self.parts: list[Part] = []  # those met in what is being lowered, some more than once
        self.known: dict[int, Any] = dict.fromkeys(loops, NOWHERE)  # forms, or the level of what is open
        self.path = Path()
        self.kept: list[Any] = []  # the objects whose ids are known, or others could get them
        self.known_parts: dict[int, list[Part]] = {}
        self.shares = False
        self.by_class: dict[type, TypeRule] = {}

    def found(self, obj: Any) -> tuple[Part, ...]:
        """The Values met inside ``obj`` once it is lowered."""
        parts = _distinct(self.parts)
        return parts[0].parts if parts and parts[0].value is obj else tuple(parts)

    def lower(self, obj: Any) -> Plain:
        kind = type(obj)
        if kind in _UNCHANGED:
            return obj
        if kind is float:
            return obj if obj == obj else _NAN  # only NaN differs from itself
        number = id(obj)
        known, path = self.known, self.path
        lowered: Plain = known.get(number)
        if lowered is None and path.loops:
            lowered = path.form_of(number)
        if lowered is not None:
            if type(lowered) is int:
                return self.loop(obj) if lowered == NOWHERE else (NODE, ABOVE, path.steps_up(lowered))
            self.shares = True
            self.parts += self.known_parts.get(number, ())
            return lowered
        parts_before = len(self.parts)
        entered = path.enter(obj)
        known[number] = len(path.open)
        if kind is list:
            lowered = self.items(obj)
        elif kind is tuple:
            lowered = tuple(self.items(obj))
            if lowered and lowered[0] == NODE:
                lowered = (NODE, _TUPLE, lowered)
        elif kind is dict:
            lowered = self.mapping(obj)
        else:
            rule = self.by_class.get(kind)
            if rule is None:
                rule = self.by_class[kind] = self.rules.rule_for(kind)
                if self.as_value and rule.check is not None:
                    rule.check(kind)
            lowered = self.node(obj, rule)
        if path.leave(obj, lowered, entered):
            known[number] = lowered
        else:
            del known[number]
        self.kept.append(obj)
        if len(self.parts) > parts_before:
            self.known_parts[number] = self.parts[parts_before:] = _distinct(self.parts[parts_before:])
        return lowered

    def items(self, obj: Any) -> list[Plain]:
        lowered = []
        index = 0
        try:
            for index, item in enumerate(obj):  # noqa: B007  # the index names the path of a refusal
                lowered.append(self.lower(item))
        except Refused as refusal:
            refusal.parts.append(f"[{index}]")
            raise
        return lowered

    def mapping(self, obj: dict[Any, Any]) -> Plain:
        """A dict whose keys stay as they are remains one; otherwise a node with its items, in its order."""
        lowered = {}
        pairs = []
        key: Any = None
        try:
            for key, value in obj.items():
                plain_key = self.lower(key)
                plain_value = self.lower(value)
                if type(key) in _UNCHANGED:
                    lowered[key] = plain_value
                pairs.append((plain_key, plain_value))
        except Refused as refusal:
            refusal.parts.append(f"[{short_text(key)}]")
            raise
        return lowered if len(lowered) == len(pairs) else (NODE, _DICT, pairs)

    def node(self, obj: Any, rule: TypeRule) -> Plain:
        if isinstance(obj, Value) and not self.stored:
            return self.value(obj, rule)
        self.stored_differs |= rule.state is not None or rule.codec is not None
        if self.stored and (codec := rule.codec_of(obj)) is not None:
            self.met_codec = True
            pieces = _asked(rule, lambda whole: list(self.rules.encode_as(codec, whole)), obj)
            return (NODE, rule.type_name, codec.name, b"".join(pieces))
        told = (rule.as_value if self.as_value else None) or rule.identity
        state = _asked(rule, rule.state if self.stored and rule.state else told, obj)
        try:
            lowered = self.attributes(state) if type(state) is dict else self.lower(state)
        except Refused as refusal:
            if rule.locate is not None:
                rule.locate(obj, refusal.parts)
            raise
        if rule.unordered:
            lowered = sorted(lowered, key=encode_plain)
        return (NODE, rule.type_name, lowered)

    def loop(self, obj: Any) -> Plain:
        """What something in it leads back to, as a whole: no state can hold that."""
        self.met_codec = True
        kind = type(obj)
        type_name = (
            f"builtins.{kind.__name__}" if kind in _CONTAINERS else self.rules.rule_for(kind).type_name
        )
        return (NODE, type_name, PICKLED.name, b"".join(self.rules.encode_as(PICKLED, obj)))

    def value(self, obj: Value, rule: TypeRule) -> Plain:
        """A Value's node; the Values that are met on the way are its parts, not those of what holds it."""
        self.stored_differs |= rule.state is not None
        parts_before = len(self.parts)
        state = _asked(rule, rule.identity, obj)
        lowered = self.attributes(state) if type(state) is dict else self.lower(state)
        if type(obj).iter_subvalues is not Value.iter_subvalues:
            for part in _asked(rule, lambda value: list(value.iter_subvalues()), obj):
                self.lower(part)
        node = (NODE, rule.type_name, lowered)
        if not self.path.leads_beyond():  # else it is no value by itself
            self.parts[parts_before:] = [Part(obj, node, tuple(_distinct(self.parts[parts_before:])))]
        return node

    def attributes(self, state: dict[Any, Any]) -> Plain:
        """Like ``mapping``, but a refusal's path reads ``.name``, since these are an object's attributes."""
        try:
            return self.mapping(state)
        except Refused as refusal:
            last = refusal.parts[-1]
            if last.startswith("['"):
                refusal.parts[-1] = "." + last[2:-2]
            raise


def _asked(rule: TypeRule, question: Callable[[Any], Any], obj: Any) -> Any:
    """What foreign code says of its object. Raises: Refused for whatever it raises."""
    try:
        return question(obj)
    except (Refused, ValuestoreError, RecursionError):
        raise
    except Exception as error:
        raise Refused(f"asking a {rule.type_name} what it is raised {error!r}") from error


def lift(lowered: Plain, rules: Rules) -> Any:
    """The object of this canonical form, which was looked at (trust/kinds.py) or signed.

    Raises: DecodeError if a type is unknown here or has changed.
    """
    kind = type(lowered)
    if kind is list:  # most items are atoms, which are what they are
        return [item if type(item) in ATOMS else lift(item, rules) for item in lowered]
    if kind is dict:
        return {key: value if type(value) in ATOMS else lift(value, rules) for key, value in lowered.items()}
    if kind is not tuple:
        return lowered
    if not lowered or lowered[0] != NODE:
        return tuple([item if type(item) in ATOMS else lift(item, rules) for item in lowered])
    if len(lowered) == 4:
        _, type_name, codec, data = lowered
        return rules.decode(codec, type_name, data)
    if len(lowered) != 3:
        raise DecodeError("tagged", "a node without type name and state")
    _, type_name, state = lowered
    if type_name == _TUPLE:
        return tuple([lift(item, rules) for item in state])
    if type_name == _DICT:
        return {lift(key, rules): lift(value, rules) for key, value in state}
    rule = rules.rule_named(type_name)
    try:
        return rule.from_state(lift(state, rules))
    except PayloadError:
        raise
    except Exception as error:
        raise DecodeError(type_name, f"its stored state no longer fits ({error!r})") from error

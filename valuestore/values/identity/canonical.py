"""Canonical form: any object -> plain data that says what it is, and back.

Objects that are plain already are their own canonical form. Anything else is *lowered*: it becomes the
node ``("\\0", type name, state)``, its state lowered in turn, by the rule of its type. A tuple of the
user's that starts with ``"\\0"`` is lowered as a node too, so no plain data can pass for a node.
What holds calls is a graph (docs/decisions/0021): each call, and each container with calls, is a *row*,
told where it is met by its digest in what is hashed and by its number in what is stored. Lifting (lift.py)
is the way back. Called by the registry alone, which knows the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from valuestore.errors import NotHashableError, ValuestoreError
from valuestore.hashing import ATOMS, Bytes, Digest, NotPlain, encode_plain
from valuestore.values.code.ownership import is_own
from valuestore.values.identity.cycles import ABOVE, NOWHERE, Path
from valuestore.values.identity.refusal import Refused as Refused
from valuestore.values.identity.refusal import check_growth, may_grow, path_text, short_text
from valuestore.values.identity.refusal import explain_depth as explain_depth
from valuestore.values.identity.rule import PICKLED as PICKLED
from valuestore.values.identity.rule import Codec as Codec
from valuestore.values.identity.rule import TypeRule as TypeRule
from valuestore.values.value import Plain, Value

NODE = "\0"
TUPLE = "builtins.tuple"
DICT = "builtins.dict"
EXPRESSION = "valuestore.Expression"
"""The type name of a list of rows, the whole being the last, and of a row's number or digest."""
CALLS = frozenset({"valuestore.Call", "valuestore.Operation"})
_NAN = float("nan")
_MAY_BE_NAN = re.compile(rb"G[\x7f\xff](?:[\xf1-\xff]|\xf0(?!\0{6}))").search
_UNCHANGED = ATOMS - {float}  # which may be a NaN
_CONTAINERS = frozenset({list, tuple, dict})


class Rules(Protocol):
    """Where lowering looks things up: the registry."""

    def rule_for(self, cls: type, /) -> TypeRule:
        """The rule of a class. Raises: Refused."""

    def encode_as(self, codec: Codec, obj: object, /) -> Iterable[Bytes]:
        """The object's bytes in that format, in pieces."""


class Values(Protocol):
    """What is asked about values, and not about constants in code: the registry."""

    def rows_of(self, obj: object, /) -> tuple[Sequence[object], Sequence[object]]:
        """What of an expression is hashed by itself, and what is stored so: see inside.py."""

    def hash_form(self, form: Plain, /) -> Digest:
        """The value hash of the object with that form."""


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
    ``code``: what is code by itself inside, or stands for what says itself whether it is valid.
    ``is_loop``: something in the object leads back to it, so it has no stored form but a pickle.
    """

    hashed: Plain
    stored: Plain
    parts: tuple[Part, ...]
    differs: bool
    shows_memory: bool = False
    classes: frozenset[type] = frozenset()
    is_loop: bool = False
    code: tuple[object, ...] = ()

    @property
    def shown(self) -> Plain:
        """What a preview is made of: rows, since digests say nothing, or else what is hashed."""
        is_graph = type(self.stored) is tuple and self.stored[:2] == (NODE, EXPRESSION)
        return self.stored if is_graph else self.hashed


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


def lower(
    obj: Any, rules: Rules, *, stored: bool = True, values: Values | None = None, is_step: bool = False
) -> Lowered:
    """The canonical form of ``obj``; without ``stored``, the form that is stored is not asked for.

    Without ``values``, it is a constant that code refers to. ``is_step``: calls are in it, perhaps. Raises:
    NotHashableError with the path to the first part that has no identity.
    """
    rows, stored_rows = (), ()  # type: tuple[Sequence[object], Sequence[object]]
    try:
        hashing = _Lowering(rules, values)
        try:
            if is_step:
                raise _MetCall
            form = hashing.lower(obj)
        except _MetCall:
            assert values is not None
            rows, stored_rows = values.rows_of(obj)
            hashing = _Lowering(rules, values, rows)
            form = _located(hashing, obj)
        loops = hashing.path.beginnings
        is_loop = id(obj) in loops
        differs = hashing.stored_differs or bool(loops) or bool(rows)
        if hashing.shares:
            check_growth(form)
        form_stored, met_codec = form, False
        if stored and differs and not is_loop:
            form_stored, met_codec = _stored_form(obj, rules, values, stored_rows, set(loops))
        own = frozenset([cls for cls in hashing.by_class if is_own(cls.__module__)])
        code = hashing.code()
        return Lowered(form, form_stored, hashing.found(obj), differs, met_codec, own, is_loop, code)
    except Refused as refusal:
        raise refusal.error(path_text(refusal.parts), str(refusal)) from None
    except RecursionError:
        raise NotHashableError(*explain_depth(obj)) from None
    except RuntimeError as error:  # "dictionary changed size during iteration" and its like
        raise NotHashableError("value", f"it changed while it was read ({error})") from error


def hash_rows(obj: Any, rules: Rules, values: Values) -> dict[int, Digest]:
    """The value hash of each row of an object, by its id; of those before one that has none."""
    rows, _ = values.rows_of(obj)
    hashing = _Lowering(rules, values, rows)
    with suppress(Refused, ValuestoreError):
        hashing.whole(obj)
    told = {id(row): hashing.known.get(id(row)) for row in rows}
    return {number: form[2] for number, form in told.items() if type(form) is tuple}


def _located(hashing: _Lowering, obj: Any) -> Plain:
    """The form of an object with rows. Raises: Refused, with the way from the top if it is not too long."""
    try:
        return hashing.whole(obj)
    except Refused:
        with suppress(RecursionError):
            _Lowering(hashing.rules, hashing.values, ()).lower(obj)
        raise


def _stored_form(
    obj: Any, rules: Rules, values: Values | None, rows: Sequence[object], loops: set[int]
) -> tuple[Plain, bool]:
    """The form that is stored, and whether a codec wrote parts of it. ``loops``: where these begin, by id."""
    while True:
        storing = _Lowering(rules, values, rows, stored=True, loops=loops)
        form = storing.whole(obj)
        if not storing.path.beginnings:
            break
        loops |= storing.path.beginnings.keys()  # in what the state tells, and the identity does not
    if storing.shares:
        check_growth(form)
    return form, storing.met_codec


class _MetCall(Exception):
    """A call was met in a value, which is thus to be lowered by rows."""


class _Lowering:
    """One pass over an object. Those of the ids ``loops`` become pickles. No ``rows``: see ``_MetCall``."""

    def __init__(
        self,
        rules: Rules,
        values: Values | None,
        rows: Sequence[object] | None = None,
        *,
        stored: bool = False,
        loops: Iterable[int] = (),
    ) -> None:
        self.rules = rules
        self.values = values
        self.rows = rows
        self.row_ids = frozenset(map(id, rows or ()))
        self.told: list[Plain] = []  # the forms of the rows so far
        self.row_parts: list[Part] = []  # the Values met in rows
        self.stored = stored
        self.stored_differs = False
        self.met_codec = False
        self.parts: list[Part] = []  # those met in what is being lowered, some more than once
        self.known: dict[int, Any] = dict.fromkeys(loops, NOWHERE)  # forms, or the level of what is open
        self.path = Path()
        self.kept: list[Any] = []  # the objects whose ids are known, or others could get them
        self.known_parts: dict[int, list[Part]] = {}
        self.shares = False
        self.by_class: dict[type, TypeRule] = {}

    def whole(self, obj: Any) -> Plain:
        """The form of the object, its rows lowered one by one: no chain of calls is too long."""
        for row in self.rows or ():
            self.lower(row)
        form = self.lower(obj)
        if id(obj) not in self.row_ids or id(obj) in self.path.beginnings:
            return form
        return (NODE, EXPRESSION, self.told) if self.stored else self.told[-1]

    def row(self, form: Plain, parts_before: int) -> Plain:
        """What stands for a row with this form wherever it is met. Values in it are parts of the whole."""
        self.row_parts += self.parts[parts_before:]
        del self.parts[parts_before:]
        if self.shares:
            check_growth(form)
        self.told.append(form)
        if self.stored or self.values is None:
            return (NODE, EXPRESSION, len(self.told) - 1)
        return (NODE, EXPRESSION, self.values.hash_form(form))

    def found(self, obj: Any) -> tuple[Part, ...]:
        """The Values met inside ``obj`` once it is lowered."""
        parts = _distinct(self.parts + self.row_parts)
        return parts[0].parts if parts and parts[0].value is obj else tuple(parts)

    def code(self) -> tuple[object, ...]:
        rules = {kind: rule for kind, rule in self.by_class.items() if rule.is_code}
        return tuple([rules[type(one)].code_of(one) for one in self.kept if type(one) in rules])

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
            self.shares |= number not in self.row_ids  # what stands for a row is short
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
                lowered = (NODE, TUPLE, lowered)
        elif kind is dict:
            lowered = self.mapping(obj)
        else:
            rule = self.by_class.get(kind)
            if rule is None:
                rule = self.by_class[kind] = self.rules.rule_for(kind)
                if self.rows is None and self.values is not None and rule.type_name in CALLS:
                    raise _MetCall
                if self.values is not None and rule.check is not None:
                    rule.check(kind)
            lowered = self.node(obj, rule)
        if path.leave(obj, lowered, entered):
            if number in self.row_ids:
                lowered = self.row(lowered, parts_before)
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
        return lowered if len(lowered) == len(pairs) else (NODE, DICT, pairs)

    def node(self, obj: Any, rule: TypeRule) -> Plain:
        if isinstance(obj, Value) and not self.stored:
            return self.value(obj, rule)
        self.stored_differs |= rule.state is not None or rule.codec is not None
        if self.stored and (codec := rule.codec_of(obj)) is not None:
            self.met_codec = True
            pieces = _asked(rule, lambda whole: list(self.rules.encode_as(codec, whole)), obj)
            return (NODE, rule.type_name, codec.name, b"".join(pieces))
        told = (rule.as_value if self.values is not None else None) or rule.identity
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

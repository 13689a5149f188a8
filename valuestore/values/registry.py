"""TypeRegistry: which types there are, and through them hash, dump and load of any object.

It holds the rules and picks the codec; what canonical form is lives in canonical.py, the rules of
built-in types in builtins.py. Called by the archive, the tasks layer and the scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from valuestore.errors import DecodeError, NotHashableError
from valuestore.hashing import (
    DEFAULT_ALGORITHM,
    Digest,
    active_algorithm,
    domain_tag,
    encode_plain,
    get_algorithm,
)
from valuestore.values.builtins import BUILTIN_RULES, PLAIN_TYPE_NAMES, family_rule
from valuestore.values.canonical import Refused, TypeRule, encode, explain_depth, lower
from valuestore.values.codecs.plain import BYTES, PLAIN, TAGGED, TEXT, decode, decode_lowered, encode_text
from valuestore.values.preview import preview, preview_bytes, preview_text
from valuestore.values.value import Plain, Value, find_class, instance_attributes, value_types

_COPY_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Payload:
    """Stored bytes and what they are: the codec that reads them and the type they become."""

    type_name: str
    codec: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """An object hashed and serialised once: its identity, its payload and its stored canonical form."""

    value_hash: Digest
    payload: Payload
    lowered: Plain

    @property
    def preview(self) -> str:
        """Short JSON text of the value."""
        if self.payload.codec == TEXT:
            return preview_text(self.lowered)
        if self.payload.codec == BYTES:
            return preview_bytes(self.payload.data)
        return preview(self.lowered, len(self.payload.data))


class TypeRegistry:
    """Rules by class and by type name. Thread-safe: rules are only ever added."""

    def __init__(self, algorithm: str = DEFAULT_ALGORITHM) -> None:
        self.algorithm = get_algorithm(algorithm)
        self._rules: dict[type, TypeRule] = {}
        self._named: dict[str, TypeRule] = {}
        self._prefixes: dict[tuple[str, str], bytes] = {}
        for rule in BUILTIN_RULES:
            self.register(rule)

    def with_algorithm(self, algorithm: str) -> TypeRegistry:
        """This registry's rules, hashing with another algorithm; rules added later are shared."""
        if algorithm == self.algorithm.name:
            return self
        other = TypeRegistry(algorithm)
        other._rules, other._named = self._rules, self._named
        return other

    def register(self, rule: TypeRule) -> None:
        """Add the rule of a foreign class; a later rule for the same class replaces it."""
        self._rules[rule.type] = rule
        self._named[rule.type_name] = rule

    # --- identity and payload ---------------------------------------------------------------

    def encode(self, obj: object) -> Encoded:
        """Hash and serialise in one pass. Raises: NotHashableError naming the path, never guesses."""
        kind = type(obj)
        if kind is str:
            return self._encoded("builtins.str", TEXT, encode_text(obj), obj)  # type: ignore[arg-type]
        if kind is bytes:
            return self._encoded("builtins.bytes", BYTES, obj, obj)  # type: ignore[arg-type]
        type_name = PLAIN_TYPE_NAMES.get(kind)
        if type_name is not None:
            data = self._encode_plain(obj)
            if data is not None:
                return self._encoded(type_name, PLAIN, data, obj)
        return self._encode_lowered(obj, type_name)

    def hash(self, obj: object) -> Digest:
        """The value hash: digest of domain, type name and canonical bytes. Raises: NotHashableError."""
        return self.encode(obj).value_hash

    def dump(self, obj: object) -> Payload:
        """The payload that ``load`` gives an equal object back from. Raises: NotHashableError."""
        return self.encode(obj).payload

    def load(self, payload: Payload) -> Any:
        """The object. Executes nothing that the payload names and imports nothing. Raises: DecodeError."""
        return decode(payload.codec, payload.data, self)

    def preview(self, payload: Payload) -> str:
        """Short JSON text of a payload, made without its class. Raises: DecodeError."""
        if payload.codec == TEXT:
            return preview_text(decode(TEXT, payload.data, self))
        if payload.codec == BYTES:
            return preview_bytes(payload.data)
        return preview(decode_lowered(payload.codec, payload.data), len(payload.data))

    def _encode_plain(self, obj: object) -> bytes | None:
        try:
            return encode(obj)
        except (RecursionError, ValueError):
            raise NotHashableError(*explain_depth(obj)) from None
        except OverflowError:
            raise NotHashableError("the value", "one str or bytes inside it has 4 GiB or more") from None
        except RuntimeError as error:
            raise NotHashableError("the value", f"it changed while it was read ({error})") from error

    def _encode_lowered(self, obj: object, type_name: str | None) -> Encoded:
        token = active_algorithm.set(self.algorithm.name)
        try:
            hashed, stored = lower(obj, self)
        finally:
            active_algorithm.reset(token)
        if type_name is None:
            type_name = self.rule_for(type(obj)).type_name
        data = None if stored is hashed else encode_plain(stored)
        return self._encoded(type_name, TAGGED, encode_plain(hashed), stored, data)

    def _encoded(
        self, type_name: str, codec: str, identity: bytes, lowered: Plain, stored: bytes | None = None
    ) -> Encoded:
        prefix = self._prefixes.get((type_name, codec))
        if prefix is None:
            prefix = domain_tag("value") + f"{type_name}\0{codec}\0".encode()
            self._prefixes[type_name, codec] = prefix
        if len(identity) <= _COPY_MAX_BYTES:
            digest = self.algorithm.hexdigest(prefix + identity)
        else:
            hasher = self.algorithm.new()
            hasher.update(prefix)
            hasher.update(identity)
            digest = hasher.hexdigest()
        data = identity if stored is None else stored
        return Encoded(Digest(digest), Payload(type_name, codec, data), lowered)

    # --- rules ------------------------------------------------------------------------------

    def rule_for(self, cls: type, /) -> TypeRule:
        """The rule of exactly this class. Raises: Refused, saying how to add one."""
        rule = self._rules.get(cls)
        if rule is None:
            rule = family_rule(cls)
            if rule is None:
                raise Refused(_no_rule(cls))
            self._rules[cls] = rule
        return rule

    def rule_named(self, type_name: str, /) -> TypeRule:
        """The rule behind a stored type name, if this program knows the class. Raises: DecodeError."""
        cls: type | None = value_types.get(type_name)
        if cls is None:
            rule = self._named.get(type_name)
            if rule is not None:
                return rule
            cls = find_class(type_name)
        if cls is None:
            raise DecodeError(type_name, "this program has not imported such a class")
        try:
            rule = self.rule_for(cls)
        except Refused as refusal:
            raise DecodeError(type_name, str(refusal)) from None
        if rule.type_name != type_name:
            raise DecodeError(type_name, f"the name now stands for a {rule.type_name}")
        return rule

    # --- values that stand for outside state --------------------------------------------------

    def iter_values(self, obj: object) -> Iterator[Value]:
        """Every ``Value`` in the object, however deep, and the values inside each."""
        stack = [obj]
        while stack:
            current = stack.pop()
            kind = type(current)
            if isinstance(current, Value):
                yield current
                stack.extend(current.iter_subvalues())
                if type(current).identity is Value.identity:
                    stack.extend(instance_attributes(current).values())
            elif kind in (list, tuple, set, frozenset):
                stack.extend(current)  # type: ignore[arg-type]
            elif kind is dict:
                stack.extend(current.keys())  # type: ignore[attr-defined]
                stack.extend(current.values())  # type: ignore[attr-defined]
            elif kind not in PLAIN_TYPE_NAMES:
                rule = self._rules.get(kind)
                if rule is not None:
                    stack.append(rule.identity(current))

    def is_valid(self, obj: object) -> bool:
        """Whether every value inside is still true of the outside world."""
        return all(value.is_valid() for value in self.iter_values(obj))


def _no_rule(cls: type) -> str:
    name = f"{cls.__module__}.{cls.__qualname__}"
    if cls.__name__ in ("generator", "lock", "RLock", "module", "function", "method", "coroutine"):
        return f"a {cls.__name__} has no content to identify it by"
    return (
        f"no rule says what identifies a {name}; make it a dataclass or a valuestore.Value, "
        "or register a TypeRule for it"
    )


_registry = TypeRegistry()


def get_type_registry() -> TypeRegistry:
    """The registry of this process, with the default algorithm; repositories derive theirs from it."""
    return _registry

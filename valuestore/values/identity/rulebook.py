"""Rulebook: which rule an object of a class follows, and which a stored type name stands for.

Rules are registered, made for families of classes (families.py), brought in by plug-ins when an object of
their library is first met, shared by a parent, or made of an object's reduction. The registry is one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from threading import RLock
from types import ModuleType

from valuestore.errors import ConfigError, DecodeError, NotHashableError
from valuestore.lazy import renew_after_fork
from valuestore.plugins import find, is_built_in, names
from valuestore.values.codecs.signed import PICKLED
from valuestore.values.identity.builtins import BUILTIN_RULES
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.identity.families import content_rule, family_rule
from valuestore.values.identity.libraries import as_known, check_is_value, what_instead
from valuestore.values.identity.reduction import (
    check_no_file,
    reduction,
    reduction_of_value,
    takes_itself_apart,
    why_not_reducible,
)
from valuestore.values.trust.kinds import is_listed
from valuestore.values.value import find_class, type_name_of, value_types

_loading = RLock()
_being_loaded: set[str] = set()


@renew_after_fork
def _renew_lock() -> None:
    """In a child process: the thread that loaded rules at the fork stayed in the parent."""
    global _loading
    _loading = RLock()
    _being_loaded.clear()


class Rulebook:
    """Rules by class and by type name. Thread-safe: rules are only ever added."""

    def __init__(self) -> None:
        self._rules: dict[type, TypeRule] = {}
        self._named: dict[str, TypeRule] = {}
        self._asked_for: set[str] = set()
        self._ours: dict[int, TypeRule] = {}  # by id
        self._found: dict[str, tuple[ModuleType, str, TypeRule]] = {}  # by name: where the class is
        for rule in BUILTIN_RULES:
            self._register_ours(rule)

    def share_rules(self, other: Rulebook) -> None:
        """Use the rules of ``other`` from now on, those added later included."""
        self._rules, self._named, self._asked_for = other._rules, other._named, other._asked_for
        self._ours = other._ours

    def register(self, rule: TypeRule, *, aliases: Iterable[str] = ()) -> None:
        """Add the rule of a foreign class, under its ``aliases`` too; a later one for it replaces it."""
        self._rules[rule.type] = rule
        for type_name in (rule.type_name, *aliases):
            self._named[type_name] = rule

    def _register_ours(self, rule: TypeRule) -> None:
        """Add a rule of valuestore's own, unless somebody has given the class another one before."""
        self._ours[id(rule)] = rule
        self._rules.setdefault(rule.type, rule)
        self._named.setdefault(rule.type_name, rule)

    def is_ours(self, rule: TypeRule, /) -> bool:
        """Whether valuestore itself has the rule, be it for a library's class."""
        return id(rule) in self._ours

    def alias(self, type_name: str, cls: type) -> None:
        """Let what was stored as ``type_name`` come back as ``cls``. Raises: Refused if that has no rule."""
        self._named[type_name] = self.rule_for(cls)

    def rule_of(self, obj: object) -> TypeRule:
        """The rule that an object is hashed by. Raises: NotHashableError."""
        try:
            return self.rule_for(type(obj))
        except Refused as refusal:
            raise NotHashableError("value", str(refusal)) from None

    def rule_for(self, cls: type, /) -> TypeRule:
        """Its own, its family's, a plug-in's, a parent's, by content or reduction. Raises: Refused."""
        rule = self._rules.get(cls)
        if rule is None:
            rule = family_rule(cls) or self._foreign_rule(cls)
            if rule is None and (reason := why_not_reducible(cls)):
                raise Refused(reason)
            rule = rule or as_known(_unless_file(content_rule(cls)) or _reduced_rule(cls))
            rule = self._rules.setdefault(cls, rule)
        return rule

    def rule_named(self, type_name: str, /) -> TypeRule:
        """The rule behind a stored type name, if this program knows the class.

        A library is imported for the types that valuestore lists, and for no other name. Raises: DecodeError.
        """
        cls: type | None = value_types.get(type_name)
        if cls is not None:
            return self._rules.get(cls) or self._rule_of_class(cls, type_name)
        found = self._found.get(type_name)
        if found is not None:  # a class that is still where it was
            module, name, known = found
            is_there = sys.modules.get(module.__name__) is module and vars(module).get(name) is known.type
            if is_there and self._rules.get(known.type) is known:
                return known
        rule = self._named.get(type_name)
        if rule is None:
            self._load_stored_types(type_name)
            rule = self._named.get(type_name)
        if rule is not None:
            return rule
        cls = find_class(type_name)
        if cls is None:
            raise DecodeError(type_name, "this program has not imported such a class")
        rule = self._rule_of_class(cls, type_name)
        if rule.type_name != type_name:
            raise DecodeError(type_name, f"the name now stands for a {rule.type_name}")
        module_name, _, name = type_name.rpartition(".")
        home = sys.modules.get(module_name)
        if type(home) is ModuleType and vars(home).get(name) is cls:
            self._found[type_name] = home, name, rule
        return rule

    def rule_seen(self, type_name: str, /) -> TypeRule | None:
        """As ``rule_named``, but nothing is imported for a name that anybody may have written.

        None for a class of no family that is met for the first time. Raises: DecodeError.
        """
        if not (type_name in self._found or type_name in self._named or is_listed(type_name)):
            cls = value_types.get(type_name) or find_class(type_name)
            try:
                is_new = cls is not None and cls not in self._rules and not issubclass(cls, BaseException)
                if cls is not None and is_new and family_rule(cls) is None:
                    return None
            except Refused as refusal:
                raise DecodeError(type_name, str(refusal)) from None
        return self.rule_named(type_name)

    def _rule_of_class(self, cls: type, type_name: str) -> TypeRule:
        try:
            return self.rule_for(cls)
        except Refused as refusal:
            raise DecodeError(type_name, str(refusal)) from None

    def _foreign_rule(self, cls: type) -> TypeRule | None:
        """The rule that a plug-in has for this class, or that a parent shares with its subclasses."""
        for base in cls.__mro__[:-1]:
            self._load_types(str(base.__module__ or "").partition(".")[0])
        if cls in self._rules:
            return self._rules[cls]
        shared = (self._rules.get(base) for base in cls.__mro__[1:])
        rule = next((rule for rule in shared if rule is not None and rule.subclasses), None)
        if rule is None or not rule.narrow:
            return rule
        return None if what_instead(cls) or takes_itself_apart(cls, rule.type) else rule

    def _load_types(self, library: str) -> None:
        """Bring in the rules for the classes of this top-level module: asked once for each."""
        if library in self._asked_for:
            return
        # Others wait until all rules are there: a frame met meanwhile would pass for an unknown object.
        with _loading:
            if library in self._asked_for or library in _being_loaded:  # by this thread: a plug-in may ask
                return
            _being_loaded.add(library)
            try:
                is_ours = is_built_in("types", library)
                for rule in find("types", library) if is_ours or library in names("types") else ():
                    self._register_ours(rule) if is_ours else self.register(rule)
                self._asked_for.add(library)
            finally:
                _being_loaded.discard(library)

    def _load_stored_types(self, type_name: str) -> None:
        library = type_name.partition(".")[0]
        if not is_listed(type_name) and (is_built_in("types", library) or library not in sys.modules):
            return
        try:
            self._load_types(library)
        except ConfigError as error:
            raise DecodeError(type_name, str(error)) from error

    def known_rule(self, cls: type, /) -> TypeRule | None:
        """The rule of this class, or None if it has none."""
        try:
            return self.rule_for(cls)
        except Refused:
            return None


def _reduced_rule(cls: type) -> TypeRule:
    """For a class that nobody has a rule for: by its reduction; stored as a signed pickle."""
    return TypeRule(
        cls,
        type_name_of(cls),
        reduction,
        PICKLED.decode,
        codec=PICKLED,
        as_value=reduction_of_value,
        check=_check_class,
    )


def _unless_file(rule: TypeRule | None) -> TypeRule | None:
    if rule is None:
        return None
    try:
        _check_class(rule.type)
    except Refused:
        return replace(rule, check=_check_class)
    return rule


def _check_class(cls: type) -> None:
    check_no_file(cls)
    check_is_value(cls)

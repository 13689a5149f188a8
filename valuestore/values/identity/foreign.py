"""Rules for classes that are not yours, written as a class of their own: by subclassing or by decorator.

::

    class PointRule(ForeignType, type=Point, type_name="geo.Point"):
        @staticmethod
        def identity(point): return [point.x, point.y]
        @staticmethod
        def from_state(state): return Point(*state)

``@register_type(Point, type_name="geo.Point")`` does the same for a class without this base. Both end in
the registry of the process, which every repository shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from valuestore.errors import ConfigError
from valuestore.values.identity.canonical import Codec, TypeRule
from valuestore.values.registry import TypeRegistry, get_type_registry
from valuestore.values.value import Plain, type_name_of

C = TypeVar("C", bound=type)


class ForeignType:
    """How the objects of another class are identified and stored; subclassing registers the rule.

    ``identity`` and ``from_state`` are needed; ``state``, ``is_valid`` and the class options are as in
    ``TypeRule``. All are static methods: no object of this class is made.
    """

    rule: TypeRule

    def __init_subclass__(cls, *, type: type, **options: Any) -> None:  # noqa: A002  # reads well at the class
        super().__init_subclass__()
        cls.rule = register_rule_class(cls, type, **options)

    @staticmethod
    def identity(obj: Any) -> Plain:
        """What is hashed, under the type name: anything that has an identity."""
        raise NotImplementedError

    @staticmethod
    def from_state(state: Plain) -> Any:
        """The object that the state was taken from; must not execute anything that the state names."""
        raise NotImplementedError


def register_type(foreign: type, **options: Any) -> Callable[[C], C]:
    """Decorate the class that has ``identity`` and ``from_state`` for the objects of ``foreign``.

    ``type_name`` is by default module and qualified name of ``foreign``, ``aliases`` are what its objects
    were stored under before, ``registry`` is by default that of the process; others are as in ``TypeRule``.
    """

    def decorate(rule_class: C) -> C:
        register_rule_class(rule_class, foreign, **options)
        return rule_class

    return decorate


def register_rule_class(
    rule_class: Any,
    foreign: type,
    *,
    type_name: str | None = None,
    aliases: Iterable[str] = (),
    subclasses: bool = False,
    unordered: bool = False,
    codec: Codec | None = None,
    registry: TypeRegistry | None = None,
) -> TypeRule:
    """Make the rule and register it. Raises: ConfigError if something that is needed is not there."""
    asked = ForeignType if issubclass(rule_class, ForeignType) else object
    for name in ("identity", "from_state"):
        if getattr(rule_class, name, None) is getattr(asked, name, None):
            raise ConfigError(rule_class.__qualname__, f"a rule needs a static method {name!r}")
    rule = TypeRule(
        foreign,
        type_name or type_name_of(foreign),
        rule_class.identity,
        rule_class.from_state,
        state=getattr(rule_class, "state", None),
        unordered=unordered,
        codec=codec,
        is_valid=getattr(rule_class, "is_valid", None),
        subclasses=subclasses,
    )
    (registry or get_type_registry()).register(rule, aliases=aliases)
    return rule

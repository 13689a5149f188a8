"""Handle arguments: what a handle's constructor was given, bound to its parameters and free of secrets.

They are all that is stored of a handle, in rows where anyone may read them, so what looks like a credential
is refused, and so is what would change while the handle stays the same. Called by handle.py.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from valuestore.errors import ArgumentError, CredentialsInArgument, NotHashableError
from valuestore.redaction import SECRET, names_secret
from valuestore.values.payload import Encoded
from valuestore.values.registry import get_type_registry

_SECRET_TEXT = re.compile(
    rf"://[^:/@\s]*:[^@\s]+@|https?://[^/?#\s@]+@|(?:\A|[?&;\s]|\b)[\w-]*{SECRET}\s*=\s*[^\s&;]", re.I
)


@lru_cache(maxsize=1000)
def _signature(cls: type) -> inspect.Signature:
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]  # of this very class
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def bound_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by parameter, defaults applied; a private copy.

    Raises: ArgumentError if they do not fit; NotHashableError for one without identity or one that stands
    for outside state itself; CredentialsInArgument.
    """
    try:
        bound = _signature(cls).bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(cls.__qualname__, str(error)) from None
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    for parameter in _signature(cls).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments[parameter.name] = dict(sorted(arguments[parameter.name].items()))
    for name, argument in arguments.items():
        _check(cls, name, argument)
    return copy.deepcopy(arguments)


def given_again(cls: type, arguments: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as a call takes them. Raises: KeyError, TypeError if the signature has changed."""
    bound = inspect.BoundArguments(_signature(cls), dict(arguments))
    return bound.args, bound.kwargs


def _check(cls: type, name: str, argument: Any) -> None:
    where = f"{cls.__qualname__}.{name}"
    try:
        encoded = get_type_registry().encode(argument)
    except NotHashableError as error:
        path, reason = error.args
        raise NotHashableError(f"{where}{path.removeprefix('value')}", reason) from None
    if any(part.external is not None for part in _parts(encoded)):
        raise NotHashableError(
            where, "it changes while the handle is the same; pass its path or name as text"
        )
    if _holds_secret(encoded.lowered, name):
        raise CredentialsInArgument(cls.__qualname__, name)


def _parts(encoded: Encoded) -> Iterator[Encoded]:
    yield encoded
    for part in encoded.parts:
        yield from _parts(part)


def _holds_secret(plain: Any, name: str) -> bool:
    if isinstance(plain, bytes):
        plain = plain.decode("latin-1")
    if isinstance(plain, str):
        return bool(plain and (names_secret(name) or _SECRET_TEXT.search(plain)))
    if isinstance(plain, dict):
        return any(
            _holds_secret(key, "") or _holds_secret(value, key if isinstance(key, str) else name)
            for key, value in plain.items()
        )
    return isinstance(plain, list | tuple) and any(_holds_secret(item, name) for item in plain)

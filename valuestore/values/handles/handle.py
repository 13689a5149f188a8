"""Handle: outside state that a pipeline changes as it runs, such as a database.

What is kept of a handle is what its constructor was given and which calls it has been through; the thing
itself, its ``instance``, is made again where it is used. Each call that returns a handle returns the next
state of it. Which states are still current is recorded elsewhere (db/handles.py) and asked through a
``HandleJournal``, so that workers need no database.
"""

from __future__ import annotations

import copy
import inspect
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Self, TypeVar

from valuestore.errors import ArgumentError, CredentialsInArgument, HandleNotOpened, NotHashableError
from valuestore.hashing import hash_struct
from valuestore.redaction import SECRET, names_secret
from valuestore.values.handles.journal import KEY_ALGORITHM, HandleInfo, Journaled, journal
from valuestore.values.payload import Encoded
from valuestore.values.registry import get_type_registry
from valuestore.values.value import Plain

H = TypeVar("H", bound="Handle")


class Handle(Journaled):
    """Outside state by name: subclass it, and set ``self.instance`` in ``__init__(self, name, ...)``.

    Attributes that the handle has not are the instance's. ``__init__`` runs again, with the same arguments,
    in each task that uses the handle; its arguments are recorded, so credentials are refused: pass the name
    of an environment variable. ``__handle__`` tells which handle and state it is.

    Raises: ArgumentError, CredentialsInArgument, NotHashableError.
    """

    type_name = "valuestore.Handle"
    namespace: ClassVar[str] = ""
    """First part of the full name, for all handles of a class; the argument ``namespace`` overrides it."""

    _handle_opened: bool
    _handle_lock: threading.RLock

    def __new__(cls, name: str, *args: Any, **kwargs: Any) -> Self:
        if not isinstance(name, str) or not name or "\0" in name:  # type: ignore[redundant-expr]  # or else
            raise ArgumentError(cls.__qualname__, "a handle's name is a non-empty str without NUL")
        arguments = bound_arguments(cls, (name, *args), kwargs)
        given = kwargs.get("namespace")
        info = HandleInfo(name, cls.namespace if given is None else given, arguments)
        return cls._made(info, opened=True)  # __init__ is about to run

    def __init__(self, name: str, *args: Any, namespace: str | None = None, **kwargs: Any) -> None:
        """A handle of this very class has a name and a history, and no instance."""

    def at(self, key: str) -> Self:
        return self._made(self.__handle__.at(key))

    @classmethod
    def _made(cls, info: HandleInfo, *, opened: bool = False) -> Self:
        handle = object.__new__(cls)
        handle.__dict__.update(
            {"__handle__": info, "_handle_opened": opened, "_handle_lock": threading.RLock()}
        )
        return handle

    def fork(self, key: str) -> Self:
        """A branch of its own, by name: what is done to it does not count as done to the others."""
        return self._made(self.__handle__.next("fork", str(key)))

    def apply_call(self, eval_hash: str) -> Self:
        """The state after the call of that hash."""
        return self._made(self.__handle__.next("call", eval_hash))

    def preprocess(self, *, position: int) -> Self:
        """Calls of one job get branches by their position, or by the name of the fork they are given."""
        name = self.__handle__.fork_name
        return self._made(self.__handle__.next("enter", position if name is None else name))

    def postprocess(self, *, eval_hash: str) -> Self:
        """Whatever a task returns, it may have changed."""
        return self.apply_call(eval_hash)

    def identity(self) -> Plain:
        """Full name, arguments and history; nothing of the instance."""
        info = self.__handle__
        return {"name": info.fullname, "arguments": info.arguments, "key": info.key}

    def state(self) -> Plain:
        """What rebuilds it, with the steps that led here."""
        info = self.__handle__
        return {
            "name": info.name,
            "namespace": info.namespace,
            "arguments": info.arguments,
            "key": info.key,
            "kind": info.kind,
            "fork": info.fork_name,
            "anchors": list(info.anchors),
            "trail": [list(step) for step in info.trail],
        }

    @classmethod
    def from_state(cls, state: Plain) -> Self:
        """The handle as it was recorded; ``__init__`` runs when something of it is first used."""
        anchors = tuple(state["anchors"])
        trail = tuple((before, after) for before, after in state["trail"])
        parts = ("name", "namespace", "arguments", "key", "kind", "fork")
        name, namespace, arguments, key, kind, fork = (state[part] for part in parts)
        texts = (name, namespace, key, kind, *anchors, *sum(trail, ()))
        if not all(isinstance(text, str) for text in texts) or not isinstance(arguments, dict):
            raise ValueError("a handle's state is made of text")
        return cls._made(HandleInfo(name, namespace, arguments, key, kind, fork, anchors, trail))

    def is_valid(self) -> bool:
        """Whether no task has been given an earlier state since; False where there is nobody to ask."""
        return not self.__handle__.anchors or journal().is_valid(self)

    def external(self) -> str:
        return self.__handle__.fullname

    @classmethod
    def parse_arg(cls, text: str) -> Self:
        """The handle of that name, if its class needs no more. Raises: ValueError."""
        try:
            return cls(text)
        except ArgumentError as error:
            raise ValueError(f"{cls.__qualname__} takes more than a name: {error.args[1]}") from None

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.identity() == self.identity()

    def __hash__(self) -> int:
        return hash((type(self), self.__handle__.fullname, self.__handle__.key))

    def __repr__(self) -> str:
        info = self.__dict__.get("__handle__")
        if info is None:
            return f"<{type(self).__name__}, half made>"
        return f"<{type(self).__name__} {info.fullname} at {info.key[:8] or 'its beginning'}>"

    def __getattr__(self, name: str) -> Any:
        """An attribute of the instance, which is made if it is not there yet. Special methods are not."""
        own = self.__dict__
        if (name.startswith("__") and name.endswith("__")) or "__handle__" not in own:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._open()
        if name in own:
            return own[name]
        if "instance" not in own:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}, and no instance")
        return getattr(own["instance"], name)

    def _open(self) -> None:
        """Run ``__init__`` once; threads wait for it, and while it runs it sees what it has set so far."""
        with self.__dict__["_handle_lock"]:
            if self.__dict__["_handle_opened"]:
                return
            self.__dict__["_handle_opened"] = True
            try:
                args, kwargs = given_again(type(self), self.__handle__.arguments)
                type(self).__init__(self, *args, **kwargs)
            except BaseException as error:
                self.__dict__["_handle_opened"] = False
                if isinstance(error, AttributeError):  # would pass for a missing attribute
                    raise HandleNotOpened(self.__handle__.fullname, repr(error)) from error
                raise


def merged(handles: Iterable[H]) -> H:
    """The state after all of these, in any order. Raises: ArgumentError for none or for several handles."""
    states = list(handles)
    if not states or not all(isinstance(state, Handle) for state in states):
        raise ArgumentError("merge_handles", "it takes a list of handles, and at least one")
    infos = [state.__handle__ for state in states]
    first = infos[0]
    for state, info in zip(states, infos, strict=True):
        if type(state) is not type(states[0]) or info.fullname != first.fullname:
            raise ArgumentError("merge_handles", f"{states[0]!r} and {state!r} are different handles")
        if info.arguments != first.arguments:
            raise ArgumentError("merge_handles", f"the arguments of {info.fullname} differ")
    keys = sorted({info.key for info in infos})
    if len(keys) == 1:
        return states[0]
    key = hash_struct([keys, "merge"], "handle", algorithm=KEY_ALGORITHM)
    steps = [step for info in infos for step in info.steps] + [(before, key) for before in keys]
    anchors = tuple(sorted({anchor for info in infos for anchor in info.anchors}))
    trail = tuple(dict.fromkeys(steps))
    return states[0]._made(
        replace(first, key=key, kind="merge", fork_name=None, anchors=anchors, trail=trail)
    )


# --- Arguments: what a constructor was given, bound to its parameters and free of secrets.
#
# They are all that is stored of a handle, in rows where anyone may read them, so what looks like a credential
# is refused, and so is what would change while the handle stays the same.


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

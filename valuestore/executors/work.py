"""Work: a task's body on its way to another process, and there. What it gives comes home by home.py.

Arguments travel as refs: small ones with their bytes, large ones as what the payload store has. The task
travels by its name, and as it is where no name leads to it (a script, a notebook). A worker opens the
payload store, and no database. Whatever goes wrong comes home as a result or as an error that says so.
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import lru_cache, partial
from importlib.machinery import ModuleSpec
from threading import Lock
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from valuestore.errors import NotHashableError, StoreError, WorkerMismatch
from valuestore.executors.home import packed
from valuestore.executors.threads import call_in_time
from valuestore.executors.worker import run_body
from valuestore.hashing import Digest
from valuestore.lazy import this_process
from valuestore.stores.content.marker import PROBE
from valuestore.stores.content.store import ContentStore
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.code.function import code_dependencies
from valuestore.values.code.members import Version
from valuestore.values.code.ownership import is_own
from valuestore.values.code.reads import leave_unsaid
from valuestore.values.codecs.signed import Signer, user_keys
from valuestore.values.registry import TypeRegistry, get_type_registry
from valuestore.values.trust.sending import dump_sent, load_sent, stands_for_main
from valuestore.values.value import Value, enter, is_task, module_name_of
from valuestore.version import __version__


class Place(NamedTuple):
    """What a worker has to know of the program that sends it work, to do as that would."""

    payloads: Any
    inline_max_bytes: int
    repository_id: str
    trusted: tuple[str, ...]
    probe: Digest | None
    version: tuple[str, str]
    main: tuple[str, str | None]
    paths: tuple[str, ...]
    process: str
    folder: str


class Work(NamedTuple):
    """One call of a task's body. ``code`` is what ``Sender.code`` gives, ``place`` a ``Place``.

    ``options`` are for the executor: ``cpus``, ``memory`` in bytes, ``resources``; ``reloads`` is what
    ``count_reloads`` gives. After ``timeout_seconds`` the worker gives the body up, if nobody else does.
    """

    task: str
    code: bytes
    place: bytes
    arguments: tuple[tuple[str, tuple[Any, ...]], ...]
    given: tuple[str, ...]
    told: bytes
    watched: tuple[str, ...]
    eval_hash: str
    capture: bool
    version: Version
    options: Mapping[str, Any]
    reloads: int
    timeout_seconds: float | None = None


# --- here: what is sent


class Sender:
    """What the bodies of one run are sent with; what is the same for many is made once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._place: bytes | None = None
        self._codes: dict[tuple[int, ...], tuple[object, bytes]] = {}
        self.reloads = count_reloads()

    def place(self) -> bytes:
        """What workers open. Raises: NotSendable if the payloads are where no other process can be."""
        if self._place is None:
            registry, payloads = self._archive.registry, self._archive.payloads
            probe = None
            with suppress(StoreError):  # one that is only read
                probe = payloads.put(PROBE).digest
                payloads.flush()
            signer = registry.signer
            main = sys.modules["__main__"]
            self._place = dump_sent(
                Place(
                    payloads,
                    self._archive.inline_max_bytes,
                    "" if signer is None else signer.repository_id,
                    tuple(registry.trusted),
                    probe,
                    _versions(),
                    (module_name_of("__main__"), getattr(main, "__file__", None)),
                    _own_paths(),
                    this_process(),
                    os.getcwd(),
                )
            )
        return self._place

    def code(self, task: Any, task_hash: str, parts: Iterable[object]) -> bytes:
        """A task and code that it is given, and what tells if a worker has the same. Raises: NotSendable."""
        sent = [task, *parts]
        key = tuple(map(id, sent))
        if key not in self._codes:
            told = task_hash, _hash_of(sent[1:], self._archive.registry)
            self._codes[key] = sent, dump_sent((told, sent), has_code=True)
        return self._codes[key][1]


def _hash_of(parts: Sequence[Any], registry: TypeRegistry) -> str:
    """What the user's own of these are by their code; empty if nobody can tell.

    Not of ``__main__``, whose parts travel as they are.
    """
    code = [one for one in parts if isinstance(one, type | FunctionType) and one.__module__ != "__main__"]
    tasks = [one for one in parts if is_task(one) and one.has_name]
    try:
        found = code_dependencies(*filter(lambda one: is_own(one.__module__), code), registry=registry)
        told = [[one.name, one.digest] for one in found] + [[one.name, one.hash(registry)] for one in tasks]
        return registry.hash(sorted(told)) if told else ""
    except NotHashableError:
        return ""


_specs: dict[str, object] = {}
_reloads = [0]


def count_reloads() -> int:
    """How often modules of the user's own were loaded again: who has loaded them before has other code."""
    modules = [*sys.modules.items()]
    found = {name: getattr(module, "__spec__", None) for name, module in modules if is_own(name)}
    _reloads[0] += any(name in _specs and _specs[name] is not spec for name, spec in found.items())
    _specs.update(found)
    return _reloads[0]


def as_sent(ref: ValueRef) -> tuple[Any, ...]:
    """What a worker has to know of a value to read it."""
    return ref.value_hash, ref.type_name, ref.codec, ref.payload_digest, ref.size, ref.inline, ref.signature


def submit(executor: Executor, work: Work) -> Future[bytes]:
    """Give it to an executor: with its options, if that takes some."""
    submit_work: Callable[[Work], Future[bytes]] | None = getattr(executor, "submit_work", None)
    return executor.submit(run_work, work) if submit_work is None else submit_work(work)


def _own_paths() -> tuple[str, ...]:
    """Where this program's modules are found, beside those that are installed."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths = (os.path.abspath(path) for path in sys.path)
    return tuple(path for path in paths if path not in installed and os.path.isdir(path))


def _versions() -> tuple[str, str]:
    return f"Python {sys.version_info.major}.{sys.version_info.minor}", f"valuestore {__version__}"


# --- there: a worker


def run_work(work: Work) -> bytes:
    """Run a body where the work has come to, and pack what it gave. Raises: ValuestoreError."""
    place, archive = _opened(work.place)
    is_away = place.process != this_process()
    if is_away:
        leave_unsaid()
        if place.folder != os.getcwd() and os.path.isdir(place.folder):
            os.chdir(place.folder)  # relative paths are relative to where the pipeline runs
    task = _task(work, archive, place if is_away else None)
    values: dict[str, Any] = {name: archive.unpack(_ref(*ref)) for name, ref in work.arguments}
    watched = [values[name] for name in work.watched]
    if work.told:
        values |= load_sent(work.told)
    args, kwargs = task.call_arguments(values, work.given)
    call = partial(
        run_body, task.body, args, kwargs, archive, watched, work.eval_hash, work.capture, work.version
    )
    if work.timeout_seconds is None:
        return packed(call())
    return packed(call_in_time(call, work.task, work.timeout_seconds))


def run_work_quietly(work: Work) -> bytes | BaseException:
    """As ``run_work``, for workers that would log what that raises, and end at a ``sys.exit``."""
    try:
        return run_work(work)
    except BaseException as error:  # noqa: BLE001  # the sender's to handle
        return error


def _ref(
    value_hash: Digest, type_name: str, codec: str, digest: Digest, size: int, inline: bytes, signature: Any
) -> ValueRef:
    return ValueRef(value_hash, type_name, codec, digest, size, inline, "", None, signature)


_OPENING = Lock()


def _opened(place: bytes) -> tuple[Place, Archive]:
    with _OPENING:  # or each thread of a worker would open its own
        return _open(place)


@lru_cache(maxsize=16)
def _open(place: bytes) -> tuple[Place, Archive]:
    """The payloads that the work's program has. Raises: WorkerMismatch."""
    found: Place = load_sent(place)
    here = platform.node()
    for theirs, own in zip(found.version, _versions(), strict=True):
        if theirs != own:
            raise WorkerMismatch(here, f"has {own}, and the pipeline {theirs}", "install the same on both")
    sys.path += [path for path in found.paths if path not in sys.path and os.path.isdir(path)]
    payloads: ContentStore = found.payloads
    if found.probe is not None and not payloads.has_many({found.probe}):
        problem = f"does not find the payloads at {payloads.url}"
        raise WorkerMismatch(
            here, problem, "keep them where all workers read and write: a shared disk, S3, Redis"
        )
    signer = Signer(found.repository_id, lru_cache(user_keys))
    registry = get_type_registry().bound(payloads.algorithm, signer, found.trusted)
    return found, Archive(registry, payloads, found.inline_max_bytes)


_tasks: dict[bytes, Any] = {}
"""By what was sent: tasks of this worker that are what they are for the sender."""


def _task(work: Work, archive: Archive, place: Place | None) -> Any:
    task = _tasks.get(work.code)
    if task is None:
        if place is not None:
            _stand_in(place.main)
        (task_hash, code_hash), (task, *parts) = _loaded(work)
        if place is not None:
            _put_into_main([task, *parts])
        registry = archive.registry
        is_same = not task.has_name or task.hash(registry) == task_hash
        if not is_same or _hash_of(parts, registry) != code_hash:
            problem = f"has other code of the task {work.task}, of classes that it is given, or other globals"
            raise WorkerMismatch(platform.node(), problem, _SAME_CODE)
        if len(_tasks) > 1000:
            _tasks.clear()
        _tasks[work.code] = task
    return task


_SAME_CODE = "install the same there and start it anew; it sees no globals that the program changed"


def _loaded(work: Work) -> Any:
    try:
        return load_sent(work.code)
    except Exception as error:
        problem = f"cannot import the task {work.task} ({type(error).__name__}: {error})"
        advice = "install the pipeline's package there, or share its folder"
        raise WorkerMismatch(platform.node(), problem, advice) from error


def _stand_in(main: tuple[str, str | None]) -> None:
    """Have ``__main__`` be that of the program that sends work: by its name and file, nothing of it run."""
    name, file = main
    stands_for_main[:] = [True]
    known = sys.modules.get("__main__")
    if getattr(known, "__file__", None) == file and module_name_of("__main__") == name:
        return
    standing = ModuleType("__main__")
    if file is not None:
        standing.__file__ = file
    if name not in ("__main__", os.path.splitext(os.path.basename(file or ""))[0]):
        standing.__spec__ = ModuleSpec(name, None)
    _kept.append(known)
    sys.modules["__main__"] = standing


_kept: list[Any] = []
"""The worker's own ``__main__``: its functions still run."""


def _put_into_main(parts: Sequence[Any]) -> None:
    """Where names lead to what travelled as it is; the globals of its functions are there."""
    main = vars(sys.modules["__main__"])
    for part in parts:
        name = getattr(part, "__qualname__", ".")
        is_of_function = is_task(part) and isinstance(main.get(name), FunctionType)  # control.as_task
        if getattr(part, "__module__", "") == "__main__" and "." not in name and not is_of_function:
            main[name] = part
    for part in (*parts, *main.values()):
        if isinstance(part, type) and issubclass(part, Value) and part.__module__ == "__main__":
            enter(part)

"""Every error that leaves a layer, as one tree.

::

    ValuestoreError
    |- ConfigError                  a setting that is unknown or does not parse
    |- StoreError                   the bytes could not be read or written as asked
    |  |- NotFound                  (KeyError, FileNotFoundError) nothing at this key
    |  |- AlreadyExists             (FileExistsError) the key is taken and overwrite is off
    |  |- VersionConflict           the name is at another version than was expected
    |  |- BadKey                    (ValueError) the key breaks the one key rule
    |  |- BadReference              (ValueError) a URL that no store answers to
    |  |- TooLarge                  (ValueError) over a limit; names the setting
    |  |- NotSupported              (NotImplementedError) this store cannot do that
    |  |- SizeMismatch              (ValueError) the stream is not as long as declared
    |  |- StoreClosed               used after close()
    |  |- StoreReadOnly             (PermissionError) writes are refused here
    |  |- StoreUnavailable          (ConnectionError) no answer in time, no permission, disk error
    |  |  `- CredentialsRejected    (PermissionError) wrong, expired or missing; another try will not help
    |  |- BundleRefused             (ValueError) a file of records is no such file, or not whole
    |  `- KeyUnusable               (PermissionError) the key that signs cannot be read, made or trusted
    |- PayloadError                 a stored value cannot be given back
    |  |- PayloadMissing            (KeyError) the bytes are gone
    |  |- PayloadCorrupt            the bytes do not hash to their address
    |  |- DecodeError               (ValueError) the bytes are whole, but not a value of this program
    |  |- MissingFunctionError      (LookupError) a stored function is called that is gone or has changed
    |  `- UntrustedPayload          reading it would execute data nobody vouched for
    |- NotHashableError             (TypeError) no certain identity; names the path inside the object
    |  |- MisplacedCall             a call inside an object that is not looked into
    |- DatabaseError                the metadata database
    |  |- DatabaseBusy              locked by somebody for longer than the timeout
    |  |- DatabaseUnavailable       (ConnectionError) no answer from its server
    |  |- DatabaseDamaged           not readable as a database
    |  |- DatabaseFull              its disk or quota is
    |  |- NotARepository            a database or folder of somebody else
    |  |- SchemaTooNew              written by a newer valuestore; nothing was changed
    |  `- SchemaTooOld              needs ``valuestore db upgrade``
    |- CollectionRefused            nothing was collected, since something might have been lost by it
    |- QueryError                   (ValueError) a question to the history that cannot be asked like this
    |  |- RecordNotFound            (LookupError) no record is meant by that id, name or path
    |  `- AmbiguousId               (LookupError) more than one record is; lists them
    |- TagError                     (TypeError, ValueError) a tag that is malformed or over a limit
    |- TableError                   (ValueError) a row, index or interval that a table cannot take
    |  `- CodecError                an attribute that has no bytes, or bytes that are no row
    `- TaskError
       |- TaskNotFound              (LookupError) no task of that name
       |- ArgumentError             (TypeError, ValueError) arguments that do not fit the task
       |- LazyValueError            (TypeError) a call's result was used before it ran
       |- NotUnpackable             (TypeError, ValueError) a result does not come apart like that
       |- WorkerLost                the worker that ran a body is gone
       |- WorkerMismatch            a worker cannot do what it is asked
       |- NotSendable               (TypeError) a task, or what it gave, cannot go to or from a worker
       |- EndlessCall               (RecursionError) a call waits for its own result
       |- ContextError              (LookupError) the context does not have a key
       |- TaskTimeout               (TimeoutError) a body took longer than it may
       |- CredentialsInArgument     (ValueError) a handle was given what must not be recorded
       |- HandleNotOpened           its constructor failed where it was used
       |- StaleHandle               a state that was rolled back is passed to a task
       `- ScriptFailed              a shell command ended badly; nothing of it was kept

Facts go to ``super().__init__``; the sentence is made in ``__str__``, so errors survive pickling to
and from workers. Each sentence says what happened, to what, and what to do next.
"""

from __future__ import annotations


class ValuestoreError(Exception):
    """Root of all errors of this library. ``args`` holds the facts, ``str()`` the sentence."""

    sentence = ""
    """A format of the facts, by their numbers. Where it takes more than that, ``__str__`` is overridden."""

    def __str__(self) -> str:
        return self.sentence.format(*self.args) if self.sentence else " ".join(map(str, self.args))


class _About(Exception):
    """Two facts: what it is about, and a problem or the like."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(what, problem)


class ConfigError(_About, ValuestoreError):
    """A setting is unknown, misspelt or does not parse. Facts: setting, problem."""

    sentence = "setting {0!r}: {1}"


class ValuestoreWarning(UserWarning):
    """Something was not kept, or not used, and the reason; the run goes on."""


class UndeclaredReadWarning(ValuestoreWarning):
    """A task depends on what neither its arguments nor its code tell: if that changes, it does not run."""


UndeclaredRead = UndeclaredReadWarning  # Python prints the class's own name, which says what it is


def is_foreign(error: BaseException) -> bool:
    """Whether it comes from the code of others, and is no interrupt: a border makes it one of ours."""
    return not isinstance(error, ValuestoreError | KeyboardInterrupt | SystemExit | GeneratorExit)


# --- stores -------------------------------------------------------------------------------------


class StoreError(ValuestoreError):
    """Base of what a ``Store`` raises. Facts: free text, or those of the subclass."""


class NotFound(StoreError, KeyError, FileNotFoundError):
    """Nothing is kept under this key. Facts: key, where it was looked for."""

    def __init__(self, key: str, where: str = "the store") -> None:
        super().__init__(key, where)

    sentence = "{1} holds nothing under {0!r}"


class AlreadyExists(StoreError, FileExistsError):
    """The key is taken and ``overwrite`` is false. Facts: key, where."""

    def __init__(self, key: str, where: str = "the store") -> None:
        super().__init__(key, where)

    sentence = "{1} already holds a value under {0!r}; pass overwrite=True to replace it"


class VersionConflict(StoreError):
    """The name is at another version than expected. Facts: name, expected version, found (0: not there)."""

    def __init__(self, name: str, expected: int, found: int) -> None:
        super().__init__(name, expected, found)

    def __str__(self) -> str:
        name, expected, found = self.args
        there = f"is at version {found}" if found else "is not there"
        wanted = f"at version {expected}" if expected else "not there"
        return f"{name!r} {there}, and was to be {wanted}; read it again, and decide"


class BadKey(StoreError, ValueError):
    """The key breaks the key rule (see ``stores.base.check_key``). Facts: key, broken rule."""

    def __init__(self, key: object, rule: str) -> None:
        super().__init__(key, rule)

    def __str__(self) -> str:
        shown = repr(self.args[0])
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return f"bad key {shown}: {self.args[1]}"


class BadReference(_About, StoreError, ValueError):
    """No store answers to this URL. Facts: URL without credentials, problem."""

    sentence = "cannot open {0!r}: {1}"


class TooLarge(StoreError, ValueError):
    """Over a limit, refused before a byte moved. Facts: key, size, limit (bytes), setting, if any."""

    def __init__(self, key: str, size: int, limit: int, setting: str) -> None:
        super().__init__(key, size, limit, setting)

    def __str__(self) -> str:
        key, size, limit, setting = self.args
        remedy = f"raise {setting}, or use another store" if setting else "keep less, or use another store"
        return f"{key!r} has {size} bytes, over the limit of {limit}; {remedy}"


class NotSupported(StoreError, NotImplementedError):
    """This store cannot do that. Facts: store, operation, what to use instead."""

    def __init__(self, store: str, operation: str, instead: str = "") -> None:
        super().__init__(store, operation, instead)

    def __str__(self) -> str:
        store, operation, instead = self.args
        return f"{store} does not support {operation}" + (f"; {instead}" if instead else "")


class SizeMismatch(StoreError, ValueError):
    """The stream is shorter or longer than declared; nothing was stored. Facts: key, declared, got."""

    def __init__(self, key: str, declared: int, got: int) -> None:
        super().__init__(key, declared, got)

    sentence = "{0!r} was declared with {1} bytes, but its stream gave {2}; nothing was stored"


class StoreClosed(StoreError):
    """Used after ``close()``. Facts: store."""

    def __init__(self, store: str) -> None:
        super().__init__(store)

    sentence = "{0} is closed"


class StoreReadOnly(_About, StoreError, PermissionError):
    """Writes are refused here. Facts: place, reason."""

    sentence = "cannot write to {0}: {1}; make it writable or choose another location"


class StoreUnavailable(_About, StoreError, ConnectionError):
    """No answer in time, no permission, or an I/O error: not the same as absence. Facts: place, reason.

    And, where the store that raises it knows: ``operation``, the verb that failed; its ``key`` and ``size``
    in bytes; ``cause``, the class of what the system or a client raised.
    """

    operation = key = cause = ""
    size: int | None = None

    def __str__(self) -> str:
        return f"{self.args[0]} is unavailable: {self.args[1]}{self._told()}"

    def _told(self) -> str:
        size = "" if self.size is None else f", {self.size} bytes"
        return f" ({self.operation} {self.key!r}{size})" if self.key else ""


class CredentialsRejected(StoreUnavailable, PermissionError):
    """The credentials are wrong, expired or missing. Facts: place, reason without the credentials."""

    def __str__(self) -> str:
        place, reason = self.args
        remedy = "renew them, or see where it looks for them"
        return f"{place} rejected the credentials ({reason}); {remedy}{self._told()}"


class KeyUnusable(_About, StoreError, PermissionError):
    """The key that signs pickled values cannot be read, made or trusted. Facts: file, problem and remedy."""

    sentence = "signing key {0}: {1}"


class BundleRefused(StoreError, ValueError):
    """A bundle is damaged, cut, newer, or made to harm. Facts: file, number of the record, problem."""

    def __init__(self, file: str, record: int, problem: str) -> None:
        super().__init__(file, record, problem)

    sentence = "{0} was not imported: record {1}: {2}; export it again"


# --- payloads and identity ----------------------------------------------------------------------


class PayloadError(ValuestoreError):
    """A stored value cannot be given back. The scheduler sees a miss and recomputes."""


class PayloadMissing(_About, PayloadError, KeyError):
    """The bytes are gone from the payload store. Facts: payload digest, store."""

    sentence = "payload {0} is missing from {1}; run the pipeline again to restore it"


class PayloadCorrupt(PayloadError):
    """The bytes do not hash to their address. Facts: payload digest, store, what was found."""

    def __init__(self, digest: str, store: str, found: str) -> None:
        super().__init__(digest, store, found)

    sentence = "payload {0} in {1} is damaged ({2}); run the pipeline again to restore it"


class DecodeError(_About, PayloadError, ValueError):
    """The bytes are whole but cannot become a value here. Facts: type name or codec, reason."""

    sentence = "cannot decode a value of type {0}: {1}"


class MissingFunctionError(_About, PayloadError, LookupError):
    """A stored function was called that is gone, or other than it was. Facts: its name, reason."""

    sentence = "cannot call {0}: {1}; import its module, or run the pipeline again"


class UntrustedPayload(PayloadError):
    """Reading it would execute data that nobody vouched for. Facts: value hash, codec, fix."""

    def __init__(self, value_hash: str, codec: str, fix: str) -> None:
        super().__init__(value_hash, codec, fix)

    sentence = "value {0} was not loaded: its codec {1} can hold what executes code; {2}"


class NotHashableError(_About, ValuestoreError, TypeError):
    """No certain identity, so no guess. Facts: path inside the object, reason."""

    sentence = "cannot hash {0}: {1}"


class MisplacedCall(NotHashableError):
    """A call inside an object that is not looked into, so nothing would evaluate it. Facts: path, call."""

    sentence = (
        "{0} holds the call {1}, which cannot be evaluated there: calls are evaluated in Python's "
        "containers, named tuples and the fields of dataclass, attrs and pydantic objects; let a task make "
        "the object from the call's result"
    )


# --- the metadata database ----------------------------------------------------------------------


class DatabaseError(_About, ValuestoreError):
    """The metadata database failed. Facts: database, reason."""

    sentence = "{0}: {1}"


class DatabaseBusy(DatabaseError):
    """In use by others for longer than the timeout. Facts: database, reason, seconds waited, process ids."""

    def __init__(
        self, database: str, reason: str, waited_seconds: float = 0.0, pids: tuple[int, ...] = ()
    ) -> None:
        super(_About, self).__init__(database, reason, waited_seconds, tuple(pids))

    def __str__(self) -> str:
        database, reason, waited, pids = self.args
        by = f" by process {', '.join(map(str, pids))}" if pids else ""
        after = f" for over {waited:g} s" if waited else ""
        return f"{database}: {reason}{by}{after}; wait for it to end, or raise busy_timeout_seconds"


class DatabaseUnavailable(DatabaseError, ConnectionError):
    """The server gave no answer, hung up or asked for another try. Facts: database, reason."""

    sentence = "{0} is unavailable: {1}; what was not written is kept and tried again"


class DatabaseDamaged(DatabaseError):
    """The file is no readable database. Facts: database, reason."""

    sentence = "{0} is damaged: {1}; restore a copy, or move it away to start anew"


class DatabaseFull(DatabaseError):
    """Its disk or its quota is full. Facts: database, reason."""

    sentence = "{0}: {1}; make room: what was not written is kept and tried again"


class NotARepository(DatabaseError):
    """It belongs to something else, and was not touched. Facts: place, what was found."""

    sentence = "{0} is not a valuestore repository: {1}; choose another location"


class SchemaTooNew(DatabaseError):
    """Written by a newer valuestore; nothing was changed. Facts: database, its revision."""

    sentence = (
        "{0} has schema revision {1}, which this valuestore does not know; upgrade valuestore (`pip "
        "install -U valuestore`)"
    )


class SchemaTooOld(DatabaseError):
    """Needs an upgrade first. Facts: database, its revision."""

    sentence = "{0} has schema revision {1}; run `valuestore db upgrade`"


# --- history ------------------------------------------------------------------------------------


class CollectionRefused(_About, ValuestoreError):
    """A collection cannot go on, or may delete what is needed. Facts: repository, problem."""

    sentence = "nothing more is collected of {0}: {1}"


class QueryError(_About, ValuestoreError, ValueError):
    """A question to the history that cannot be asked like this. Facts: filter or name, problem."""

    sentence = "{0}: {1}"


class RecordNotFound(QueryError, LookupError):
    """No record is meant by that name. Facts: name, what was looked for."""

    def __str__(self) -> str:
        name, looked_for = self.args
        first = looked_for.partition(" or ")[0]
        is_kind = first in ("job", "call", "task", "value", "file", "tag")
        hint = f"`valuestore log {first}s` shows some" if is_kind else "`valuestore log` shows some"
        if "with a result" in looked_for:
            hint = f"`valuestore show {name}` tells why"
        elif str(name).startswith("catalog:"):
            hint = "`valuestore catalog ls` shows the names"
        return f"{name!r} stands for no {looked_for}; {hint}"


class AmbiguousId(QueryError, LookupError):
    """More than one record is meant. Facts: name, texts of kind and id (the first of them)."""

    def __init__(self, name: str, matches: tuple[str, ...]) -> None:
        super().__init__(name, matches)  # type: ignore[arg-type]  # the facts differ from the parent's

    def __str__(self) -> str:
        name, matches = self.args
        return (
            f"{name!r} may be {len(matches)} records or more; give the whole name or id: {', '.join(matches)}"
        )


class TagError(ValuestoreError, TypeError, ValueError):
    """A tag that is malformed or over a limit; nothing was changed. Facts: key, problem."""

    def __init__(self, key: object, problem: str) -> None:
        super().__init__(key, problem)

    def __str__(self) -> str:
        shown = repr(self.args[0])
        return f"tag {shown if len(shown) <= 80 else shown[:77] + '...'}: {self.args[1]}"


class TableError(_About, ValuestoreError, ValueError):
    """A row, key, index or interval that a table cannot take; nothing was changed. Facts: which, problem."""

    sentence = "{0}: {1}"


class CodecError(TableError):
    """A codec cannot take the value, or the bytes are not of this schema. Facts: codec or table, problem."""


# --- tasks --------------------------------------------------------------------------------------


class TaskError(ValuestoreError):
    """A task or call that cannot be used as asked."""


class TaskNotFound(TaskError, LookupError):
    """No task of that name is defined. Facts: name, names that are."""

    def __init__(self, name: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(name, tuple(known))

    def __str__(self) -> str:
        name, known = self.args
        if not known:
            return f"no task named {name!r}: import the module that defines it"
        return f"no task named {name!r}; there are: {', '.join(known)}"


class ArgumentError(_About, TaskError, TypeError, ValueError):
    """Arguments that do not fit the task's signature. Facts: task, problem."""

    sentence = "task {0}: {1}"


class LazyValueError(_About, TaskError, TypeError):
    """A call's result was used before the call ran. Facts: expression, use."""

    sentence = "{0} has not run yet, so it has no {1}; pass it to another task, which gets the finished value"


class NotUnpackable(TaskError, TypeError, ValueError):
    """A result was taken apart, as in ``a, b = call``, and does not fit. Facts: parts, what it is instead."""

    def __init__(self, count: int, found: str) -> None:
        super().__init__(count, found)

    sentence = (
        "a result was taken apart into {0}, and {1}; give the task the nout=, or the annotation, that its "
        "result has"
    )


class ContextError(TaskError, LookupError):
    """A key that the context does not have. Facts: key, names that it has."""

    def __init__(self, key: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(key, tuple(known))

    def __str__(self) -> str:
        key, known = self.args
        has = f"it has {', '.join(known)}" if known else "it is empty"
        return f"the context has no {key!r}, and get_context no default for it; {has}"


class TaskTimeout(TaskError, TimeoutError):
    """A body took longer than its task's ``timeout_seconds``. Facts: task, seconds."""

    def __init__(self, task: str, seconds: float) -> None:
        super().__init__(task, seconds)

    sentence = "{0} took more than {1:g} s, and was given up"


class WorkerLost(TaskError):
    """The worker that ran a body is gone. Facts: what became of it."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)

    sentence = "the worker that ran it is gone: {0}"


class WorkerMismatch(TaskError):
    """A worker cannot do what it is asked. Facts: the host, how it differs from this process, what to do."""

    def __init__(self, host: str, problem: str, advice: str) -> None:
        super().__init__(host, problem, advice)

    sentence = "the worker on {0} {1}; {2}"


class NotSendable(TaskError, TypeError):
    """A task, or what it gave, cannot be sent to or from a worker. Facts: the reason."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)

    sentence = "it cannot be sent between processes: {0}"


class EndlessCall(TaskError, RecursionError):
    """A call waits for its own result. Facts: the call."""

    def __init__(self, call: str) -> None:
        super().__init__(call)

    sentence = "a call waits for its own result: {0}; its body returns the very call that it is of"


class CredentialsInArgument(_About, TaskError, ValueError):
    """A handle's arguments are recorded, and one looks like a secret. Facts: class, parameter."""

    sentence = (
        "{0} was given a credential as {1!r}, which would be recorded; pass the name of an environment "
        "variable and read it in __init__"
    )


class HandleNotOpened(_About, TaskError):
    """The constructor of a handle failed where it was used. Facts: handle, what it raised."""

    sentence = "handle {0} cannot be opened: its __init__ raised {1}"


class StaleHandle(TaskError):
    """A state of a handle is no more, or somebody is changing it. Facts: handle, task, problem."""

    def __init__(self, handle: str, task: str, problem: str) -> None:
        super().__init__(handle, task, problem)

    sentence = "task {1} cannot work on handle {0}: {2}"


class ScriptFailed(TaskError):
    """A shell command ended badly; its outputs are as they were. Facts: command, problem, end of stderr."""

    def __init__(self, command: str, problem: str, stderr: str = "", exit_code: int | None = None) -> None:
        super().__init__(command, problem, stderr, exit_code)

    @property
    def exit_code(self) -> int | None:
        """What the command ended with, negative for a signal; None if it was stopped or gave no output."""
        code: int | None = self.args[3]
        return code

    @property
    def stderr(self) -> str:
        """The end of what it wrote to stderr."""
        return str(self.args[2])

    def __str__(self) -> str:
        command, problem, stderr, _ = self.args
        return f"script {command!r}: {problem}" + (f"; stderr ends with:\n{stderr}" if stderr else "")

"""Who can write rows and payloads, without a key, runs nothing in who reads them (I9, I10; T1-T5, T7, T8)."""

from __future__ import annotations

import dataclasses
import enum
import functools
import gc
import os
import subprocess
import sys
from collections import namedtuple
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic
import pytest

from valuestore import Handle, Repository, Scheduler, Value, task
from valuestore.db.schema import tables as schema
from valuestore.errors import DecodeError, PayloadError, UntrustedPayload, ValuestoreWarning
from valuestore.hashing import encode_plain, hash_bytes
from valuestore.values import TypeRule, get_type_registry
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import SIGNED
from valuestore.values.identity.canonical import NODE
from valuestore.values.trust.gate import encode_envelope

RAN: list[str] = []


def node(type_name: str, state: Any) -> tuple[str, str, Any]:
    return (NODE, type_name, state)


def builtin(name: str) -> Any:
    return node("builtins.builtin_function", [name])


def own(name: str) -> str:
    return f"{__name__}.{name}"


class Finalized:
    def __del__(self) -> None:
        RAN.append("del")


@dataclasses.dataclass
class DataFinalized:
    x: Any = 0

    def __del__(self) -> None:
        RAN.append("data del")


@dataclasses.dataclass
class DataWithState:
    x: Any = 0

    def __setstate__(self, state: Any) -> None:
        RAN.append("setstate")


@dataclasses.dataclass(eq=False)
class DataWithHash:
    x: Any = 0

    def __hash__(self) -> int:
        RAN.append("hash")
        return 1

    def __eq__(self, other: object) -> bool:
        RAN.append("eq")
        return True


@dataclasses.dataclass
class DataWithInit:
    x: dataclasses.InitVar[Any] = 0
    y: Any = 0

    def __post_init__(self, x: Any) -> None:
        RAN.append("post init")


@dataclasses.dataclass
class DataWithGetattr:
    x: Any = 0

    def __getattr__(self, name: str) -> Any:
        RAN.append(name)
        raise AttributeError(name)


@dataclasses.dataclass
class DataWithMethods:
    x: Any = 0

    def close(self) -> None:
        """Is not to be replaced by data."""

    @property
    def size(self) -> int:
        return 1

    @size.setter
    def size(self, size: int) -> None:
        RAN.append("setter")


@attrs.define
class Converted:
    x: Any = attrs.field(converter=lambda x: RAN.append("converter"))


class Validated(pydantic.BaseModel):
    x: Any = None

    @pydantic.field_validator("x")
    @classmethod
    def check(cls, x: Any) -> Any:
        RAN.append("validator")
        return x

    def model_post_init(self, context: Any) -> None:
        RAN.append("model post init")


class Pair(namedtuple("Pair", "x y")):
    __slots__ = ()

    def __new__(cls, *args: Any) -> Any:
        RAN.append("new")
        return super().__new__(cls, *args)


class Simple(NamedTuple):
    x: Any


class Struct(msgspec.Struct, dict=True):
    x: Any

    def __post_init__(self) -> None:
        RAN.append("struct post init")


class Color(enum.Enum):
    RED = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        RAN.append("missing")
        return cls.RED


class Bits(enum.Flag):
    ONE = 1
    TWO = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        RAN.append("missing")
        return cls.ONE


class Text(str):
    def __new__(cls, text: str) -> Any:
        RAN.append("str new")
        return super().__new__(cls, text)


class Meta(type):
    def __call__(cls, *args: Any) -> Any:
        RAN.append("metaclass")
        return super().__call__(*args)


@dataclasses.dataclass
class OfMeta(metaclass=Meta):
    x: Any = 0


class Stateful(Value):
    @classmethod
    def from_state(cls, state: Any) -> Any:
        RAN.append("from state")
        return object.__new__(cls)


class Asked(Value):
    def is_valid(self) -> bool:
        RAN.append("is valid")
        return True


class Shelf(Handle):
    type_name = "attacks.Shelf"

    def __init__(self, name: str, path: str = "") -> None:
        RAN.append("handle")


def helper(x: int) -> int:
    return x


class Plain:
    pass


SHELF = {
    "name": "s", "namespace": "", "arguments": {"name": "s", "path": ""}, "key": "", "kind": "init",
    "fork": None, "anchors": [], "trail": [],
}  # fmt: skip
SYSTEM = builtin("posix.system")
PARTIAL = node("functools.partial", [SYSTEM, (NODE, "builtins.tuple", ("true",)), {}])

ATTACKS: dict[str, Any] = {
    # T1: any imported class from unsigned state
    "environ": node(
        "collections.OrderedDict",
        (NODE, "builtins.dict", [("a", node("os._Environ", {"encodekey": SYSTEM, "_data": {"true": 1}}))]),
    ),
    "environ bare": node("os._Environ", {"encodekey": "x", "decodekey": "x", "_data": {}}),
    "popen": node("subprocess.Popen", {"returncode": None, "_child_created": True, "pid": 1}),
    "completed process": node("subprocess.CompletedProcess", {"args": [], "returncode": 0}),
    "template": node("string.Template", {"template": "$x"}),
    "thread": node("threading.Thread", {"_target": SYSTEM, "_args": ["true"]}),
    "timer": node("threading.Timer", {"function": SYSTEM, "interval": 0}),
    "own class by state": node(own("Plain"), {"x": 1}),
    "config parser": node("configparser.ConfigParser", {}),
    # T2: finalizers
    "temporary closer": node("tempfile._TemporaryFileCloser", {"file": {"close": PARTIAL}, "name": "x"}),
    "temporary folder": node("tempfile.TemporaryDirectory", {"name": "/nowhere", "_finalizer": None}),
    "finalize": node("weakref.finalize", {}),
    "exit stack": node(
        "contextlib.ExitStack", {"_exit_callbacks": node("collections.deque", [[PARTIAL], None])}
    ),
    "own finalizer": node(own("Finalized"), {}),
    "dataclass with a finalizer": node(own("DataFinalized"), {"x": 1}),
    # T3: callables
    "exec": builtin("builtins.exec"),
    "system": SYSTEM,
    "partial": PARTIAL,
    "own function": node("builtins.function", [own("helper")]),
    "function of a library": node("builtins.function", ["shutil.rmtree"]),
    "class": node("builtins.type", ["subprocess.Popen"]),
    "module": node("builtins.module", ["os"]),
    "method": node("builtins.method", [node("builtins.function", ["shutil.rmtree"]), "x"]),
    "descriptor": node("builtins.method_descriptor", [node("builtins.type", ["builtins.str"]), "upper"]),
    "lru cache": node("functools.lru_cache", ["os.get_exec_path"]),
    "attrgetter": node("operator.attrgetter", [["__class__.__mro__"], {}]),
    "methodcaller": node("operator.methodcaller", [["system", "true"], {}]),
    "itemgetter": node("operator.itemgetter", [[1], {}]),
    "default factory": node("collections.defaultdict", [PARTIAL, {}]),
    "default factory inside": [
        node("collections.defaultdict", [node("builtins.type", ["builtins.list"]), {}])
    ],
    "call": node("valuestore.Call", {"task": own("victim"), "arguments": {"x": 1}}),
    "operation": node("valuestore.Operation", {"operation": "add", "operands": [1, 2]}),
    "task": node("valuestore.Task", [own("victim"), "0" * 32]),
    # T4: attributes of what came out of a payload
    "owner is a handle": node("builtins.builtin_function", [node("attacks.Shelf", SHELF), "instance"]),
    "handle": node("attacks.Shelf", SHELF),
    # hooks of data classes
    "setstate": node(own("DataWithState"), {"x": 1}),
    "hash in a set": node("builtins.set", [node(own("DataWithHash"), {"x": 1})]),
    "hash in a tuple in a set": node("builtins.frozenset", [(1, node(own("DataWithHash"), {"x": 1}))]),
    "hash as a key": (NODE, "builtins.dict", [(node(own("DataWithHash"), {"x": 1}), 1)]),
    "hash in a key of a field": node(
        own("DataWithInit"), {"y": (NODE, "builtins.dict", [((node(own("DataWithHash"), {}),), 1)])}
    ),
    "finalizer in a key that cannot be one": (
        NODE, "builtins.dict", [([node(own("Finalized"), {})], 1)]
    ),
    "hash in a key that cannot be one": (
        NODE, "builtins.dict", [([node("builtins.set", [node(own("DataWithHash"), {"x": 1})])], 1)]
    ),
    "getattr": node(own("DataWithGetattr"), {}),
    "a method replaced": node(own("DataWithMethods"), {"x": 1, "close": 5}),
    "a property set": node(own("DataWithMethods"), {"x": 1, "size": 5}),
    "dunder": node(own("DataWithMethods"), {"x": 1, "__class__": 5}),
    "new of a named tuple": node(own("Pair"), {"x": 1, "y": 2}),
    "extra of a struct": node(own("Struct"), {"x": 1, "more": 2}),
    "metaclass": node(own("OfMeta"), {"x": 1}),
    "subclass of str": node(own("Text"), {"content": "a"}),
    "missing flag": node(own("Bits"), {"name": "ONE|TWO", "value": 3}),
    "generic model": node(
        own("Validated"),
        {
            "fields": {"x": 1},
            "set": node("builtins.set", []),
            "parameters": [node("builtins.type", ["builtins.int"])],
        },
    ),
    "value with from_state": node(own("Stateful"), {"x": 1}),
    "value that is asked": node(own("Asked"), {"x": 1}),
    "exception with attributes": node("builtins.ValueError", {"args": [], "attributes": {"x": 1}}),
    "exception around data": node(
        "builtins.ExceptionGroup", {"args": ["a", node(own("DataWithMethods"), {"x": 1})]}
    ),
    "data in an array": node(
        "numpy.ndarray", {"dtype": "|O", "shape": [1], "items": [node(own("DataWithMethods"), {"x": 1})]}
    ),
    "data as an array": node(
        "pandas.Series", {"data": node(own("DataWithMethods"), {}), "index": None, "name": None}
    ),
    "generic alias": node("types.GenericAlias", {}),
    "map": node("builtins.map", [SYSTEM, ["true"]]),
    "foreign rule": node("attacks.Foreign", 1),
    "pickle without a signature": (NODE, own("Plain"), "pickle", b"cos\nsystem\n(S'true'\ntR."),
    "codec of nobody": (NODE, own("Plain"), "npy", b""),
    "codec of another": (NODE, "numpy.ndarray", "arrow", b""),
}  # fmt: skip
LET_PASS: dict[str, Any] = {
    "init and post init": node(own("DataWithInit"), {"y": 1}),
    "converter": node(own("Converted"), {"x": 1}),
    "validator": node(own("Validated"), {"fields": {"x": 1}, "set": node("builtins.set", ["x"])}),
    "struct": node(own("Struct"), {"x": 1}),
    "named tuple": node(own("Simple"), {"x": 1}),
    "member": node(own("Color"), {"name": "RED", "value": 1}),
    "attributes": node(own("DataWithMethods"), {"x": {"y": [1]}, "more": 1}),
    "hash outside of sets": [node(own("DataWithHash"), {"x": 1})],
}
"""Data classes: they load, and none of their code has run."""


class Foreign:
    pass


def _from_state(state: Any) -> Any:
    RAN.append("foreign")
    return Foreign()


@task(version="1")
def victim(x: int) -> Any:
    return [x, {"a": {3}}]


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()
    yield
    gc.collect()
    assert RAN == []


@pytest.fixture(params=["sqlite", "postgresql"])
def repository(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = {} if request.param == "sqlite" else {"database": request.getfixturevalue("postgres_url")}
    with Repository.open(tmp_path, **settings) as opened:
        yield opened


def plant(
    repository: Repository, value_hash: str, data: bytes, codec: str = "tagged", **changed: Any
) -> None:
    """What anybody can do who can write rows."""
    import sqlalchemy

    columns = {
        "codec": codec, "inline": data, "size": len(data), **changed,
        "payload_digest": hash_bytes(data, algorithm=repository.algorithm),
    }  # fmt: skip
    setting = ", ".join(f"{name} = :{name}" for name in columns)
    with repository.database.write() as connection:
        statement = sqlalchemy.text(f"UPDATE value SET {setting} WHERE value_hash = :value_hash")
        assert connection.execute(statement, {**columns, "value_hash": value_hash}).rowcount == 1


def plant_signature(repository: Repository, value_hash: str, ref: ValueRef) -> None:
    """The signature of another value, claimed for this one."""
    take_signature(repository, value_hash)
    row = (value_hash, *ref.signature[1:], ref.payload_digest, ref.size, ref.inline)
    with repository.database.write() as connection:
        connection.execute(schema.signature.insert(), dict(zip(schema.signature.c.keys(), row, strict=True)))


def take_signature(repository: Repository, value_hash: str) -> None:
    with repository.database.write() as connection:
        connection.execute(schema.signature.delete().where(schema.signature.c.value_hash == value_hash))


def older_payload(repository: Repository, ref: ValueRef) -> bytes:
    """With its signature inside, as it was stored once."""
    _, key_id, mac = ref.signature
    return encode_plain((ref.value_hash, encode_envelope(key_id, mac, ref.inline)))


def test_attacks_are_refused_by_get_and_computed_anew_by_a_run(repository, monkeypatch):
    ran: list[str] = []
    monkeypatch.setattr(os, "system", ran.append)
    registry = get_type_registry()
    registry.register(TypeRule(Foreign, "attacks.Foreign", vars, _from_state))
    ref = repository.put({"a": {3}})
    repository.flush()
    for name, form in ATTACKS.items():
        for wrapped in (form, [1, {"k": (2, form)}], node("collections.deque", [[form], None])):
            plant(repository, ref.value_hash, encode_plain(wrapped))
            with pytest.raises((UntrustedPayload, DecodeError)):
                pytest.fail(f"{name}: {repository.get(ref.value_hash)!r}")
            assert repository.archive.registry.preview(get_payload(repository, ref.value_hash))
    with Scheduler(repository) as scheduler:
        scheduler.run(victim(1))
        [result] = repository.history.values().where(value_type="builtins.list").limit(1)
        for name, form in ATTACKS.items():
            plant(repository, result.value_hash, encode_plain(form))
            with pytest.warns(ValuestoreWarning, match="computed again"):
                assert scheduler.run(victim(1)) == [1, {"a": {3}}], name
    assert ran == []


def get_payload(repository, value_hash):
    ref = repository.find_value(value_hash)
    from valuestore.values.registry import Payload

    return Payload(ref.type_name, ref.codec, ref.inline, ref.signature)


@pytest.mark.parametrize("name", LET_PASS)
def test_data_classes_load_for_everybody_and_run_nothing(name):
    from valuestore.values.registry import Payload

    registry = get_type_registry()
    loaded = registry.load(Payload("x", "tagged", encode_plain(LET_PASS[name])))
    assert loaded is not None


def test_a_signature_counts_in_its_place_alone(repository):
    """T7: another value's signed payload, or a signed pickle of it, in this row."""

    signed = repository.put({"f": len})
    pickled = repository.put([OPAQUE])
    other = repository.put({"a": {3}})
    repository.flush()
    assert {signed.codec, pickled.codec} == {SIGNED}
    for type_name in ("builtins.dict", "builtins.list"):
        plant(repository, other.value_hash, signed.inline, SIGNED, type_name=type_name)
        with pytest.raises(UntrustedPayload, match="no key signed it"):
            repository.get(other.value_hash)
    plant_signature(repository, other.value_hash, signed)
    with pytest.raises(UntrustedPayload, match="is wrong"):
        repository.get(other.value_hash)
    plant(repository, other.value_hash, older_payload(repository, signed), SIGNED)
    take_signature(repository, other.value_hash)
    with pytest.raises(UntrustedPayload, match="signed as"):
        repository.get(other.value_hash)
    leaf = repository.put(OPAQUE)
    repository.flush()
    assert leaf.codec == "pickle"
    inside = encode_plain([(NODE, leaf.type_name, "pickle", leaf.inline)])
    plant(repository, other.value_hash, inside)
    with pytest.raises(UntrustedPayload, match="no key signed it"):
        repository.get(other.value_hash)
    plant(repository, other.value_hash, leaf.inline, "pickle", type_name=leaf.type_name)
    with pytest.raises(UntrustedPayload, match="no key signed it"):
        repository.get(other.value_hash)
    plant_signature(repository, other.value_hash, leaf)
    with pytest.raises(UntrustedPayload, match="is wrong"):
        repository.get(other.value_hash)
    assert repository.get(signed.value_hash) == {"f": len}


class Opaque:
    def __reduce__(self) -> Any:
        return Opaque, ()


OPAQUE = Opaque()


def test_another_s_key_is_a_miss_and_no_key_too(repository, tmp_path):
    ref = repository.put({"f": functools.partial(helper, 1)})
    repository.flush()
    payload = get_payload(repository, ref.value_hash)
    other = get_type_registry()
    with pytest.raises(UntrustedPayload, match="keys add"):
        other.load(payload)
    forged = payload.data.replace(b"helper", b"hfffer")
    with pytest.raises(UntrustedPayload, match="signature"):
        repository.archive.registry.load(dataclasses.replace(payload, data=forged))
    with pytest.raises(UntrustedPayload, match="no key signed it"):
        repository.archive.registry.load(dataclasses.replace(payload, signature=None))
    for cut in range(0, len(payload.data), 7):
        with pytest.raises(PayloadError):
            repository.archive.registry.load(dataclasses.replace(payload, data=payload.data[:cut]))


# --- imports (T5) ------------------------------------------------------------------------------------

IMPORTS = """
import sys
from valuestore.errors import PayloadError
from valuestore.hashing import encode_plain
from valuestore.values import get_type_registry
from valuestore.values.identity.canonical import NODE
from valuestore.values.registry import Payload

registry = get_type_registry()
for library in ("pandas", "numpy", "polars", "torch", "scipy", "PIL", "pyarrow"):
    for form in ((NODE, f"{library}.Nothing", 1), (NODE, f"{library}.Nothing", "npy", b"")):
        for codec in ("tagged", "arrow", "npy", "png"):
            try:
                registry.load(Payload(f"{library}.Nothing", codec, encode_plain(form)))
            except PayloadError:
                continue
            raise SystemExit(f"{form} was loaded")
for name, state in (("function", ["colorsys.rgb_to_hls", "0" * 32]), ("module", ["this"])):
    form = NODE, f"builtins.{name}", state
    try:
        registry.load(Payload("x", "tagged", encode_plain([form])))
    except PayloadError:
        continue
libraries = {"pandas", "numpy", "polars", "torch", "scipy", "PIL", "pyarrow", "this", "colorsys"}
print(sorted(libraries & sys.modules.keys()))
"""


def test_a_type_name_imports_nothing():
    ran = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


# --- bombs (T8, I10) ---------------------------------------------------------------------------------


def _deep(depth: int) -> bytes:
    return b"\x80\x03" + b"]" * depth + b"a" * (depth - 1) + b"."


HUGE = 10**11
BOMBS: dict[str, Any] = {
    "bytearray": node("builtins.bytearray", 2_000_000_000),
    "set of a range": node("builtins.set", node("builtins.range", [0, HUGE, 1])),
    "frozenset of a range": node("builtins.frozenset", node("builtins.range", [0, HUGE, 1])),
    "deque of a range": node("collections.deque", [node("builtins.range", [0, HUGE, 1]), None]),
    "counter of a range": node("collections.Counter", node("builtins.range", [0, HUGE, 1])),
    "dict of a range": (NODE, "builtins.dict", node("builtins.range", [0, HUGE, 1])),
    "dict of ranges": (NODE, "builtins.dict", [node("builtins.range", [0, HUGE, 1])]),
    "ordered dict of a range": node("collections.OrderedDict", node("builtins.range", [0, HUGE, 1])),
    "array of numbers": node("array.array", ["b", 1, 10**9]),
    "array of a range": node("array.array", ["b", 1, node("builtins.range", [0, HUGE, 1])]),
    "fraction": node("fractions.Fraction", [3**2_000_000, 7**2_000_000]),
    "fraction of text": node("fractions.Fraction", ["1e999999999", 1]),
    "decimal of a tuple": node("decimal.Decimal", (0, (1,), 999_999_999)),
    "uuid of a long text": node("uuid.UUID", "{" * 10_000_000),
    "numpy bytes": node("numpy.bytes_", 2_000_000_000),
    "numpy text": node("numpy.str_", HUGE),
    "numpy float of a range": node("numpy.float64", node("builtins.range", [0, HUGE, 1])),
    "numpy shape of a range": node(
        "numpy.ndarray", {"dtype": "<f8", "shape": node("builtins.range", [0, HUGE, 1]), "bytes": b""}
    ),
    "numpy items of a range": node(
        "numpy.ndarray", {"dtype": "|O", "shape": [HUGE], "items": node("builtins.range", [0, HUGE, 1])}
    ),
    "numpy wide items": node("numpy.ndarray", {"dtype": "|S2000000000", "shape": [4], "items": [1, 2, 3, 4]}),
    "numpy shape": node("numpy.ndarray", {"dtype": "<f8", "shape": [HUGE], "bytes": b"12345678"}),
    "numpy gaps": node(
        "numpy.ndarray",
        {
            "dtype": {"fields": [["a", "|i1", 0]], "itemsize": 2_000_000_000},
            "shape": [8],
            "bytes": b"12345678",
        },
    ),
    "random pool": node(
        "numpy.random.PCG64",
        {
            "state": {"bit_generator": "PCG64", "state": {"state": 1, "inc": 1}},
            "seed": {"entropy": 1, "spawn_key": [], "pool_size": 2_000_000_000, "n_children_spawned": 0},
        },
    ),
    "series of a range": node(
        "pandas.Series",
        {
            "data": node("pandas.RangeIndex", {"name": None, "start": 0, "stop": HUGE, "step": 1}),
            "index": node("pandas.RangeIndex", {"name": None, "start": 0, "stop": HUGE, "step": 1}),
            "name": None,
        },
    ),
    "image without width": node(
        "PIL.Image.Image", {"mode": "L", "size": [0, 2_000_000_000], "pixels": b"", "info": {}}
    ),
    "image": node("PIL.Image.Image", {"mode": "L", "size": [60_000, 60_000], "pixels": b"x", "info": {}}),
    "npy header": (
        NODE, "numpy.ndarray", "npy",
        b"\x93NUMPY\x01\0v\0"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }".ljust(117) + b"\n",
    ),
    "npy header that is long": (NODE, "numpy.ndarray", "npy", b"\x93NUMPY\x02\0\xff\xff\xff\x7f"),
    "png": (
        NODE, "PIL.Image.Image", "png",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0".ljust(64, b"\0"),
    ),
    "arrow": (NODE, "pyarrow.Table", "arrow", b"ARROW1\0\0\xff\xff\xff\xff\xff\xff\xff\x7f"),
}  # fmt: skip
RAW = {
    "lists": _deep(200_000),
    "bytes without bytes": b"\x80\x03B\xff\xff\xff\x7fx.",
    "an integer without bytes": b"\x80\x03\x8b\xff\xff\xff\x7fx.",
}
IN_LITTLE_SPACE = """
import resource, sys, time, warnings
warnings.simplefilter("ignore")
import numpy, pandas, pyarrow, PIL.Image
from tests.values.trust.test_attacks import BOMBS, RAW
from valuestore.errors import PayloadError
from valuestore.hashing import encode_plain
from valuestore.values import get_type_registry
from valuestore.values.registry import Payload

registry = get_type_registry()
for value in (numpy.arange(3), pandas.Series([1]), pyarrow.table({"a": [1]}), PIL.Image.new("L", (2, 2))):
    registry.load(registry.dump([value, {1}]))
payloads = {name: encode_plain(bomb) for name, bomb in BOMBS.items()} | RAW
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), -1))
for name, data in payloads.items():
    began = time.process_time()
    try:
        registry.load(Payload("x", "tagged", data))
    except PayloadError as error:
        if "MemoryError" in str(error):
            print(name, error)
    else:
        print(name, "was loaded")
    if time.process_time() - began > 3:
        print(name, "took", time.process_time() - began)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are told by Linux")
def test_bombs_are_refused_in_little_space_and_time():
    root = os.path.dirname(os.path.abspath(__file__)).removesuffix("tests/values/trust")
    command = [sys.executable, "-c", IN_LITTLE_SPACE]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("", "")

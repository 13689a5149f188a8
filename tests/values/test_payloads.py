"""Payloads: what was dumped comes back, and reading it executes nothing (invariant I9)."""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.values.identity.test_identity import anything, cases
from valuestore.errors import DecodeError, UntrustedPayload
from valuestore.hashing import encode_plain
from valuestore.values.identity.canonical import NODE
from valuestore.values.registry import Payload, TypeRegistry
from valuestore.values.trust.gate import decode_plain

PACKAGE = Path(__file__).parents[2] / "valuestore"


@pytest.fixture
def registry() -> TypeRegistry:
    return TypeRegistry()


@pytest.mark.parametrize("name", cases.CASES)
def test_what_was_dumped_comes_back(registry, name):
    case = cases.CASES[name]
    loaded = registry.load(registry.dump(case))
    assert type(loaded) is type(case)
    assert registry.hash(loaded) == registry.hash(case)
    if "nan" not in name and "value" not in name:
        assert loaded == case


@given(anything)
def test_any_value_comes_back(obj):
    registry = TypeRegistry()
    loaded = registry.load(registry.dump(obj))
    assert registry.hash(loaded) == registry.hash(obj)
    assert type(loaded) is type(obj)


def test_text_and_bytes_payloads_are_the_bare_content(registry):
    assert registry.dump("naïve").data == "naïve".encode()
    assert registry.dump(b"\x00\xff").data == b"\x00\xff"


class Evil:
    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Evil()),
        pickle.dumps(Evil(), protocol=0),
        b"cos\nsystem\n(S'echo'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"P1\n.",
        b"\x80\x03]Q.",
    ],
)
def test_pickle_that_names_anything_is_refused(registry, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DecodeError):
        registry.load(Payload("builtins.list", "plain", data))
    assert not list(tmp_path.iterdir())


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_damaged_payload_is_a_decode_error_or_plain_data(tail, position, byte):
    data = bytearray(encode_plain({"a": [1, 2.5, "x", b"y", None, True], "b": ("t", {"c": -1})}))
    data[position % len(data)] = byte
    try:
        decode_plain(bytes(data) + tail)
    except DecodeError:
        pass


@pytest.mark.parametrize("cut", range(1, 12))
def test_truncated_payload_is_a_decode_error(registry, cut):
    payload = registry.dump({"a": {1, 2}})
    with pytest.raises(DecodeError):
        registry.load(dataclasses.replace(payload, data=payload.data[:-cut]))


@pytest.mark.parametrize(
    "node",
    [
        (NODE, "os.system", "true"),
        (NODE, "subprocess.Popen", ["true"]),
        (NODE, "no.such.Class", {}),
        (NODE, "builtins.set"),
        (NODE, "uuid.UUID", "not a uuid"),
        (NODE, "datetime.date", ["2020"]),
        (NODE, "builtins.range", [1, 2, 3, 4, 5]),
        (NODE, "valuestore.Call", {"task": "nowhere.nothing", "arguments": {}}),
        (NODE, f"{__name__}.Evil", {}),
    ],
)
def test_node_of_no_value_type_is_not_loaded(registry, node):
    with pytest.raises((DecodeError, UntrustedPayload)):
        registry.load(Payload("x", "tagged", encode_plain(node)))


def test_unknown_codec_is_a_decode_error_that_says_so(registry):
    with pytest.raises(DecodeError, match="newer valuestore"):
        registry.load(Payload("builtins.set", "holographic", b""))


def test_reading_imports_nothing(registry):
    payload = Payload("x", "tagged", encode_plain((NODE, "colorsys.Nothing", {})))
    code = (
        "import sys; from valuestore.values.registry import TypeRegistry, Payload\n"
        "from valuestore.errors import DecodeError\n"
        f"try: TypeRegistry().load(Payload('x', 'tagged', {payload.data!r}))\n"
        "except DecodeError: print('colorsys' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "False"


# --- classes of the user's -------------------------------------------------------------------------


@dataclass
class Counted:
    n: int
    log: list[str] = field(default_factory=list)
    made = 0

    def __post_init__(self):
        Counted.made += 1

    @functools.cached_property
    def square(self):
        return self.n * self.n


class Size(enum.Enum):
    SMALL = 1


def test_dataclass_is_rebuilt_without_running_its_code(registry):
    payload = registry.dump(Counted(3))
    made = Counted.made
    assert registry.load(payload).n == 3
    assert Counted.made == made


def test_dataclass_keeps_attributes_beside_its_fields(registry):
    counted = Counted(3)
    counted.note = "extra"  # type: ignore[attr-defined]
    assert registry.load(registry.dump(counted)).note == "extra"
    assert registry.hash(counted) != registry.hash(Counted(3))


def test_cached_property_is_not_part_of_the_value(registry):
    used, fresh = Counted(3), Counted(3)
    assert used.square == 9
    assert registry.hash(used) == registry.hash(fresh)


@pytest.mark.parametrize("by_hand", [10, [9], "9", 9.0, None])
def test_cached_property_that_was_set_by_hand_is(registry, by_hand):
    used, fresh = Counted(3), Counted(3)
    used.__dict__["square"] = by_hand
    assert registry.hash(used) != registry.hash(fresh)
    assert registry.load(registry.dump(used)).square == by_hand
    used.__dict__["square"] = 9  # what it would be
    assert registry.hash(used) == registry.hash(fresh)


def test_field_added_later_makes_the_old_payload_unreadable(registry, monkeypatch):
    payload = registry.dump(Counted(3))
    fields = [("n", int), ("log", list), ("unit", str)]
    renamed = dataclasses.make_dataclass("Counted", fields, namespace={"__module__": __name__})
    monkeypatch.setattr(sys.modules[__name__], "Counted", renamed)
    with pytest.raises(DecodeError, match="unit"):
        TypeRegistry().load(payload)


def test_enum_member_with_another_value_is_not_the_same_member(registry, monkeypatch):
    payload = registry.dump(Size.SMALL)
    changed = enum.Enum("Size", {"SMALL": 2}, module=__name__)
    monkeypatch.setattr(sys.modules[__name__], "Size", changed)
    with pytest.raises(DecodeError, match="SMALL"):
        TypeRegistry().load(payload)


def test_vanished_class_is_a_decode_error(registry, monkeypatch):
    payload = registry.dump(Counted(3))
    monkeypatch.delattr(sys.modules[__name__], "Counted")
    with pytest.raises(DecodeError, match="not imported"):
        TypeRegistry().load(payload)


def test_dataclass_over_a_dict_keeps_both_sides(registry):
    both = DictLike(1)
    both["k"] = 2
    loaded = registry.load(registry.dump(both))
    assert (type(loaded), loaded.x, dict(loaded)) == (DictLike, 1, {"k": 2})
    assert registry.hash(both) != registry.hash(DictLike(1))


@dataclass
class DictLike(dict):
    x: int


# --- previews --------------------------------------------------------------------------------------


@given(anything)
def test_preview_is_short_ascii_json(obj):
    import json

    registry = TypeRegistry()
    preview = registry.encode(obj).preview
    assert len(preview) <= 500
    assert preview.isascii()
    json.loads(preview)


def test_preview_of_a_payload_needs_no_class(registry):
    payload = registry.dump(Counted(3, ["a"]))
    stranger = dataclasses.replace(payload, data=payload.data.replace(b"Counted", b"Strange"))
    assert registry.preview(stranger) == '{"n":3,"log":["a"]}'


def test_preview_of_a_long_list_says_how_long_it_is(registry):
    assert "9992 more" in registry.encode(list(range(10_000))).preview


def test_huge_int_has_a_preview():
    assert "6000 digits" in TypeRegistry().encode([10**6000]).preview


# --- the one gate ------------------------------------------------------------------------------------


LOADER = re.compile(
    r"\b_?pickle\.(load|loads|Unpickler|_Unpickler|_load|_loads)\b|from _?pickle import (?!Pickler)"
    r"|\bread_pickle\b|\b(cloudpickle|dill|shelve|jsonpickle)\b|\bmarshal\.load|from marshal import"
    r"|\bjoblib\.load|\btorch\.load"
    r"|allow_pickle\s*=\s*True|\b(full_|unsafe_)?yaml\.(unsafe_|full_)?load|(?<![.\w])(eval|exec)\("
    r"|\bbuiltins\.(eval|exec)\b|\b(copyreg\.add_extension|code\.InteractiveInterpreter|runpy\.run_)"
)
"""Ways from data to code. Comments and docstrings count too: what is not named is not used."""


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(f)",
        "x = pickle.loads(data)",
        "class U(pickle.Unpickler):",
        "from pickle import loads",
        "_pickle.loads(b)",
        "import cloudpickle",
        "joblib.load(path)",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle = True)",
        "torch.load(f)",
        "yaml.load(f)",
        "yaml.unsafe_load(f)",
        "eval(text)",
        "exec(text)",
        "builtins.eval",
        "marshal.loads(b)",
        "shelve.open(p)",
        "import dill",
        "pd.read_pickle(p)",
    ],
)
def test_the_search_for_loaders_finds_them(line):
    assert LOADER.search(line)


@pytest.mark.parametrize(
    "line", ["pickle.dumps(x)", "pickle.Pickler", "connection.exec(x)", "retrieval(x)", "re.compile(x)"]
)
def test_the_search_for_loaders_finds_nothing_else(line):
    assert not LOADER.search(line)


def test_no_unpickling_outside_the_gate():
    found = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if LOADER.search(file.read_text("utf-8"))
    }
    assert found == {"values/trust/gate.py", "values/trust/sending.py"}

"""What every value type keeps: ValueContract. Subclass it in the test module of your type::

    class TestPoint(ValueContract):
        examples = {"origin": Point(0, 0), "far": Point(1e9, -1)}

The module is imported by fresh processes under its own name, so the type has to be importable there: not
defined inside a function. Digests are frozen in ``golden_<module>_<class>.json`` beside it, which the first
run writes, with a warning: keep it with the test.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from valuestore.errors import PayloadError
from valuestore.values.codecs.plain import SIGNED, decode_tagged
from valuestore.values.identity.canonical import Codec
from valuestore.values.registry import Payload, TypeRegistry, get_type_registry

_SEEDS = ("0", "4242")
_EXECUTION = frozenset(
    {"exec", "compile", "import", "os.system", "subprocess.Popen", "os.exec", "pickle.find_class"}
)
_watching: list[list[str]] = []

Fresh = list[dict[str, dict[str, str]]]
_found: dict[type, Fresh] = {}


class ValueContract:
    """The facts. ``examples`` are different values by name; override ``same`` if ``==`` does not tell."""

    examples: ClassVar[Mapping[str, Any]]
    type: ClassVar[type | None] = None
    """The type that all examples are of, if they are of one."""
    golden: ClassVar[Path | None] = None
    """Where digests are frozen; default: beside the test module."""

    @pytest.fixture
    def registry(self) -> TypeRegistry:
        return get_type_registry()

    @pytest.fixture
    def fresh(self, registry: TypeRegistry) -> Fresh:
        """What fresh processes found, by hash seed: digests of the examples and of what they loaded."""
        if type(self) not in _found:
            payloads = {name: registry.dump(example) for name, example in self.examples.items()}
            _found[type(self)] = [_in_fresh_process(type(self), payloads, seed) for seed in _SEEDS]
        return _found[type(self)]

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values are the same, told by other means than their digests."""
        return bool(one == other)

    def test_examples_are_of_the_type(self) -> None:
        assert self.examples
        if self.type is not None:
            assert {type(example) for example in self.examples.values()} == {self.type}

    def test_what_was_dumped_comes_back(self, registry: TypeRegistry) -> None:
        for name, example in self.examples.items():
            loaded = registry.load(registry.dump(example))
            assert type(loaded) is type(example), name
            assert self.same(loaded, example), name
            assert registry.hash(loaded) == registry.hash(example), name
            inside = registry.load(registry.dump({"k": [example]}))["k"][0]
            assert registry.hash(inside) == registry.hash(example), name

    def test_different_examples_have_different_digests(self, registry: TypeRegistry) -> None:
        named: dict[str, str] = {}
        for name, example in self.examples.items():
            other = named.setdefault(registry.hash(example), name)
            assert other == name, f"{other} and {name} have one digest"

    def test_both_algorithms_tell_them_apart(self, registry: TypeRegistry) -> None:
        strong = registry.with_algorithm("blake3-256")
        digests = {strong.hash(example) for example in self.examples.values()}
        assert len(digests) == len(self.examples)

    def test_fresh_processes_agree_under_any_hash_seed(self, registry: TypeRegistry, fresh: Fresh) -> None:
        expected = {name: str(registry.hash(example)) for name, example in self.examples.items()}
        assert [found["made"] for found in fresh] == [expected] * len(_SEEDS)

    def test_fresh_processes_load_what_was_dumped_here(self, registry: TypeRegistry, fresh: Fresh) -> None:
        expected = {name: str(registry.hash(example)) for name, example in self.examples.items()}
        assert [found["loaded"] for found in fresh] == [expected] * len(_SEEDS)

    def test_digests_are_the_frozen_ones(self, registry: TypeRegistry) -> None:
        digests = {name: str(registry.hash(example)) for name, example in self.examples.items()}
        module = _module_file(type(self))
        golden = self.golden or module.with_name(f"golden_{module.stem}_{type(self).__name__}.json")
        if not golden.exists():
            golden.write_text(json.dumps(digests, indent=1) + "\n")
            warnings.warn(f"{golden} was not there and is written now: keep it with the test", stacklevel=1)
        assert digests == json.loads(golden.read_text())

    def test_loading_executes_nothing(self, registry: TypeRegistry) -> None:
        payloads = [registry.dump(example) for example in self.examples.values()]
        for payload in payloads:
            registry.load(payload)  # what the program's own code imports late is imported now
        with _watched() as events:
            for payload in payloads:
                registry.load(payload)
        assert events == []

    def test_previews_are_short_ascii_json(self, registry: TypeRegistry) -> None:
        for example in self.examples.values():
            preview = registry.encode(example).preview
            json.loads(preview)
            assert preview.isascii()
            assert len(preview) <= 500

    def test_damaged_payloads_raise_a_decode_error_or_give_another_value(
        self, registry: TypeRegistry
    ) -> None:
        for example in self.examples.values():
            payload = registry.dump(example)
            for cut in {0, 1, len(payload.data) // 2, max(len(payload.data) - 1, 0)}:
                try:
                    registry.load(Payload(payload.type_name, payload.codec, payload.data[:cut]))
                except PayloadError:
                    continue


def _module_file(contract: type) -> Path:
    return Path(str(sys.modules[contract.__module__].__file__))


def _in_fresh_process(
    contract: type, payloads: Mapping[str, Payload], seed: str
) -> dict[str, dict[str, str]]:
    asked = {
        "file": str(_module_file(contract)),
        "module": contract.__module__,
        "contract": contract.__qualname__,
        "path": sys.path,
        "payloads": {name: [p.type_name, p.codec, p.data.hex()] for name, p in payloads.items()},
    }
    ran = subprocess.run(
        [sys.executable, "-c", "from valuestore.testing.value_contract import answer; answer()"],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, str]] = json.loads(ran.stdout.splitlines()[-1])
    return found


def answer() -> None:
    """In a fresh process: print the digests of the examples, and of what the payloads are loaded as."""
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    found: Any = _imported(asked["module"], asked["file"])
    for part in asked["contract"].split("."):
        found = getattr(found, part)
    registry = get_type_registry()
    loaded = {
        name: registry.hash(_load(registry, Payload(type_name, codec, bytes.fromhex(data))))
        for name, (type_name, codec, data) in asked["payloads"].items()
    }
    made = {name: registry.hash(example) for name, example in found.examples.items()}
    print(json.dumps({"made": made, "loaded": loaded}))


def _load(registry: TypeRegistry, payload: Payload) -> Any:
    """The object; what only the process that asks could have signed is taken from it as it is."""
    if payload.codec == SIGNED:
        return decode_tagged(payload.data, registry)
    return registry.load(payload)


def _imported(module_name: str, file: str) -> Any:
    """The test module under the name it has here, however pytest imported it."""
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _watched() -> Iterator[list[str]]:
    """The events of execution meanwhile. An audit hook cannot be removed, so there is one for all."""
    if not _watching:
        _watching.append([])
        sys.addaudithook(_heard)
    events: list[str] = []
    _watching.append(events)
    try:
        yield events
    finally:
        _watching.remove(events)


def _heard(event: str, _arguments: Any) -> None:
    if len(_watching) > 1 and event in _EXECUTION:
        _watching[-1].append(event)


class CodecContract:
    """The facts. ``examples`` are objects that fit the format; override ``same`` if ``==`` does not tell."""

    codec: ClassVar[Codec]
    examples: ClassVar[Mapping[str, Any]]

    def same(self, one: Any, other: Any) -> bool:
        return bool(one == other)

    def encoded(self, obj: Any) -> bytes:
        return b"".join(bytes(piece) for piece in self.codec.encode(obj))

    def test_examples_fit(self) -> None:
        assert self.examples
        assert all(self.codec.fits(example) for example in self.examples.values())

    def test_what_was_encoded_is_decoded_again(self) -> None:
        for name, example in self.examples.items():
            decoded = self.codec.decode(self.encoded(example))
            assert type(decoded) is type(example), name
            assert self.same(decoded, example), name

    def test_read_only_views_are_decoded_and_stay_as_they_are(self) -> None:
        for name, example in self.examples.items():
            data = self.encoded(example)
            copy = bytes(bytearray(data))
            assert self.same(self.codec.decode(memoryview(data).toreadonly()), example), name
            assert data == copy, name

    def test_equal_objects_give_equal_bytes(self) -> None:
        for name, example in self.examples.items():
            decoded = self.codec.decode(self.encoded(example))
            assert self.encoded(decoded) == self.encoded(example), name

    def test_encoding_leaves_the_object_as_it_was(self) -> None:
        for name, example in self.examples.items():
            assert self.encoded(example) == self.encoded(example), name

    def test_decoding_executes_nothing(self) -> None:
        payloads = [self.encoded(example) for example in self.examples.values()]
        for data in payloads:
            self.codec.decode(data)
        with _watched() as events:
            for data in payloads:
                self.codec.decode(data)
        assert events == []

    def test_truncated_bytes_are_no_object(self) -> None:
        for name, example in self.examples.items():
            data = self.encoded(example)
            for cut in {1, len(data) // 2, len(data) - 1} - {0, len(data)}:
                try:
                    decoded = self.codec.decode(data[:cut])
                except Exception:  # noqa: BLE001  # any: the registry makes it a DecodeError
                    continue
                assert not self.same(decoded, example), name

"""Every decoder given what is nearly right: a part changed, cut, doubled, or taken from another.

Only declared errors come out, in little time and memory. What is put together anew instead, and may not
execute anything, is tests/values/trust/test_fuzz.py's.
"""

from __future__ import annotations

import random
import resource
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.found import Found
from tests.faults.workflow import Record
from tests.freeze.formats import stored_values
from valuestore import get_type_registry
from valuestore.config import read_file
from valuestore.db.history.query import read_cursor
from valuestore.db.record.tag import parse_tag, parse_tag_filter
from valuestore.errors import ValuestoreError
from valuestore.redaction import redact, redact_source, without_credentials
from valuestore.stores.content.store import ContentStore
from valuestore.stores.fsspec.store import read_trailer
from valuestore.stores.keys import check_key
from valuestore.stores.memory import MemoryStore
from valuestore.stores.redis.address import RedisAddress
from valuestore.stores.redis.change import load_attrs
from valuestore.stores.s3.address import S3Address
from valuestore.stores.wrappers.compressed import Compressed
from valuestore.values.files.location import written
from valuestore.values.parse import parse_arg
from valuestore.values.registry import Payload
from valuestore.values.trust.gate import decode_envelope, decode_plain

GROWTH = 64 << 20
_LONGEST_SECONDS = 2.0
_SLICE_SECONDS = 0.05
_SLICE = 100
_SPECIAL = [
    b"\0",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b".",
    b"\x80\x03",
    b"'",
    b"{",
    b"[[[[",
]
_DEEP = (b"{", b"[[[[")


@dataclass(frozen=True)
class Decoder:
    """What reads ``seeds``, and may raise ``declared`` for anything else."""

    seeds: list[bytes]
    decode: Callable[[bytes], object]
    declared: tuple[type[Exception], ...] = (ValuestoreError,)


def fuzz(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` inputs; each decoder has an equal share of the time."""
    warnings.simplefilter("ignore")
    found = Found()
    decoders = dict(_decoders(folder))
    for name, decoder in decoders.items():  # what is imported and cached once, is now
        for seed in decoder.seeds:
            _try(name, decoder, seed, found)
        _some(name, decoder, 200, chance, found)
    before = _reset_peak()
    done = 0
    while done < size:
        for name, decoder in decoders.items():
            ends = time.monotonic() + _SLICE_SECONDS
            while time.monotonic() < ends and done < size:
                count = min(_SLICE, size - done)
                _some(name, decoder, count, chance, found)
                done += count
    growth = _peak() - before
    found.done["inputs"] = done
    found.done["decoders"] = len(decoders)
    found.done["MiB more at the peak"] = growth >> 20
    found.check(growth <= GROWTH, "grew", f"{growth >> 20} MiB")
    return found


def _some(name: str, decoder: Decoder, count: int, chance: random.Random, found: Found) -> None:
    for _ in range(count):
        _try(name, decoder, _mutated(chance, decoder.seeds), found)


def _try(name: str, decoder: Decoder, data: bytes, found: Found) -> None:
    began = time.process_time()
    try:
        decoder.decode(data)
    except decoder.declared:
        pass
    except BaseException as error:
        found.fault("not declared", f"{name} {type(error).__name__}: {str(error)[:200]} for {data[:200]!r}")
    if time.process_time() - began > _LONGEST_SECONDS:
        found.fault("took too long", f"{name} {data[:200]!r}")


def _mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(seeds[int(chance.random() * len(seeds))])
    for _ in range(1 if chance.random() < 0.6 else 3):
        kind = int(chance.random() * 7)
        place = int(chance.random() * (len(data) + 1))
        if kind <= 1 and data:
            data[place - 1] ^= 1 << int(chance.random() * 8)
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + int(chance.random() * 20)]
        elif kind == 4:
            data[place:place] = data[place : place + int(chance.random() * 40)]
        elif kind == 5:
            special = _SPECIAL[int(chance.random() * len(_SPECIAL))]
            if special in _DEEP and chance.random() < 0.01:
                special *= 5000
            data[place : place + len(special)] = special
        else:
            other = seeds[int(chance.random() * len(seeds))]
            data[place:] = other[int(chance.random() * (len(other) + 1)) :]
    return bytes(data)


def _reset_peak() -> int:
    """Begin to count anew; the bytes in use."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return _peak()


def _peak() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


# --- decoders -----------------------------------------------------------------------------------------


def _decoders(folder: Path) -> Iterator[tuple[str, Decoder]]:
    registry = get_type_registry()
    by_codec: dict[str, dict[bytes, str]] = defaultdict(dict)
    for _, value in stored_values():
        payload = registry.encode(value).payload
        if len(payload.data) < 20_000:
            by_codec[payload.codec][bytes(payload.data)] = payload.type_name
    for codec, seeds in by_codec.items():
        names = sorted(set(seeds.values()))

        def load(data: bytes, codec: str = codec, names: list[str] = names) -> object:
            return registry.load(Payload(names[len(data) % len(names)], codec, data))

        yield f"codec {codec}", Decoder(list(seeds), load)
    plain = [bytes(data) for data in by_codec["plain"]] + [bytes(data) for data in by_codec["tagged"]]
    yield "plain", Decoder(plain, decode_plain)
    yield "envelope", Decoder(plain, decode_envelope)
    yield from _of_stores(folder)
    yield from _of_texts(folder)


def _of_stores(folder: Path) -> Iterator[tuple[str, Decoder]]:
    below = MemoryStore()
    above = Compressed(below)
    above.put("a", b"text " * 500)
    above.put("b", bytes(range(256)) * 20)

    def decompress(data: bytes) -> None:
        below.put("k", data)
        above.get("k")
        above.stat("k")

    yield "compressed", Decoder([below.get("a"), below.get("b")], decompress)

    def marked(data: bytes) -> None:
        store = MemoryStore()
        store.put("valuestore.json", data)
        ContentStore(store).put(b"x")

    ContentStore(below).put(b"x")
    yield "marker", Decoder([below.get("valuestore.json")], marked)
    attrs = [b'{"a": 1, "b": [1, "c", null]}', b"{}"]
    yield "attributes on Redis", Decoder(attrs, load_attrs, (ValuestoreError, ValueError))
    yield "trailer", Decoder([b"x" * 40, b'{"a": 1}' + bytes(40)], read_trailer)


def _of_texts(folder: Path) -> Iterator[tuple[str, Decoder]]:
    def of_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
        return lambda data: read(data.decode("utf-8", "surrogateescape"))

    def seeds(*texts: str) -> list[bytes]:
        return [text.encode() for text in texts]

    file = folder / "valuestore.toml"

    def settings(data: bytes) -> object:
        file.write_bytes(data)
        return read_file(file)

    toml = 'database = "sqlite:///x.db"\n[payloads]\ntype = "file"\npath = "x"\n[limits]\na = 3\n'
    urls = seeds(
        "redis://user:pass@host:6379/0/prefix?timeout_seconds=3", "rediss://h/1", "s3://bucket/a/b?region=x"
    )
    tables = {
        "settings": (seeds(toml, "durability = 'full'", "a = " + "[" * 3000), None),
        "key": (seeds("a/b/c", "ab/ab3f", "ü/..", "x" * 1024), check_key),
        "redis address": (urls, lambda text: RedisAddress.read(text, {})),
        "s3 address": (urls, lambda text: S3Address.read(text, {})),
        "location": (
            seeds("a/b", "s3://u:p@b/k?X-Amz-Signature=1", "~/x", "http://h/p"),
            lambda t: written(t, "File"),
        ),
        "redaction": (
            seeds(
                "password=hunter2 token: abc", "postgres://u:p@h/d", "AKIAIOSFODNN7EXAMPLE", "-----BEGIN PGP"
            ),
            redact,
        ),
        "redaction of code": (seeds("def f():\n    password = 'x'\n", "TOKEN = 'abc'"), redact_source),
        "url": (urls, without_credentials),
        "tag": (seeds("a=1", 'a={"b": [1, 2]}', "a"), parse_tag),
        "tag filter": (seeds("a=1", "a", "a=*"), parse_tag_filter),
        "cursor": (seeds("WzEsICJhIl0", "eyJhIjogMX0="), lambda text: read_cursor(text, 1, "x")),
    }
    for name, (texts, read) in tables.items():
        yield name, Decoder(texts, settings if read is None else of_text(read))
    for annotation in (int, float, bool, list[int], dict[str, float], Record, tuple[int, str], int | None):
        texts = seeds("1", "1.5", "true", "[1, 2]", '{"a": 1.5}', '{"name": "a", "numbers": [1]}', "a=1,b=2")

        def argument(text: str, annotation: Any = annotation) -> object:
            return parse_arg(annotation, text)

        yield f"argument {annotation}", Decoder(texts, of_text(argument), (ValuestoreError, ValueError))

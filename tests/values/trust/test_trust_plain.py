"""Forged plain data (F33): refused before it is built, in little memory, with declared errors alone."""

from __future__ import annotations

import os
import pickle
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestore.errors import DecodeError, UntrustedPayload
from valuestore.hashing import encode_plain
from valuestore.values.codecs.signed import Signer
from valuestore.values.identity.canonical import NODE
from valuestore.values.registry import Payload, TypeRegistry
from valuestore.values.trust import opcodes
from valuestore.values.trust.gate import Claim, decode_envelope, decode_plain, encode_envelope, sign
from valuestore.values.trust.keys import KeyRing

ROOT = Path(__file__).parents[3]
HEAD = b"\x80\x03"
HUGE = struct.pack("<I", 0x7FFFFFFF)
HUGE8 = struct.pack("<Q", 1 << 40)

FORGED = {
    "text longer than the data": HEAD + b"X" + HUGE + b"a.",
    "text of 4 GiB": HEAD + b"X\xff\xff\xff\xffa.",
    "bytes longer than the data": HEAD + b"B" + HUGE + b"a.",
    "bytes longer than the data by one": HEAD + b"B\x03\0\0\0a.",
    "short bytes": HEAD + b"C\xffa.",
    "int longer than the data": HEAD + b"\x8b" + HUGE + b"a.",
    "int of negative length": HEAD + b"\x8b\xff\xff\xff\xffa.",
    "short int": HEAD + b"\x8a\xffa.",
    "text of 8-byte length": b"\x80\x04\x8d" + HUGE8 + b"a.",
    "bytes of 8-byte length": b"\x80\x04\x8e" + HUGE8 + b"a.",
    "bytearray of 8-byte length": b"\x80\x05\x96" + HUGE8 + b"a.",
    "8-byte lengths behind the plain header": HEAD + b"\x8e" + HUGE8 + b"a.",
    "frame": b"\x80\x04\x95" + HUGE8 + b"N.",
    "memo slot two billion": HEAD + b"Nr\xff\xff\xff\x7f.",
    "memo slot by text": HEAD + b"Np4000000000\n.",
    "memo": HEAD + b"]q\0.",
    "memoize": HEAD + b"]" + b"\x94" * 1000 + b".",
    "memo read": HEAD + b"]q\0h\0\x86.",
    "dup": HEAD + b"N2\x86.",
    "dup that contains itself": HEAD + b"]2a.",
    "dup bomb": HEAD + b"]" + b"2\x86" * 60 + b".",
    "dup bomb as a key": HEAD + b"})" + b"2\x86" * 60 + b"Ns.",
    "memo bomb": HEAD + b")q\0" + b"".join(b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(60)) + b"h\x3c.",
    "text ints": HEAD + b"I" + b"9" * 10_000 + b"\n.",
    "text longs": HEAD + b"L" + b"9" * 10_000 + b"L\n.",
    "text strings": HEAD + b"S'abc'\n.",
    "sets": b"\x80\x04\x8f(K\x01\x90.",
    "bytearrays": b"\x80\x05\x96\x01\0\0\0\0\0\0\0a.",
    "pop": HEAD + b"N0N.",
    "no stop": HEAD + b"N",
    "no value": HEAD + b".",
    "nothing": b"",
    "header alone": HEAD,
    "after the stop": HEAD + b"N.N",
    "two stops": HEAD + b"N..",
    "missing operands": HEAD + b"]\x87.",
    "missing mark": HEAD + b"]e.",
    "append to an int": HEAD + b"K\x01Na.",
    "list as a key": HEAD + b"}]Ns.",
    "bad UTF-8": HEAD + b"X\x01\0\0\0\xff.",
    "tuples so deep that hashing them would overflow": HEAD + b"})" + b"\x85" * 1_000_000 + b"Ns.",
    "such tuples in pieces": HEAD + b"})" + b"N\x86" * 500_000 + b"Ns.",
    "such tuples behind marks": HEAD + b"}" + b"(" * 500_000 + b"t" * 500_000 + b"Ns.",
    "cut inside a length": HEAD + b"X\x01\0",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_data_is_a_decode_error(name):
    with pytest.raises(DecodeError):
        decode_plain(FORGED[name])


@pytest.mark.parametrize("wide", [False, True])
def test_forged_data_is_refused_with_either_expression(monkeypatch, wide):
    monkeypatch.setattr(opcodes, "_COMPILE_FOR_BYTES", 0 if wide else 1 << 30)
    for data in FORGED.values():
        with pytest.raises(DecodeError):
            decode_plain(data)


def test_forged_lengths_take_no_memory():
    code = (
        "import resource\nfrom tests.memory import peak_kibibytes\n"
        "from tests.values.trust.test_trust_plain import FORGED, decode_plain, DecodeError\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (256 << 20),) * 2)\n"
        "for name, data in FORGED.items():\n"
        "    before = peak_kibibytes()\n"
        "    try: decode_plain(data); print('loaded', name)\n"
        "    except DecodeError as error:\n"
        "        if 'MemoryError' in str(error): print('allocated', name)\n"
        "    grown = (peak_kibibytes() - before) * 1024\n"
        "    if grown > 100 * len(data) + (16 << 20): print('grew', name, grown)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout + ran.stderr == ""
    assert ran.returncode == 0


def test_deep_tuples_do_not_crash_a_thread():
    """In a process of its own, since what is to be excluded is a crash of the interpreter."""
    code = (
        "import threading\nfrom valuestore.values.trust.gate import decode_plain, DecodeError\n"
        "from tests.values.trust.test_trust_plain import HEAD\n"
        "def attempt():\n"
        "    for data in (b'})' + b'\\x85' * 2_000_000 + b'Ns.', b'})' + b'\\x85' * 45_000 + b'Ns.'):\n"
        "        try: decode_plain(HEAD + data)\n"
        "        except DecodeError: pass\n"
        "    print('alive')\n"
        "thread = threading.Thread(target=attempt); thread.start(); thread.join()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "alive\n"


# --- what was encoded is decoded ------------------------------------------------------------------------

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**3000)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
keys = atoms | st.tuples(atoms, atoms)
plain = st.recursive(
    atoms,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=30,
)


@given(plain, st.booleans())
def test_plain_data_comes_back_as_the_unpickler_has_it(obj, wide):
    data = encode_plain(obj)
    before = opcodes._COMPILE_FOR_BYTES
    opcodes._COMPILE_FOR_BYTES = 0 if wide else 1 << 30
    try:
        assert decode_plain(data) == pickle.loads(data) == obj
    finally:
        opcodes._COMPILE_FOR_BYTES = before


@pytest.mark.parametrize(
    "length", [*range(40), 254, 255, 256, 257, 300, 511, 512, 1023, 1024, 65535, 65536, 70000]
)
@pytest.mark.parametrize("wide", [False, True])
def test_texts_bytes_and_ints_of_every_length_come_back(length, wide, monkeypatch):
    monkeypatch.setattr(opcodes, "_COMPILE_FOR_BYTES", 0 if wide else 1 << 30)
    for obj in ("é" + "x" * length, b"." * length, 1 << (8 * length), -(1 << (8 * length))):
        assert decode_plain(encode_plain([obj, obj, {"k": obj}])) == [obj, obj, {"k": obj}]


@pytest.mark.parametrize(
    "obj",
    [
        [(i, i + 1, "t") for i in range(60_000)],
        {(i, "t"): {"t": ((i,), "x" * 300)} for i in range(30_000)},
        (*((i,) for i in range(60_000)), {1: 2}),
        [{"title": "t" * 10} for i in range(20_000)],
    ],
    ids=["tuples", "tuples in dicts", "one long tuple", "many letters t"],
)
def test_large_data_with_many_tuples_comes_back(obj):
    assert decode_plain(encode_plain(obj)) == obj


# --- fuzz ---------------------------------------------------------------------------------------------------


def mutated(data: bytes, chance: random.Random, corpus: list[bytes]) -> bytes:
    """A few changes, of the kinds that break parsers."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        kind = chance.randrange(6)
        if kind == 0 and place < len(changed):
            changed[place] = chance.choice(
                b"XBC\x8a\x8bKMJG])}(aesut\x85\x86\x87.2qrphj\x94\x95cR\xff\0"
                + bytes([chance.randrange(256)])
            )
        elif kind == 1:
            del changed[place : place + chance.randint(1, 8)]
        elif kind == 2:
            changed[place:place] = chance.randbytes(chance.randint(1, 5))
        elif kind == 3:
            changed[place : place + 4] = struct.pack(
                "<I", chance.choice((0, 1, 255, 256, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF))
            )
        elif kind == 4:
            other = chance.choice(corpus)
            start = chance.randrange(len(other))
            changed[place:place] = other[start : start + chance.randint(1, 30)]
        else:
            changed[place:place] = changed[place : place + 20] * chance.randint(1, 20)
    return bytes(changed)


def fuzz(seed: int, rounds: int, folder: Path) -> list[str]:
    """What is raised beside the declared errors."""
    chance = random.Random(seed)
    ring = KeyRing.open(folder)
    registry = TypeRegistry().bound("xxh3-128", Signer("r", lambda: ring))
    signed = encode_envelope(*sign(b"\x80\x05N.", Claim("r", "0" * 32, "x.Y", "pickle"), ring), b"\x80\x05N.")
    corpus = [
        encode_plain({"a": [1, 2.5, "x" * 30, b"y", None, True, 1 << 80], "b": ("t", {"c": -1})}),
        encode_plain([(i, str(i)) for i in range(40)]),
        registry.dump({"a": {1, 2}, "b": [frozenset("xy"), 1j, range(3)], (1, 2): {...}}).data,
        encode_plain({"m": (NODE, "x.Y", "pickle", encode_plain(("0" * 32, signed)))}),
        encode_plain(("0" * 32, signed)),
        signed,
    ]
    surprises = []
    for _ in range(rounds):
        data = mutated(chance.choice(corpus), chance, corpus)
        for decode in (
            decode_plain,
            decode_envelope,
            lambda data: registry.load(Payload("builtins.dict", "tagged", data)),
            lambda data: registry.load(Payload("x.Y", "pickle", data)),
        ):
            try:
                decode(data)
            except (DecodeError, UntrustedPayload):
                pass
            except BaseException as error:
                surprises.append(f"{error!r} from {data!r}")
    return surprises


def test_mutated_payloads_raise_declared_errors_alone(tmp_path):
    rounds = 40_000 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 4_000
    seed = 20261120
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from tests.values.trust.test_trust_plain import fuzz\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30,) * 2)\n"
        f"print('\\n'.join(fuzz({seed}, {rounds}, Path(sys.argv[1]))[:5]))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "keys")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "", f"seed {seed}"

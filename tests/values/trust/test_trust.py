"""Trust: what is loaded, for whom, as what; and that nothing is executed for anybody else (F26, F33-F37)."""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.values.trust.gadgets import GADGETS, LIVE
from valuestore.errors import DecodeError, KeyUnusable, NotHashableError, UntrustedPayload
from valuestore.hashing import encode_plain
from valuestore.values.codecs.signed import Signer
from valuestore.values.identity.canonical import NODE
from valuestore.values.registry import Payload, TypeRegistry
from valuestore.values.trust.gate import (
    Claim,
    decode_envelope,
    decode_plain,
    dump_signed,
    encode_envelope,
    load_signed,
    sign,
)
from valuestore.values.trust.keys import KeyRing

CLAIM = Claim("repository", "0" * 32, "shop.Model", "pickle")
ROOT = Path(__file__).parents[3]


class Model:
    """Has a way of its own to be pickled, so it is stored as a pickle."""

    def __init__(self, weights):
        self.weights = weights

    def __setstate__(self, state):
        self.__dict__.update(state)


class Stubborn:
    """Does what it was told to when it is unpickled."""

    action = staticmethod(lambda: None)

    def __setstate__(self, state):
        Stubborn.action()

    def __reduce_ex__(self, protocol):
        return Stubborn, (), {"a": 1}


@pytest.fixture
def keys(tmp_path):
    return KeyRing.open(tmp_path / "keys")


@pytest.fixture
def strangers_keys(tmp_path):
    return KeyRing.open(tmp_path / "strangers-keys")


def signed(obj, keys, claim=CLAIM):
    data = dump_signed(obj)
    return data, *sign(data, claim, keys)


# --- signatures ----------------------------------------------------------------------------------------


def test_what_was_signed_comes_back(keys):
    data, key_id, mac = signed(Model([1, 2]), keys)
    assert load_signed(data, CLAIM, key_id, mac, keys).weights == [1, 2]
    assert load_signed(memoryview(data), CLAIM, key_id, mac, keys).weights == [1, 2]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Claim)])
def test_signature_holds_for_one_claim_alone(keys, field):
    data, key_id, mac = signed(Model(1), keys)
    with pytest.raises(UntrustedPayload, match="run the pipeline again"):
        load_signed(data, dataclasses.replace(CLAIM, **{field: "other"}), key_id, mac, keys)


def test_text_moved_from_one_part_of_the_claim_to_the_next_is_another_claim(keys):
    data = dump_signed(1)
    key_id, mac = sign(data, Claim("a", "bc", "d", "e"), keys)
    with pytest.raises(UntrustedPayload):
        load_signed(data, Claim("ab", "c", "d", "e"), key_id, mac, keys)


@pytest.mark.parametrize("position", range(0, 60, 7))
def test_changed_data_or_signature_is_not_loaded(keys, position):
    data, key_id, mac = signed(Model(list(range(20))), keys)
    changed = bytearray(data)
    changed[position] ^= 1
    with pytest.raises(UntrustedPayload):
        load_signed(bytes(changed), CLAIM, key_id, mac, keys)
    forged = bytearray(mac)
    forged[position % 32] ^= 1
    with pytest.raises(UntrustedPayload):
        load_signed(data, CLAIM, key_id, bytes(forged), keys)


@pytest.mark.parametrize("mac", [b"", b"\0" * 32, b"\0" * 31, b"\0" * 33])
def test_no_signature_is_not_a_signature(keys, mac):
    data, key_id, _ = signed(Model(1), keys)
    with pytest.raises(UntrustedPayload):
        load_signed(data, CLAIM, key_id, mac, keys)


def test_unknown_key_is_named_with_the_remedy(keys, strangers_keys):
    data, key_id, mac = signed(Model(1), strangers_keys)
    with pytest.raises(UntrustedPayload, match=f"{key_id}.*valuestore keys add"):
        load_signed(data, CLAIM, key_id, mac, keys)


def test_added_and_rotated_keys_are_accepted(keys, strangers_keys):
    data, key_id, mac = signed(Model(1), strangers_keys)
    keys.add(strangers_keys.folder / f"{key_id}.key")
    assert load_signed(data, CLAIM, key_id, mac, keys).weights == 1
    own, own_id, own_mac = signed(Model(2), keys)
    keys.rotate()
    assert keys.signing.key_id != own_id
    assert load_signed(own, CLAIM, own_id, own_mac, KeyRing.open(keys.folder)).weights == 2


def test_known_key_under_another_id_does_not_verify(keys, strangers_keys):
    data, _, mac = signed(Model(1), strangers_keys)
    with pytest.raises(UntrustedPayload):
        load_signed(data, CLAIM, keys.signing.key_id, mac, keys)


def test_key_file_open_to_others_loads_nothing_and_says_chmod(keys):
    data, key_id, mac = signed(Model(1), keys)
    (keys.folder / f"{key_id}.key").chmod(0o644)
    with pytest.raises(UntrustedPayload, match="chmod 600"):
        load_signed(data, CLAIM, key_id, mac, KeyRing.open(keys.folder))


def test_key_id_of_any_shape_is_unknown_and_short_in_the_message(keys):
    for key_id in ("../../x", "\x1b[31m", "a" * 100_000, ""):
        with pytest.raises(UntrustedPayload) as caught:
            load_signed(b"", CLAIM, key_id, b"", keys)
        assert len(str(caught.value)) < 400
        assert "\x1b" not in str(caught.value)


def test_where_no_key_can_be_made_plain_values_go_on(tmp_path):
    (tmp_path / "file").touch()
    ring = KeyRing.open(tmp_path / "file" / "keys")
    registry = TypeRegistry().bound("xxh3-128", Signer("repository", lambda: ring))
    assert registry.load(registry.dump({"a": {1, 2}})) == {"a": {1, 2}}
    with pytest.raises(KeyUnusable, match="plain values need no key"):
        registry.dump(Model([1]))


# --- good signature, bad pickle ----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, SystemExit, GeneratorExit])
def test_whatever_a_class_raises_is_a_decode_error(keys, monkeypatch, error):
    def fail():
        raise error("no longer")

    monkeypatch.setattr(Stubborn, "action", fail)
    with pytest.raises(DecodeError, match=error.__name__):
        load_signed(*with_claim(signed(Stubborn(), keys)), keys)


def with_claim(parts):
    data, key_id, mac = parts
    return data, CLAIM, key_id, mac


def test_ctrl_c_passes(keys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(Stubborn, "action", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_signed(*with_claim(signed(Stubborn(), keys)), keys)


def test_vanished_class_is_a_decode_error(keys, monkeypatch):
    parts = signed(Model(1), keys)
    monkeypatch.delattr(sys.modules[__name__], "Model")
    with pytest.raises(DecodeError, match="AttributeError"):
        load_signed(*with_claim(parts), keys)


# --- what can be pickled (F26) --------------------------------------------------------------------------


class Fails:
    def __reduce__(self):
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (lambda: Model({"a": [1, threading.Lock()]}), r"value\.weights\['a'\]\[1\]:.*lock"),
        (lambda: Model(x for x in ()), r"value\.weights:.*generator"),
        (lambda: Model(Model(Fails())), r"value\.weights\.weights:.*not today"),
        (lambda: [Model(lambda: 0)], r"value\[0\]\.weights:"),
        (lambda: {Model: {"k" * 500: sys}}, r"value\[<type>\]\['kkk.*\.\.\.:.*module"),
        (threading.Lock, r"value:"),
        (lambda: functools.partial(print, threading.Lock()), r"value.*lock"),
    ],
)
def test_member_that_cannot_be_pickled_is_named_by_its_path(obj, path):
    with pytest.raises(NotHashableError, match=path):
        dump_signed(obj())


def test_cycle_around_an_unpicklable_member_ends():
    model = Model({})
    model.weights["self"] = model
    model.weights["lock"] = threading.Lock()
    with pytest.raises(NotHashableError, match=r"value\.weights\['lock'\]"):
        dump_signed(model)


def test_too_deep_nesting_is_a_typed_error():
    nested = Model(None)
    for _ in range(100_000):
        nested = Model(nested)
    with pytest.raises(NotHashableError):
        dump_signed(nested)
    while nested is not None:  # from outside in: a chain of finalizers would go as deep
        nested = nested.weights


def test_class_of_a_script_survives_under_the_name_of_its_file(tmp_path, scripts):
    script = tmp_path / "shop.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from valuestore.values.trust.gate import *\nfrom valuestore.values.trust.keys import KeyRing\n"
        "class Cart:\n    def __init__(self, n): self.n = n\n"
        "def double(x): return 2 * x\n"
        "claim, keys = Claim('r', 'v', 'shop.Cart', 'pickle'), KeyRing(Path('keys'))\n"
        "if sys.argv[1] == 'dump':\n"
        "    data = dump_signed([Cart(1), double, Cart])\n"
        "    Path('data').write_bytes(encode_envelope(*sign(data, claim, keys), data))\n"
        "else:\n"
        "    found = decode_envelope(Path('data').read_bytes())\n"
        "    cart, function, cls = load_signed(found.data, claim, found.key_id, found.mac, keys)\n"
        "    print(type(cart) is Cart is cls and cart.n == 1 and function is double)\n"
    )
    other = tmp_path / "other.py"
    other.write_text(script.read_text())

    assert scripts.run(script, "dump").code == 0
    assert b"__main__" not in (tmp_path / "data").read_bytes()
    assert scripts.run(script, "load").out == "True\n"
    assert "DecodeError" in scripts.run(other, "load").err


# --- envelopes ---------------------------------------------------------------------------------------------


def test_envelope_gives_its_parts_back():
    found = decode_envelope(encode_envelope("0123abcd", b"m" * 32, b"data"))
    assert (found.key_id, found.mac, bytes(found.data)) == ("0123abcd", b"m" * 32, b"data")


@pytest.mark.parametrize("cut", [0, 1, 10, 19, 27, 58])
def test_cut_envelope_is_a_decode_error(cut):
    with pytest.raises(DecodeError):
        decode_envelope(encode_envelope("0123abcd", b"m" * 32, b"")[:cut])


@pytest.mark.parametrize("position", range(27))
def test_damaged_header_is_a_decode_error(position):
    data = bytearray(encode_envelope("0123abcd", b"m" * 32, b"data"))
    data[position] = 0xFF
    with pytest.raises(DecodeError):
        decode_envelope(bytes(data))


# --- the hostile corpus ------------------------------------------------------------------------------------


def test_the_corpus_is_alive(tmp_path):
    """Without the gate each of these works; a corpus of duds would prove nothing."""
    code = (
        "import os, pickle, sys\nfrom tests.values.trust.gadgets import GADGETS, LIVE\n"
        "for name in sorted(LIVE):\n"
        "    marker = os.path.join(sys.argv[1], name)\n"
        "    try: pickle.loads(GADGETS[name](marker))\n"
        "    except Exception: pass\n"
        "    if not os.path.exists(marker): print(name)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert len(LIVE) >= 40


def registry_of(keys, repository_id="repository"):
    return TypeRegistry().bound("xxh3-128", Signer(repository_id, lambda: keys))


def leaf(data, claim, keys, key_id=None, mac=None):
    """A payload of codec ``pickle``, signed for that claim unless key id and signature are given."""
    if mac is None:
        key_id, mac = sign(data, claim, keys)
    return encode_plain((claim.value_hash, encode_envelope(key_id, mac, data)))


@pytest.mark.parametrize("name", sorted(GADGETS))
def test_gadget_is_never_executed(name, tmp_path, keys, strangers_keys):
    marker = tmp_path / "marker"
    data = GADGETS[name](str(marker))
    registry = registry_of(keys)
    claim = Claim("repository", "0" * 32, "shop.Model", "pickle")
    own_id = keys.signing.key_id

    def of(**changes):
        return leaf(data, dataclasses.replace(claim, **changes), keys)

    payloads = [
        Payload("builtins.list", "plain", data),
        Payload("builtins.list", "tagged", data),
        Payload("shop.Model", "pickle", data),
        Payload("shop.Model", "pickle", encode_envelope(own_id, b"\0" * 32, data)),
        Payload("shop.Model", "pickle", leaf(data, claim, keys, own_id, b"\0" * 32)),
        Payload("shop.Model", "pickle", leaf(data, claim, strangers_keys)),
        Payload(
            "shop.Model", "pickle", leaf(data, claim, keys, own_id, sign(data, claim, strangers_keys)[1])
        ),
        Payload("shop.Model", "pickle", of(repository_id="elsewhere")),
        Payload("shop.Model", "pickle", of(value_hash="1" * 32)),
        Payload("shop.Model", "pickle", of(type_name="shop.Other")),
        Payload("shop.Model", "pickle", of(codec="plain")),
        Payload("builtins.dict", "tagged", encode_plain((NODE, "shop.Model", "pickle", data))),
        Payload(
            "builtins.dict",
            "tagged",
            encode_plain({"a": [(NODE, "shop.Model", "pickle", leaf(data, claim, strangers_keys))]}),
        ),
        Payload(
            "builtins.dict", "tagged", encode_plain((NODE, "shop.Other", "pickle", leaf(data, claim, keys)))
        ),
    ]
    for payload in payloads:
        with pytest.raises((DecodeError, UntrustedPayload)):
            registry.load(payload, "0" * 32)
        assert not marker.exists(), payload


def test_unsigned_payload_without_a_signer_is_refused(keys):
    payload = Payload("shop.Model", "pickle", leaf(pickle.dumps(1), CLAIM, keys))
    with pytest.raises(UntrustedPayload):
        TypeRegistry().load(payload)


def test_extension_codes_used_by_others_reach_nothing(keys, tmp_path):
    """A code that was resolved before is answered from a cache, past ``find_class``."""
    copyreg.add_extension("os", "mkdir", 1)
    try:
        assert pickle.loads(b"\x80\x02\x82\x01.") is os.mkdir
        with pytest.raises(DecodeError):
            decode_plain(b"\x80\x03\x82\x01(" + encode_plain(str(tmp_path / "marker"))[2:-1] + b"tR.")
        with pytest.raises(DecodeError):
            decode_plain(b"\x80\x03\x82\x01.")
    finally:
        copyreg.remove_extension("os", "mkdir", 1)
    assert not (tmp_path / "marker").exists()

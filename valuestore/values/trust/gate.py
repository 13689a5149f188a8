"""The one gate through which stored bytes become objects: every unpickler of the project is here.

``needs_key`` looks at tagged data before anything of it is built, when it is stored (so that it gets its
signature) and when it is read, by the table of kinds.py.

The plain unpickler resolves nothing: it can build None, bool, int, float, str, bytes, list, tuple, dict
and no other thing, whoever wrote the bytes. The signed one builds anything, and is asked only after the
bytes proved to come from a key of this user's ring, for the very value they are given for. A test greps
the tree for any loader outside this file.
"""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

import blake3

from valuestore.errors import DecodeError, KeyUnusable, UntrustedPayload
from valuestore.hashing import ATOMS, Bytes
from valuestore.values.identity.canonical import EXPRESSION, NODE, TypeRule
from valuestore.values.moved import present_name
from valuestore.values.trust.kinds import CONTAINERS, Kind, Opening
from valuestore.values.trust.opcodes import check_plain
from valuestore.values.trust.pickling import dump_signed as dump_signed
from valuestore.values.value import Plain

if TYPE_CHECKING:
    from valuestore.values.trust.keys import Key, KeyRing

_FORMAT = b"valuestore/signed/1\0"
_FORMAT_BESIDE = "valuestore/signed/2 "
_MAGIC = b"\x93valuestore-signed\x01"
_KEY_ID_BYTES = 8
_MAC_BYTES = 32
_HEADER_BYTES = len(_MAGIC) + _KEY_ID_BYTES + _MAC_BYTES
_HEX = frozenset(b"0123456789abcdef")
_AMPLIFIED = 64
_RECOMPUTE = "run the pipeline again to compute it anew"


# --- signed pickles -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """What the signature of an older pickle vouches for beside the bytes: whose they are, and as what."""

    repository_id: str
    value_hash: str
    type_name: str
    codec: str


@dataclass(frozen=True)
class Envelope:
    """A payload of codec ``pickle``: signature and pickle bytes, nothing of which is believed yet."""

    key_id: str
    mac: bytes
    data: Bytes


class Signature(NamedTuple):
    """Which key vouches for bytes that are stored by themselves, and as which value. Not believed yet."""

    value_hash: str
    key_id: str
    mac: bytes


def sign(data: Bytes, claim: Claim, keys: KeyRing) -> tuple[str, bytes]:
    """Key id, and 32 bytes of HMAC-SHA256 over format, claim and digest of the data. Raises: KeyUnusable."""
    key = keys.signing
    return key.key_id, key.mac(_signed_bytes(data, claim, key.key_id))


def verify(data: Bytes, claim: Claim, key_id: str, mac: bytes, keys: KeyRing) -> None:
    """Whether a key of the ring vouches for these bytes under this claim. Raises: UntrustedPayload if not."""
    key = _known_key(key_id, claim.value_hash, claim.codec, keys)
    _compare(mac, key.mac(_signed_bytes(data, claim, key_id)), key_id, claim.value_hash, claim.codec)


def sign_beside(data: Bytes, value_hash: str, type_name: str, codec: str, keys: KeyRing) -> Signature:
    """32 bytes of keyed BLAKE3 over value hash, type, codec and data. Raises: KeyUnusable.

    It holds in whatever repository: which one that is, only a database could claim.
    """
    key = keys.signing
    return Signature(value_hash, key.key_id, key.keyed(_told(value_hash, type_name, codec), data))


def verify_beside(data: Bytes, type_name: str, codec: str, signature: Signature, keys: KeyRing) -> None:
    """Whether a key of the ring vouches for this data as that value. Raises: UntrustedPayload if not."""
    value_hash, key_id, mac = signature
    key = _known_key(key_id, value_hash, codec, keys)
    _compare(mac, key.keyed(_told(value_hash, type_name, codec), data), key_id, value_hash, codec)


def _told(value_hash: str, type_name: str, codec: str) -> bytes:
    told = f"{_FORMAT_BESIDE}{codec} {len(value_hash)} {value_hash} {len(type_name)} {type_name}"
    return told.encode("utf-8", "surrogatepass") + b"\0"


def _known_key(key_id: str, value_hash: str, codec: str, keys: KeyRing) -> Key:
    try:
        key = keys.find(key_id)
    except KeyUnusable as error:
        raise UntrustedPayload(value_hash, codec, str(error)) from error
    if key is None:
        from valuestore.values.trust.keys import is_key_id

        signer = f"key {key_id}" if is_key_id(key_id) else "no key"
        fix = f"it was signed by {signer}: `valuestore keys add FILE` with a key you trust, or {_RECOMPUTE}"
        raise UntrustedPayload(value_hash, codec, fix)
    return key


def _compare(mac: bytes, right: bytes, key_id: str, value_hash: str, codec: str) -> None:
    from hmac import compare_digest  # late: most programs sign nothing

    if not compare_digest(mac, right):
        fix = f"its signature by key {key_id} is wrong, so it is not what was stored: {_RECOMPUTE}"
        raise UntrustedPayload(value_hash, codec, fix)


def load_signed(data: Bytes, claim: Claim, key_id: str, mac: bytes, keys: KeyRing) -> Any:
    """The object, if a key of the ring vouches for these bytes under this claim.

    Raises: UntrustedPayload, before anything is unpickled; DecodeError if a class has vanished or changed.
    """
    data = _unchanging(data)
    verify(data, claim, key_id, mac, keys)
    return load_vouched(data, claim.type_name)


def load_vouched(data: Bytes, type_name: str) -> Any:
    """The object of a pickle that a key vouched for, by itself or as a part, or that was made here.

    Raises: DecodeError if a class has vanished or changed.
    """
    try:
        return _SignedUnpickler(io.BytesIO(data)).load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a class does, down to sys.exit
        raise DecodeError(type_name, f"its pickle no longer fits ({type(error).__name__})") from error


class _SignedUnpickler(pickle.Unpickler):
    """Builds anything, so it is given signed bytes alone; what has moved is found where it is now."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        now = present_name(f"{module_name}.{global_name}").removesuffix(f".{global_name}")
        return super().find_class(now, global_name)


def _unchanging(data: Bytes) -> Bytes:
    """Bytes that nobody can write to between the check and the use, as one can to a mapped file."""
    is_view_of_bytes = isinstance(data, memoryview) and type(data.obj) is bytes
    return data if type(data) is bytes or is_view_of_bytes else bytes(data)


def encode_envelope(key_id: str, mac: bytes, data: Bytes) -> bytes:
    """The payload of codec ``pickle``: magic, key id, signature, pickle."""
    return b"".join((_MAGIC, key_id.encode("ascii"), mac, data))


def decode_envelope(data: Bytes) -> Envelope:
    """What ``encode_envelope`` put together; nothing is believed or unpickled. Raises: DecodeError."""
    view = memoryview(data).cast("B")
    header = bytes(view[:_HEADER_BYTES])
    key_id = header[len(_MAGIC) : -_MAC_BYTES]
    if len(header) != _HEADER_BYTES or not header.startswith(_MAGIC) or not _HEX.issuperset(key_id):
        raise DecodeError("pickle", "damaged: it is not in a signed envelope")
    return Envelope(key_id.decode("ascii"), header[-_MAC_BYTES:], view[_HEADER_BYTES:])


def _signed_bytes(data: Bytes, claim: Claim, key_id: str) -> bytes:
    """What the MAC is over. Every part has its length before it, so no two claims give the same bytes."""
    digest = blake3.blake3(data).digest()  # a collision-resistant one, whatever the repository's algorithm is
    facts = (claim.repository_id, claim.value_hash, claim.type_name, claim.codec, key_id)
    parts = [*(fact.encode("utf-8", "surrogatepass") for fact in facts), digest]
    return _FORMAT + b"".join(struct.pack(">Q", len(part)) + part for part in parts)


# --- plain data -----------------------------------------------------------------------------------


class _PlainUnpickler(pickle.Unpickler):
    """Refuses each way by which pickle data can reach code."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise DecodeError("plain", f"it names {module_name}.{global_name}, and plain data names nothing")

    def persistent_load(self, _pid: Any, /) -> NoReturn:
        raise DecodeError("plain", "it refers to an object outside itself")


class _Whole(io.BytesIO):
    """Bytes that an unpickler can look at as a whole, without a copy; else it asks for each opcode."""

    def peek(self, _size: int = 0, /) -> bytes:
        """All that is not read yet; ``io.BufferedReader.peek`` may give more than asked for, too."""
        return self.getvalue()[self.tell() :]


def decode_plain(data: Bytes) -> Any:
    """The plain data that ``hashing.encode_plain`` made these bytes from.

    Takes memory in proportion to the bytes, whatever they claim. Raises: DecodeError for anything else:
    truncated or trailing bytes, a global, a persistent id, a memo, a duplicate, a length with nothing behind.
    """
    data = data if type(data) is bytes else bytes(data)
    check_plain(data)
    try:
        return _PlainUnpickler(_Whole(data)).load()
    except DecodeError:
        raise
    except Exception as error:  # the unpickler raises a dozen types on damaged input
        raise DecodeError("plain", f"damaged ({type(error).__name__})") from error


# --- unsigned data, looked at before anything of it is built ------------------------------------------


class Known(Protocol):
    """Where the gate looks types up: the registry."""

    def opening_named(self, type_name: str, /) -> tuple[Opening, TypeRule | None]:
        """Of which kind values of that type name are, and the rule. Raises: DecodeError."""


class _Vouched(Exception):
    """A part was met that needs a signature."""


def needs_key(form: Plain, rules: Known, size: int) -> str | None:
    """The type of the first part that loads with a signature alone; None if there is none.

    ``size`` is that of the payload, in bytes. Raises: DecodeError for what nobody has stored.
    """
    try:
        _Look(rules, size).at(form, inert=False, key=False)
    except _Vouched as found:
        return str(found)
    return None


class _Look:
    def __init__(self, rules: Known, size: int) -> None:
        self.rules = rules
        self.most_made = _AMPLIFIED * size

    def at(self, form: Plain, *, inert: bool, key: bool) -> None:
        """Look at all of it. ``inert``: data classes are not allowed; ``key``: it is going to be hashed."""
        stack = [form]
        while stack:
            part = stack.pop()
            kind = type(part)
            if kind is tuple and part and part[0] == NODE:
                self.node(part, stack, inert, key)
            elif kind in CONTAINERS:
                parts = part.values() if kind is dict else part
                if not ATOMS.issuperset(map(type, parts)):
                    stack.extend([one for one in parts if type(one) in CONTAINERS])

    def node(self, node: tuple[Any, ...], stack: list[Plain], inert: bool, key: bool) -> None:
        type_name = node[1] if len(node) in (3, 4) else None
        if type(type_name) is not str:
            raise DecodeError("tagged", "a node without type name and state")
        state = node[2]
        if type_name == EXPRESSION:
            raise _Vouched(type_name)
        if type_name == "builtins.tuple":
            stack.extend(_items(type_name, state))
        elif type_name == "builtins.dict":
            for pair in _items(type_name, state):
                name, value = _items(type_name, pair)
                stack.append(value)
                if type(name) in CONTAINERS:
                    self.at(name, inert=inert, key=True)
        elif len(node) == 4:
            opening, rule = self.rules.opening_named(type_name)
            codec = rule.codec.name if rule is not None and rule.codec is not None else None
            if opening.kind is not Kind.INERT or codec != state or type(node[3]) is not bytes:
                raise _Vouched(type_name)
        else:
            self.state(type_name, state, stack, inert, key)

    def state(self, type_name: str, state: Plain, stack: list[Plain], inert: bool, key: bool) -> None:
        opening, _ = self.rules.opening_named(type_name)
        if opening.kind is Kind.VOUCHED or (inert and opening.kind is Kind.DATA):
            raise _Vouched(type_name)
        if key and not opening.is_key:
            raise _Vouched(type_name)
        if not opening.check(state):
            self.at(state, inert=inert or opening.parts_are_inert, key=False)  # something in it may say why
            if opening.kind is Kind.INERT or type(state) is not dict:
                raise DecodeError(type_name, "its stored state is none of that type")
            raise _Vouched(type_name)
        if inert and type_name in ("builtins.range", "pandas.RangeIndex") and self._is_long(state):
            raise _Vouched(type_name)
        if opening.parts_are_keys:
            self.at(state, inert=inert, key=True)
        elif opening.parts_are_inert and not inert:
            self.at(state, inert=True, key=key)
        elif type(state) in CONTAINERS:
            stack.append(state)

    def _is_long(self, state: Plain) -> bool:
        """Whether a library that takes a range for its items would make more of it than there are bytes."""
        ends = state if type(state) is list else [state.get(name) for name in ("start", "stop", "step")]
        if [type(end) for end in ends] != [int, int, int]:
            return True
        start, stop, step = ends
        return step == 0 or bool(abs(stop - start) // abs(step) > self.most_made)


def _items(type_name: str, state: Plain) -> list[Any] | tuple[Any, ...]:
    if type(state) not in (list, tuple):
        raise DecodeError(type_name, "its items are no list")
    return state  # type: ignore[no-any-return]

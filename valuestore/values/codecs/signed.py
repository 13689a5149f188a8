"""Signed: values that load with a signature alone, which stands beside the bytes: tagged data, or a pickle.

A pickle is the codec of last resort, for objects of classes that nobody has a rule for. What such bytes stand
for is built, by the trust gate (trust/gate.py), only once the signature of a trusted key holds over value
hash, type, codec and bytes. It holds wherever that value is stored: which repository it is, only a database
could claim. Without a repository, a key of this process alone signs. Older payloads hold their one signature
themselves, in an envelope, with the value hash.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from valuestore.errors import ConfigError, DecodeError, KeyUnusable, NotHashableError, UntrustedPayload
from valuestore.hashing import Bytes
from valuestore.values.identity.canonical import PICKLED as PICKLED
from valuestore.values.trust import gate

if TYPE_CHECKING:
    from valuestore.values.trust.keys import KeyRing

_UNSIGNED = (
    "it holds a {}, and no key signed it: run the pipeline again, or sign it by `valuestore keys adopt`"
)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: how to get at the user's keys; the repository's id, which older pickles are bound to."""

    repository_id: str
    keys: Callable[[], KeyRing]

    def knows(self, key_id: str) -> bool:
        """Whether a key of that id is on the ring; of one that cannot be used, reading the value tells."""
        with suppress(KeyUnusable, ConfigError):
            return self.keys().find(key_id) is not None
        return False


def user_keys() -> KeyRing:
    """The user's keys; asked for only when something has to be signed or verified."""
    from valuestore.values.trust.keys import KeyRing

    return KeyRing.open()


def check_pickle(data: bytes, type_name: str, value_hash: str, hash_of: Callable[[Any], str]) -> None:
    """Raises: NotHashableError if the pickle of an object that is not told by it says something else."""
    try:
        same = hash_of(gate.load_vouched(data, type_name)) == value_hash
        reason = "the way it is pickled leaves something out"
    except (DecodeError, NotHashableError) as error:
        same, reason = False, str(error)
    if not same:
        raise NotHashableError("value", f"it leads back to itself, and {reason}")


def bare(data: Bytes) -> Bytes:
    """The pickle without its envelope, if it is in one. Verifies nothing."""
    try:
        return signature_of(data)[1].data
    except DecodeError:
        return data


def is_sealed(form: Any) -> bool:
    """Whether this is a value hash and an envelope, and not what the envelope would hold."""
    return isinstance(form, tuple) and [type(part) for part in form] == [str, bytes]


def signature_of(data: Bytes) -> tuple[str, gate.Envelope]:
    """The value hash and the envelope in an older payload, nothing verified. Raises: DecodeError."""
    leaf = gate.decode_plain(bytes(data))
    if not is_sealed(leaf):
        raise DecodeError("pickle", "it is no signed pickle")
    return leaf[0], gate.decode_envelope(leaf[1])


def sign(data: bytes, type_name: str, value_hash: str, codec: str, signer: Signer | None) -> gate.Signature:
    """The signature of a payload as that value. Raises: KeyUnusable."""
    return gate.sign_beside(data, value_hash, type_name, codec, _keys(signer))


def opened(
    codec: str,
    type_name: str,
    payload: Bytes,
    value_hash: str | None,
    signature: gate.Signature | None,
    signer: Signer | None,
) -> bytes:
    """What to decode, once a trusted key vouches for it, as that value if given. Raises: UntrustedPayload."""
    data = bytes(payload)
    said = signature or sealed_signature(codec, type_name, data, value_hash)
    if value_hash is not None and value_hash != said.value_hash:
        raise UntrustedPayload(
            value_hash, codec, f"it was signed as {said.value_hash}; run the pipeline again"
        )
    if signature is None:
        data = bytes(signature_of(data)[1].data)
    if signature is None and codec == PICKLED.name:
        if signer is None:
            raise UntrustedPayload(said.value_hash, codec, "read it through its repository: Repository.get")
        claim = gate.Claim(signer.repository_id, said.value_hash, type_name, codec)
        gate.verify(data, claim, said.key_id, said.mac, signer.keys())
    else:
        gate.verify_beside(data, type_name, codec, said, _keys(signer))
    return data


def sealed_signature(codec: str, type_name: str, data: bytes, value_hash: str | None) -> gate.Signature:
    """The one in the envelope of an older payload, nothing verified. Raises: UntrustedPayload if none is."""
    try:
        signed_hash, envelope = signature_of(data)
    except DecodeError:
        raise unsigned(value_hash, codec, type_name) from None
    return gate.Signature(signed_hash, envelope.key_id, envelope.mac)


def unsigned(value_hash: str | None, codec: str, type_name: str) -> UntrustedPayload:
    """The error for what holds something vouched, of that type, and no signature."""
    return UntrustedPayload(value_hash or "of no name", codec, _UNSIGNED.format(type_name))


def _keys(signer: Signer | None) -> KeyRing:
    return _passing() if signer is None else signer.keys()


@cache
def _passing() -> KeyRing:
    from valuestore.values.trust.keys import PassingKey

    return PassingKey()

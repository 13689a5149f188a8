"""The codec of vouched values: tagged data that says which value it is, and who signed it.

What such data stands for is built only once the signature of a trusted key holds over value hash, type,
codec and bytes. It holds wherever that value is stored: which repository it is, only a database could claim.
Without a repository, a key of this process alone signs.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from valuestore.errors import UntrustedPayload
from valuestore.hashing import Bytes, encode_plain
from valuestore.values.codecs.pickled import Signer, signature_of
from valuestore.values.codecs.plain import SIGNED
from valuestore.values.trust import gate

if TYPE_CHECKING:
    from valuestore.values.trust.keys import KeyRing

_UNSIGNED = (
    "it holds a {}, and no key signed it: run the pipeline again, or sign it by `valuestore keys adopt`"
)


def seal(data: bytes, type_name: str, value_hash: str, signer: Signer | None) -> bytes:
    """The payload of tagged data, signed. Raises: KeyUnusable."""
    key_id, mac = gate.sign_tagged(data, value_hash, type_name, _keys(signer))
    return encode_plain((value_hash, gate.encode_envelope(key_id, mac, data)))


def unseal(payload: Bytes, type_name: str, value_hash: str | None, signer: Signer | None) -> bytes:
    """The tagged data, if a trusted key signed it as that value. Raises: UntrustedPayload, DecodeError."""
    signed_hash, envelope = signature_of(payload)
    if value_hash is not None and value_hash != signed_hash:
        raise UntrustedPayload(value_hash, SIGNED, f"it was signed as {signed_hash}; run the pipeline again")
    data = bytes(envelope.data)
    gate.verify_tagged(data, signed_hash, type_name, envelope.key_id, envelope.mac, _keys(signer))
    return data


def unsigned(value_hash: str | None, codec: str, type_name: str) -> UntrustedPayload:
    """The error for what holds something vouched, of that type, and no signature."""
    return UntrustedPayload(value_hash or "of no name", codec, _UNSIGNED.format(type_name))


def _keys(signer: Signer | None) -> KeyRing:
    return _passing() if signer is None else signer.keys()


@cache
def _passing() -> KeyRing:
    from valuestore.values.trust.keys import PassingKey

    return PassingKey()

"""Signatures of vouched values: tagged data or a pickle, with a signature beside it for each key.

What such bytes stand for is built only once the signature of a trusted key holds over value hash, type,
codec and bytes. It holds wherever that value is stored: which repository it is, only a database could claim.
Without a repository, a key of this process alone signs. Older payloads hold their one signature themselves,
in an envelope.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from valuestore.errors import DecodeError, UntrustedPayload
from valuestore.hashing import Bytes
from valuestore.values.codecs.pickled import PICKLED, Signer, signature_of
from valuestore.values.trust import gate

if TYPE_CHECKING:
    from valuestore.values.trust.keys import KeyRing

_UNSIGNED = (
    "it holds a {}, and no key signed it: run the pipeline again, or sign it by `valuestore keys adopt`"
)


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
    """What is to be decoded, once a trusted key vouches for it as that value, if one is named.

    Raises: UntrustedPayload.
    """
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

"""The codec of last resort: a pickle, signed with the user's own key.

For objects of classes that nobody has a rule for. The bytes say which value they are and who signed them;
reading them goes through the trust gate (trust/gate.py), which loads nothing that it cannot verify.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valuestore.errors import DecodeError, NotHashableError, UntrustedPayload
from valuestore.hashing import Bytes, encode_plain
from valuestore.values.identity.canonical import PICKLED as PICKLED
from valuestore.values.trust import gate as trust
from valuestore.values.trust.pickling import dump_signed

if TYPE_CHECKING:
    from valuestore.values.trust.keys import KeyRing


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose pickles these are: the repository's id, and how to get at the user's keys."""

    repository_id: str
    keys: Callable[[], KeyRing]

    def claim(self, value_hash: str, type_name: str) -> trust.Claim:
        """What a signature vouches for."""
        return trust.Claim(self.repository_id, value_hash, type_name, PICKLED.name)


def dump_leaf(obj: object, type_name: str, value_hash: str, signer: Signer | None) -> bytes:
    """The signed pickle. Raises: UntrustedPayload without a signer; NotHashableError if unpicklable."""
    if signer is None:
        raise UntrustedPayload(
            value_hash, PICKLED.name, "it is stored signed by a repository alone: use Repository.put"
        )
    data = dump_signed(obj)
    key_id, mac = trust.sign(data, signer.claim(value_hash, type_name), signer.keys())
    return encode_plain((value_hash, trust.encode_envelope(key_id, mac, data)))


def check_leaf(data: bytes, type_name: str, signer: Signer | None, hash_of: Callable[[Any], str]) -> None:
    """Look whether the pickle of an object that is not told by it says the same.

    Raises: NotHashableError if it does not.
    """
    try:
        same = hash_of(load_leaf(data, type_name, None, signer)) == signature_of(data)[0]
        reason = "the way it is pickled leaves something out"
    except (DecodeError, NotHashableError) as error:
        same, reason = False, str(error)
    if not same:
        raise NotHashableError("value", f"it leads back to itself, and {reason}")


def load_leaf(data: Bytes, type_name: str, value_hash: str | None, signer: Signer | None) -> Any:
    """The object, if a key of ours signed it as this very value. Raises: UntrustedPayload, DecodeError."""
    signed_hash, envelope = signature_of(data)
    if signer is None:
        raise UntrustedPayload(signed_hash, PICKLED.name, "read it through its repository: Repository.get")
    if value_hash is not None and value_hash != signed_hash:
        raise UntrustedPayload(
            value_hash, PICKLED.name, f"it was signed as {signed_hash}; run the pipeline again"
        )
    claim = signer.claim(signed_hash, type_name)
    return trust.load_signed(envelope.data, claim, envelope.key_id, envelope.mac, signer.keys())


def signature_of(data: Bytes) -> tuple[str, trust.Envelope]:
    """The value hash of a leaf and its signed pickle, nothing verified. Raises: DecodeError."""
    leaf = trust.decode_plain(bytes(data))
    if not (isinstance(leaf, tuple) and [type(part) for part in leaf] == [str, bytes]):
        raise DecodeError("pickle", "it is no signed pickle")
    return leaf[0], trust.decode_envelope(leaf[1])

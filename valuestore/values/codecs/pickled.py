"""The codec of last resort: a pickle, which a signature beside it vouches for (signed.py).

For objects of classes that nobody has a rule for. Reading it goes through the trust gate (trust/gate.py),
which loads nothing that it cannot verify. Older ones say in an envelope which value they are and who signed
them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valuestore.errors import ConfigError, DecodeError, KeyUnusable, NotHashableError
from valuestore.hashing import Bytes
from valuestore.values.identity.canonical import PICKLED as PICKLED
from valuestore.values.trust import gate as trust

if TYPE_CHECKING:
    from valuestore.values.trust.keys import KeyRing


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
    """Look whether the pickle of an object that is not told by it says the same.

    Raises: NotHashableError if it does not.
    """
    try:
        same = hash_of(trust.load_vouched(data, type_name)) == value_hash
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


def signature_of(data: Bytes) -> tuple[str, trust.Envelope]:
    """The value hash and the envelope in an older payload, nothing verified. Raises: DecodeError."""
    leaf = trust.decode_plain(bytes(data))
    if not is_sealed(leaf):
        raise DecodeError("pickle", "it is no signed pickle")
    return leaf[0], trust.decode_envelope(leaf[1])

"""TypeRegistry: hash, dump and load of any object, and what is inside it.

It picks the codec; rules are found in rulebook.py, canonical form is made in canonical.py. Called by the
archive, the tasks layer and the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

from valuestore.errors import DecodeError, NotHashableError, PayloadError
from valuestore.hashing import (
    DEFAULT_ALGORITHM,
    Bytes,
    Digest,
    active_algorithm,
    encode_plain,
    get_algorithm,
    hash_pieces,
    value_tag,
)
from valuestore.values.codecs.plain import (
    BYTES,
    NEVER_STALE,
    PLAIN,
    SIGNED,
    SIGNED_CODECS,
    TAGGED,
    TEXT,
    decode,
    decode_lowered,
    decode_tagged,
    encode_text,
)
from valuestore.values.codecs.signed import PICKLED, Signer, bare, check_pickle, opened, sign, unsigned
from valuestore.values.identity.builtins import PLAIN_TYPE_NAMES
from valuestore.values.identity.canonical import (
    NODE,
    Codec,
    Part,
    TypeRule,
    encode,
    explain_depth,
    hash_rows,
    lower,
)
from valuestore.values.identity.nested import Insides
from valuestore.values.payload import Encoded as Encoded
from valuestore.values.payload import Payload as Payload
from valuestore.values.preview import preview, preview_bytes, preview_text, summarised
from valuestore.values.trust.gate import Signature, load_vouched, needs_key
from valuestore.values.trust.kinds import VOUCHED, Kind, Opening, opening_of
from valuestore.values.trust.pickling import dump_signed
from valuestore.values.value import Plain, Value

_COPY_MAX_BYTES = 1 << 16
_STREAM_BYTES = 1 << 20


class TypeRegistry(Insides):
    """Rules, and what they make of an object. Thread-safe.

    ``signer`` signs what needs it (trust/kinds.py). Without one, a pickle has no payload, and what else is
    vouched one that this process alone reads. A repository's registry has its signer. ``trusted`` are the
    classes that the settings name as data classes.
    """

    def __init__(
        self, algorithm: str = DEFAULT_ALGORITHM, signer: Signer | None = None, trusted: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self.algorithm = get_algorithm(algorithm)
        self.signer = signer
        self.trusted = frozenset(trusted)
        self._openings_named: dict[str, tuple[Opening, TypeRule]] = {}
        self._openings: dict[int, tuple[TypeRule, Opening]] = {}  # by the rule's id

    def bound(
        self, algorithm: str, signer: Signer | None = None, trusted: Iterable[str] = ()
    ) -> TypeRegistry:
        """This registry's rules, with another algorithm or signer; rules added later are shared."""
        other = TypeRegistry(algorithm, signer, trusted)
        other.share_rules(self)
        return other

    def with_algorithm(self, algorithm: str) -> TypeRegistry:
        """This registry's rules, hashing with another algorithm."""
        return self if algorithm == self.algorithm.name else self.bound(algorithm, self.signer, self.trusted)

    def encode(self, obj: object) -> Encoded:
        """Hash and serialise in one pass. Raises: NotHashableError naming the path, never guesses."""
        as_is = self._as_is(obj)
        if as_is is None:
            return self._encode_lowered(obj)
        return Encoded(self.digest_of(*as_is), *as_is, obj, is_preimage=True)

    def hash(self, obj: object) -> Digest:
        """The value hash: digest of domain, type name and canonical bytes. Raises: NotHashableError."""
        as_is = self._as_is(obj)
        return self.digest_of(*as_is) if as_is is not None else self.hash_with_classes(obj)[0]

    def _as_is(self, obj: object) -> tuple[str, str, bytes] | None:
        """Type name, codec and bytes of plain data; None for what has to be lowered."""
        kind = type(obj)
        if kind is str:
            return "builtins.str", TEXT, encode_text(obj)  # type: ignore[arg-type]
        if kind is bytes:
            return "builtins.bytes", BYTES, obj  # type: ignore[return-value]
        if kind is int or kind is bool or obj is None:
            return PLAIN_TYPE_NAMES[kind], PLAIN, encode_plain(obj)
        type_name = PLAIN_TYPE_NAMES.get(kind)
        if type_name is None:
            return None
        try:
            plain = encode(obj)
        except (RecursionError, ValueError):
            raise NotHashableError(*explain_depth(obj)) from None
        except OverflowError:
            raise NotHashableError("value", "one str or bytes inside it has 4 GiB or more") from None
        except RuntimeError as error:
            raise NotHashableError("value", f"it changed while it was read ({error})") from error
        return None if plain is None else (type_name, PLAIN, plain)

    def dump(self, obj: object) -> Payload:
        """The payload that ``load`` gives an equal object back from. Raises: NotHashableError."""
        return self.encode(obj).payload

    def load(self, payload: Payload, value_hash: str | None = None, *, copy: bool = True) -> Any:
        """The object. Unless the payload is signed by one of our keys, nothing that it names is executed.

        A signed one was signed as ``value_hash``, if that is given. Raises: DecodeError, UntrustedPayload.
        """
        if payload.codec in NEVER_STALE:
            return decode(payload.codec, payload.data)
        signature = payload.signature
        return self.open(
            payload.codec, payload.type_name, payload.data, value_hash, copy=copy, signature=signature
        )

    def open(
        self,
        codec: str,
        type_name: str,
        data: Bytes,
        value_hash: str | None = None,
        *,
        copy: bool = True,
        signature: Signature | None = None,
    ) -> Any:
        """As ``load``: the object of these bytes, which anybody may have written."""
        if codec == TAGGED:

            def check(form: Any) -> None:
                if value_hash is not None and (found := type_name_in(form)) != type_name:
                    raise DecodeError(type_name, f"its payload is that of a {found}")
                if (name := needs_key(form, self, len(data))) is not None:
                    raise unsigned(value_hash, codec, name)

            return decode_tagged(bytes(data), self, check)
        if codec in SIGNED_CODECS:
            data = opened(codec, type_name, data, value_hash, signature, self.signer)
            return decode_tagged(data, self) if codec == SIGNED else load_vouched(data, type_name)
        if self.opening_named(type_name)[0].kind is not Kind.INERT:
            raise unsigned(value_hash, codec, type_name)
        return self.decode(codec, type_name, data, copy=copy)

    def opening_named(self, type_name: str, /) -> tuple[Opening, TypeRule | None]:
        """The kind of a type name's values, and its rule; imports nothing unlisted. Raises: DecodeError."""
        known = self._openings_named.get(type_name)
        if known is not None and (
            known[1] is self._named.get(type_name)
            or (type_name in self._found and known[1] is self.rule_named(type_name))
        ):
            return known
        rule = self.rule_named(type_name) if type_name in self.trusted else self.rule_seen(type_name)
        if rule is None:
            return VOUCHED, None
        known = self._openings_named[type_name] = self.opening(rule), rule
        return known

    def opening(self, rule: TypeRule, /) -> Opening:
        known = self._openings.get(id(rule))
        if known is None:
            opening = opening_of(rule, is_ours=self.is_ours(rule), trusted=self.trusted)
            known = self._openings[id(rule)] = rule, opening
        return known[1]

    def encode_as(self, codec: Codec, obj: object, /) -> Iterable[Bytes]:
        if codec is not PICKLED:
            return codec.encode(obj)
        rule = None if type(obj) in PLAIN_TYPE_NAMES else self.rule_of(obj)
        data = dump_signed(obj)
        if rule is None or rule.codec is not PICKLED:
            type_name = PLAIN_TYPE_NAMES[type(obj)] if rule is None else rule.type_name
            check_pickle(data, type_name, self.hash(obj), self.hash)
        return [data]

    def open_part(self, codec: str, type_name: str, data: bytes, /) -> Any:
        """The object of such bytes inside tagged data, which was looked at or signed. Raises: DecodeError."""
        if codec != PICKLED.name:
            return self.decode(codec, type_name, data)
        return load_vouched(bare(data), type_name)

    def decode(self, codec: str, type_name: str, data: Bytes, /, *, copy: bool = True) -> Any:
        """The object that a codec, which is none of plain data or signed, made these bytes from.

        With ``copy`` in memory of its own: ``data`` itself, if that may be written to. Raises: DecodeError.
        """
        found = self.rule_named(type_name).codec
        if found is None or found.name != codec:
            raise DecodeError(
                codec, f"no such codec for a {type_name} here; a newer valuestore or a plug-in stored it"
            )
        try:
            return found.decode(bytearray(data) if copy and memoryview(data).readonly else data)
        except PayloadError:
            raise
        except Exception as error:
            raise DecodeError(type_name, f"its {codec} bytes are damaged ({error!r})") from error

    def preview(self, payload: Payload) -> str:
        """Short JSON text of a payload, made without its class. Raises: DecodeError."""
        if payload.codec == TEXT:
            return preview_text(decode(TEXT, payload.data))
        if payload.codec == BYTES:
            return preview_bytes(payload.data)
        return preview(decode_lowered(payload.codec, payload.data), len(payload.data))

    def hash_with_classes(self, obj: object, is_step: bool = False) -> tuple[Digest, frozenset[type]]:
        """The hash of what is not plain, and the user's own classes in it. Raises: as ``hash``."""
        type_name = PLAIN_TYPE_NAMES.get(type(obj)) or self.rule_of(obj).type_name
        token = active_algorithm.set(self.algorithm.name)
        try:
            lowered = lower(obj, self, stored=False, values=self, is_step=is_step)
            return self.digest_of(type_name, TAGGED, encode_plain(lowered.hashed)), lowered.classes
        finally:
            active_algorithm.reset(token)

    def _encode_lowered(self, obj: object) -> Encoded:
        type_name = PLAIN_TYPE_NAMES.get(type(obj))
        rule = self.rule_of(obj) if type_name is None else None
        codec = rule.codec_of(obj) if rule is not None else None
        if rule is not None and codec not in (None, PICKLED) and self.opening(rule).kind is not Kind.INERT:
            codec = None  # inside tagged data, which can be signed
        token = active_algorithm.set(self.algorithm.name)
        try:
            lowered = lower(obj, self, stored=codec is None, values=self)
            parts = tuple([self._part(part, lowered.differs) for part in lowered.parts])
            codec = PICKLED if lowered.is_loop else codec
        finally:
            active_algorithm.reset(token)
        hashed = encode_plain(lowered.hashed)
        type_name = type_name or rule.type_name  # type: ignore[union-attr]  # one of the two is there
        digest = self.digest_of(type_name, TAGGED, hashed)
        external = obj.external() if isinstance(obj, Value) else None
        shown = summarised(obj, lowered.shown, self.rule_of)
        if codec is None:
            data = encode_plain(lowered.stored) if lowered.differs else hashed
            if lowered.shows_memory and self.hash(obj) != digest:
                raise NotHashableError("value", "it changed while it was read")
            encoded = self._tagged(digest, type_name, lowered.stored, data, hashed, shown, parts, external)
            encoded.classes, encoded.code = lowered.classes, lowered.code
            return encoded

        def encode_again() -> tuple[Bytes, ...]:
            return tuple(self.encode_as(codec, obj))

        def check() -> None:
            if self.hash(obj) != digest:
                raise NotHashableError("value", "it changed while it was stored")

        signed = self._signature(digest, type_name, PICKLED.name) if codec is PICKLED else None
        encoded = Encoded(
            digest, type_name, codec.name, encode_again, shown, parts, external, check, signed_by=signed
        )
        encoded.classes, encoded.code = lowered.classes, lowered.code
        return encoded

    def _part(self, part: Part, differs: bool) -> Encoded:
        """A Value met inside an object, as ``encode`` would give it, from the form it has already."""
        hashed = encode_plain(part.hashed)
        form = lower(part.value, self, values=self).stored if differs else part.hashed
        stored = encode_plain(form) if differs else hashed
        parts = tuple([self._part(inner, differs) for inner in part.parts])
        type_name = self.rule_of(part.value).type_name
        digest = self.digest_of(type_name, TAGGED, hashed)
        external = part.value.external()
        return self._tagged(digest, type_name, form, stored, hashed, part.hashed, parts, external)

    def _tagged(
        self,
        digest: Digest,
        type_name: str,
        form: Any,
        data: bytes,
        hashed: bytes,
        shown: Any,
        parts: tuple[Encoded, ...],
        external: str | None,
    ) -> Encoded:
        """Tagged data as ``form`` has it, to be signed if the gate would not let it pass without."""
        try:
            is_open = needs_key(form, self, len(data)) is None
        except (DecodeError, RecursionError):
            is_open = False
        if is_open:
            same = data == hashed
            return Encoded(digest, type_name, TAGGED, data, shown, parts, external, is_preimage=same)
        signed = self._signature(digest, type_name, SIGNED)
        return Encoded(digest, type_name, SIGNED, data, shown, parts, external, signed_by=signed)

    def _signature(self, digest: Digest, type_name: str, codec: str) -> Callable[[bytes], Signature]:
        return lambda data: sign(data, type_name, digest, codec, self.signer)

    def hash_calls(self, obj: object) -> dict[int, Digest]:
        """The value hash of each call in an object, by its id, at a cost of one for all."""
        token = active_algorithm.set(self.algorithm.name)
        try:
            return hash_rows(obj, self, self)
        finally:
            active_algorithm.reset(token)

    def hash_form(self, form: Plain, /) -> Digest:
        return self.digest_of(type_name_in(form), TAGGED, encode_plain(form))

    def digest_of(self, type_name: str, codec: str, identity: bytes) -> Digest:
        """The value hash of what has these canonical bytes."""
        tag = value_tag(type_name, codec)
        if len(identity) <= _COPY_MAX_BYTES:
            return Digest(self.algorithm.hexdigest(tag + identity))
        return hash_pieces((tag, identity), algorithm=self.algorithm.name)[0]

    def hash_stream(self, type_name: str, codec: str, stream: BinaryIO) -> Digest:
        """The value hash of what is left in a stream of canonical bytes: for text and bytes, the content."""
        pieces = iter(partial(stream.read, _STREAM_BYTES), b"")
        tag = value_tag(type_name, codec)
        return hash_pieces(chain((tag,), pieces), algorithm=self.algorithm.name)[0]


def type_name_in(form: Any) -> str:
    if type(form) is tuple and len(form) > 1 and form[0] == NODE:
        return str(form[1])
    return PLAIN_TYPE_NAMES[type(form)]


_registry = TypeRegistry()


def get_type_registry() -> TypeRegistry:
    """The registry of this process, with the default algorithm; repositories derive theirs from it."""
    return _registry

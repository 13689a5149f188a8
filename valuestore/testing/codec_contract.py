"""What every codec keeps: CodecContract. Subclass it for a format of your own::

class TestGrid(CodecContract):
    codec = GRID
    examples = {"empty": Grid(0, 0), "small": Grid(2, 3)}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from valuestore.testing.value_contract import _watched
from valuestore.values.identity.canonical import Codec


class CodecContract:
    """The facts. ``examples`` are objects that fit the format; override ``same`` if ``==`` does not tell."""

    codec: ClassVar[Codec]
    examples: ClassVar[Mapping[str, Any]]

    def same(self, one: Any, other: Any) -> bool:
        return bool(one == other)

    def encoded(self, obj: Any) -> bytes:
        return b"".join(bytes(piece) for piece in self.codec.encode(obj))

    def test_examples_fit(self) -> None:
        assert self.examples
        assert all(self.codec.fits(example) for example in self.examples.values())

    def test_what_was_encoded_is_decoded_again(self) -> None:
        for name, example in self.examples.items():
            decoded = self.codec.decode(self.encoded(example))
            assert type(decoded) is type(example), name
            assert self.same(decoded, example), name

    def test_read_only_views_are_decoded_and_stay_as_they_are(self) -> None:
        for name, example in self.examples.items():
            data = self.encoded(example)
            copy = bytes(bytearray(data))
            assert self.same(self.codec.decode(memoryview(data).toreadonly()), example), name
            assert data == copy, name

    def test_equal_objects_give_equal_bytes(self) -> None:
        for name, example in self.examples.items():
            decoded = self.codec.decode(self.encoded(example))
            assert self.encoded(decoded) == self.encoded(example), name

    def test_encoding_leaves_the_object_as_it_was(self) -> None:
        for name, example in self.examples.items():
            assert self.encoded(example) == self.encoded(example), name

    def test_decoding_executes_nothing(self) -> None:
        payloads = [self.encoded(example) for example in self.examples.values()]
        for data in payloads:
            self.codec.decode(data)
        with _watched() as events:
            for data in payloads:
                self.codec.decode(data)
        assert events == []

    def test_truncated_bytes_are_no_object(self) -> None:
        for name, example in self.examples.items():
            data = self.encoded(example)
            for cut in {1, len(data) // 2, len(data) - 1} - {0, len(data)}:
                try:
                    decoded = self.codec.decode(data[:cut])
                except Exception:  # noqa: BLE001  # any: the registry makes it a DecodeError
                    continue
                assert not self.same(decoded, example), name

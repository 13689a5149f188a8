"""Stored bytes do not change, and those that libraries make are read in whatever version made them."""

from __future__ import annotations

import base64
import dataclasses

import pytest

from tests.freeze import formats, values
from valuestore import get_type_registry

FROZEN = formats.frozen()


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("table", formats.TABLES)
def test_values_are_stored_as_they_were(table):
    found = {name: formats.format_of(name, value) for name, value in table().items()}
    ours = {name for name in found if not formats.is_of_library(*FROZEN[name][:1], name)}
    assert {name: found[name] for name in ours} == {name: FROZEN[name] for name in ours}
    assert {name: found[name][:2] for name in found} == {name: FROZEN[name][:2] for name in found}


@pytest.mark.parametrize("name", [name for name in FROZEN if formats.is_of_library(FROZEN[name][0], name)])
def test_what_a_library_wrote_is_read(name):
    codec, type_name, text = FROZEN[name]
    registry = get_type_registry()
    payload = dataclasses.replace(
        registry.dump(None), type_name=type_name, codec=codec, data=base64.b64decode(text)
    )
    loaded = registry.load(payload)
    assert registry.hash(loaded) == registry.hash(values.science()[name])


@pytest.mark.usefixtures("inputs")
def test_every_codec_is_among_them():
    assert {codec for codec, *_ in FROZEN.values()} == {
        "text", "bytes", "plain", "tagged", "npy", "arrow", "png"
    }  # fmt: skip

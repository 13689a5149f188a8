"""Arrays: identity in place, ``.npy`` payloads that other tools read, and forged ones that ask for more."""

from __future__ import annotations

import io
import struct
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from valuestore import Repository
from valuestore.errors import DecodeError, NotHashableError, PayloadCorrupt
from valuestore.hashing import encode_plain
from valuestore.values.identity.canonical import NODE
from valuestore.values.registry import Payload, TypeRegistry

GRID = np.arange(24.0).reshape(4, 6)
PADDED = np.dtype([("a", "i1"), ("inner", [("u", "i1"), ("v", "<f8")]), ("b", "<f4", (2,))], align=True)

dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(sizes=(64, 128)),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.byte_string_dtypes(max_len=5),
    hnp.unicode_string_dtypes(max_len=5),
)
arrays = st.one_of(dtypes, hnp.array_dtypes(dtypes, max_size=3)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def forged(data):
    with pytest.raises(DecodeError):
        TypeRegistry().load(Payload("numpy.ndarray", "npy", data))


def npy(header, data=b"", version=1):
    text = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes((version, 0)) + length + text + data


# --- round trips -----------------------------------------------------------------------------------


@given(arrays)
@settings(max_examples=60)
def test_any_array_comes_back(array):
    registry = TypeRegistry()
    encoded = registry.encode(array)
    back = registry.load(encoded.payload)
    assert type(back) is np.ndarray
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert registry.hash(back) == encoded.value_hash
    assert back.tobytes() == array.tobytes() or array.dtype.names is not None
    assert back.flags.writeable


@given(arrays)
@settings(max_examples=40)
def test_payload_is_what_numpy_itself_loads(array):
    encoded = TypeRegistry().encode(array)
    assert encoded.codec == "npy"
    loaded = np.load(io.BytesIO(encoded.payload.data), allow_pickle=False)
    assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
    assert TypeRegistry().hash(loaded) == encoded.value_hash


@given(arrays, arrays)
@settings(max_examples=40)
def test_equal_digest_means_equal_dtype_shape_and_bytes(one, other):
    registry = TypeRegistry()
    same = (one.dtype.descr, one.shape, one.tolist()) == (other.dtype.descr, other.shape, other.tolist())
    if registry.hash(one) == registry.hash(other):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    elif one.dtype.kind in "biuSU":
        assert not same


@given(st.data())
@settings(max_examples=30)
def test_neither_strides_nor_order_nor_views_count(data):
    registry = TypeRegistry()
    array = data.draw(hnp.arrays("<i4", hnp.array_shapes(max_dims=3)))
    view = array[data.draw(hnp.basic_indices(array.shape, allow_ellipsis=False))]
    assert registry.hash(np.asarray(view)) == registry.hash(np.array(view, order="C", copy=True))
    assert registry.hash(np.asfortranarray(array)) == registry.hash(array)


def test_large_views_are_hashed_in_pieces_and_alike(registry):
    array = np.arange(3_000_000, dtype="<i4").reshape(3, 1000, 1000)
    for view in (array[::-1], array[:, ::2, 1:], array.transpose(2, 0, 1), np.asfortranarray(array)):
        assert registry.hash(view) == registry.hash(np.ascontiguousarray(view))


def test_memory_map_is_the_array_that_it_shows(registry, tmp_path):
    np.save(tmp_path / "a.npy", GRID)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert type(mapped) is np.memmap
    assert registry.hash(mapped) == registry.hash(GRID)
    assert type(registry.load(registry.dump(mapped))) is np.ndarray


def test_memory_order_does_not_survive(registry):
    assert registry.load(registry.dump(np.asfortranarray(GRID))).flags.c_contiguous


def test_bytes_between_fields_neither_count_nor_are_stored(registry):
    one, other = np.zeros(3, PADDED), np.frombuffer(bytearray(b"\xff" * 3 * PADDED.itemsize), PADDED)
    for name in ("a", "b"):
        other[name] = 0
    other["inner"]["u"], other["inner"]["v"] = 0, 0
    assert one.tobytes() != other.tobytes()
    assert registry.encode(one).payload.data == registry.encode(other).payload.data
    assert registry.hash(one) == registry.hash(other)
    assert registry.hash(one) != registry.hash(np.zeros(3, np.dtype([("a", "i1")])))


def test_field_layout_counts(registry):
    fields = [("a", "i1"), ("b", "<f8")]
    plain, aligned = np.zeros(2, np.dtype(fields)), np.zeros(2, np.dtype(fields, align=True))
    titled = np.zeros(2, np.dtype([(("title", "a"), "i1"), ("b", "<f8")]))
    assert len({registry.hash(array) for array in (plain, aligned, titled)}) == 3


@pytest.mark.parametrize("dtype", ["g", "G"])
def test_long_double_keeps_its_value_and_not_its_padding(registry, dtype):
    array = np.array([1, 2], dtype) / 3
    dirty = array.copy()
    dirty.view(np.uint8).reshape(-1, 16)[:, 10:] = 7
    if array.dtype.itemsize > 16 * (1 + (dtype == "G")) // 2:
        assert registry.hash(dirty) == registry.hash(array)
    assert (registry.load(registry.dump(array)) == array).all()
    assert registry.hash(array) != registry.hash(array.astype("D"))


def test_long_double_of_another_machine_is_not_misread(registry):
    state = {"dtype": "<f16/quad", "shape": [1], "bytes": bytes(16)}
    with pytest.raises(DecodeError, match="quad"):
        registry.load(Payload("x", "tagged", encode_plain((NODE, "numpy.ndarray", state))))


# --- what counts -------------------------------------------------------------------------------------


def test_dtype_shape_byte_order_and_sign_of_zero_count(registry):
    different = [
        GRID,
        GRID.reshape(6, 4),
        GRID.astype(">f8"),
        GRID.astype("<i8"),
        GRID.astype("<i8").view("<M8[s]"),
        GRID.astype("<i8").view("<M8[ms]"),
        np.array(0.0),
        np.array(-0.0),
        np.array([0.0]),
        np.float64(0.0),
        0.0,
        np.zeros((0, 2)),
        np.zeros((2, 0)),
        GRID.view(np.matrix),
        np.ma.array(GRID),
        np.ma.array(GRID, mask=GRID > 3),
        GRID.tolist(),
        GRID.astype(object),
    ]
    assert len({registry.hash(value) for value in different}) == len(different)


def test_nan_of_other_bits_is_another_array_but_one_scalar(registry):
    bits = np.array([0x7FF8000000000000, 0x7FF8000000000001], "<u8").view("<f8")
    assert registry.hash(bits[:1]) != registry.hash(bits[1:])
    assert registry.hash(bits[0]) == registry.hash(bits[1])


@pytest.mark.parametrize(
    "scalar",
    [
        *(np.dtype(code).type(1) for code in "?bhilqBHILQefdFDgG"),
        np.str_("ü"),
        np.bytes_(b"x"),
        np.datetime64("2026-01-01", "us"),
        np.datetime64("NaT", "s"),
        np.timedelta64(3, "D"),
        np.void(b"abc"),
        np.zeros(1, [("a", "i1"), ("b", "<f8")])[0],
    ],
    ids=lambda scalar: type(scalar).__name__,
)
def test_scalar_comes_back_and_is_not_pythons(registry, scalar):
    back = registry.load(registry.dump([scalar]))[0]
    assert back.dtype == scalar.dtype
    assert repr(back) == repr(scalar)
    if not isinstance(scalar.item(), np.generic) and not isinstance(
        scalar, np.void | np.datetime64 | np.timedelta64
    ):
        assert registry.hash(scalar) != registry.hash(scalar.item())


def test_masked_array_keeps_mask_data_and_fill_value(registry):
    array = np.ma.array([1, 2, 3], mask=[False, True, False], fill_value=9)
    back = registry.load(registry.dump(array))
    assert type(back) is np.ma.MaskedArray
    assert (back.data.tolist(), back.mask.tolist(), back.fill_value) == ([1, 2, 3], [False, True, False], 9)
    back[1] = 5
    assert back.tolist() == [1, 5, 3]


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_generator_goes_on_where_it_was(registry, kind):
    generator = np.random.Generator(getattr(np.random, kind)(3))
    generator.standard_normal(5)
    generator.spawn(1)
    before = registry.hash(generator)
    back = registry.load(registry.dump(generator))
    assert registry.hash(back) == before
    assert back.spawn(1)[0].random() == generator.spawn(1)[0].random()
    assert back.random(4).tolist() == generator.random(4).tolist()
    assert registry.hash(generator) != before


def test_legacy_generator_goes_on_where_it_was(registry):
    generator = np.random.RandomState(3)
    generator.normal()
    back = registry.load(registry.dump(generator))
    assert back.normal(size=3).tolist() == generator.normal(size=3).tolist()


def test_dtypes_are_values(registry):
    for dtype in (np.dtype("<f8"), PADDED, np.dtype(("<i4", (2,))), np.dtype("<M8[25us]"), np.dtype("O")):
        assert registry.load(registry.dump(dtype)) == dtype


# --- elements that are objects -----------------------------------------------------------------------


def test_array_of_objects_is_its_elements(registry):
    array = np.array([[1, "a"], [None, {2, 3}]], object)
    back = registry.load(registry.dump(array))
    assert back.tolist() == array.tolist()
    assert registry.hash(back) == registry.hash(array)


def test_refused_element_is_named_by_its_place(registry):
    lock = threading.Lock()
    with pytest.raises(NotHashableError, match=r"value\[3\]"):
        registry.hash(np.array([1, 2, 3, lock], object))
    with pytest.raises(NotHashableError, match=r"value\['x'\]\[1, 0\]"):
        registry.hash({"x": np.array([[1, 2], [lock, 3]], object)})
    structure = np.array([(1, lock)], [("n", "<i4"), ("o", "O")])
    with pytest.raises(NotHashableError, match=r"value\.fields\['o'\]\[0\]"):
        registry.hash(structure)


def test_array_that_holds_itself_has_an_identity(registry):
    array, other = np.empty(1, object), np.empty(1, object)
    array[0], other[0] = array, [other]
    assert registry.hash(array) != registry.hash(other)


def test_structure_with_objects_comes_back(registry):
    array = np.array([(1, "x"), (2, [3])], [("n", "<i4"), ("o", "O")])
    assert registry.load(registry.dump(array)).tolist() == array.tolist()


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 2 has it")
def test_variable_strings_come_back(registry):
    array = np.array(["a", "b" * 50], np.dtypes.StringDType())
    missing = np.array(["a", None], np.dtypes.StringDType(na_object=None))
    for case in (array, missing):
        back = registry.load(registry.dump(case))
        assert back.dtype == case.dtype
        assert back.tolist() == case.tolist()
    assert registry.hash(array) != registry.hash(array.astype("U50"))


def test_dtype_metadata_is_kept(registry):
    array = np.zeros(2, np.dtype("<f8", metadata={"unit": "m"}))
    assert registry.load(registry.dump(array)).dtype.metadata == {"unit": "m"}
    assert registry.hash(array) != registry.hash(np.zeros(2))


# --- damage and mutation -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2.0,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 1, }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<f8', 'shape': (1,), }",
        "__import__('os').system('true')",
        "(" * 5000,
        "[" * 200 + "]" * 200,
        "{'descr': " + "-" * 4000 + "1}",
        "",
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_forged_header_is_a_decode_error(header, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser's, of what it refuses
        forged(npy(header, bytes(8), version))


def test_header_longer_than_the_payload_is_a_decode_error():
    forged(b"\x93NUMPY\x02\x00" + struct.pack("<I", 4_000_000_000) + b"{}")
    forged(b"\x93NUMPY\x01\x00")
    forged(b"")


@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 40))
@settings(max_examples=100)
def test_damaged_payload_is_a_decode_error_or_an_array_of_its_bytes(position, byte, cut):
    data = bytearray(TypeRegistry().dump(GRID).data)
    data[position % len(data)] = byte
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = TypeRegistry().load(Payload("numpy.ndarray", "npy", bytes(data[: len(data) - cut])))
    except DecodeError:
        return
    assert array.nbytes <= len(data)


def test_state_that_does_not_fit_together_is_a_decode_error(registry):
    for state in (
        {"dtype": "<f8", "shape": [1 << 60], "bytes": b""},
        {"dtype": "|O", "shape": [1 << 60], "items": []},
        {"dtype": "|S0", "shape": [1 << 60], "bytes": b""},
        {"dtype": "|O", "shape": [1], "bytes": bytes(8)},
        {"dtype": "import os", "shape": [], "bytes": b""},
        {"dtype": {"fields": [["a", "|O", 0]], "itemsize": 8}, "shape": [1], "bytes": bytes(8)},
        {"dtype": {"fields": [], "itemsize": 1 << 40}, "shape": [1], "fields": {}},
    ):
        with pytest.raises(DecodeError):
            registry.load(Payload("x", "tagged", encode_plain((NODE, "numpy.ndarray", state))))


def test_array_changed_while_it_is_stored_is_refused(registry):
    array = GRID.copy()
    encoded = registry.encode(array)
    array[0, 0] = 99
    with pytest.raises(NotHashableError, match="changed"):
        encoded.check()


def test_array_in_a_container_changed_while_it_is_hashed_is_refused(registry):
    array = np.zeros(4)

    class Changing(list):
        pass

    from valuestore.values.identity.canonical import TypeRule

    def touch(_obj):
        array[0] += 1
        return 0

    registry.register(TypeRule(Changing, "tests.Changing", touch, lambda _: Changing()))
    with pytest.raises(NotHashableError, match="changed"):
        registry.encode([array, Changing()])


# --- in a repository -----------------------------------------------------------------------------------

LARGE = np.arange(400_000.0).reshape(400, 1000)


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path) as opened:
        yield opened


def payload_path(repository, ref):
    return repository.folder / "payloads" / ref.payload_digest[:2] / ref.payload_digest


def test_payload_file_is_an_npy_file(repository):
    ref = repository.put(LARGE)
    assert np.array_equal(np.load(payload_path(repository, ref)), LARGE)


@pytest.mark.parametrize("array", [GRID, LARGE], ids=["inline", "in a file"])
def test_what_is_got_may_be_written_to_without_harm(repository, array):
    ref = repository.put(array)
    got = repository.get(ref.value_hash)
    got[0] = -1
    assert np.array_equal(repository.get(ref.value_hash), array)


@pytest.mark.parametrize("array", [GRID, LARGE], ids=["inline", "in a file"])
def test_view_of_the_payload_is_read_only(repository, array):
    ref = repository.put(array)
    got = repository.get(ref.value_hash, copy=False)
    assert np.array_equal(got, array)
    with pytest.raises(ValueError, match="read-only"):
        got[0] = -1


@pytest.mark.parametrize("copy", [True, False])
def test_damaged_payload_is_never_shown(repository, copy):
    ref = repository.put(LARGE)
    with payload_path(repository, ref).open("r+b") as file:
        file.seek(5000)
        file.write(b"\x01")
    with pytest.raises(PayloadCorrupt):
        repository.get(ref.value_hash, copy=copy)
    repository.put(LARGE)
    assert np.array_equal(repository.get(ref.value_hash, copy=copy), LARGE)


def test_same_array_put_again_is_neither_encoded_nor_written(repository, monkeypatch):
    ref = repository.put(LARGE)
    monkeypatch.setattr(type(repository.payloads), "put", lambda *_: pytest.fail("put again"))
    assert [repository.put(LARGE.copy()) for _ in range(3)] == [ref] * 3


def test_same_array_put_again_heals_a_lost_payload(repository):
    ref = repository.put(LARGE)
    payload_path(repository, ref).unlink()
    assert repository.put(LARGE) == ref
    assert np.array_equal(repository.get(ref.value_hash), LARGE)


def test_arrays_inside_containers_come_back_writeable(repository):
    ref = repository.put({"a": [LARGE, GRID]})
    got = repository.get(ref.value_hash)
    got["a"][0][0] = 1
    assert np.array_equal(repository.get(ref.value_hash)["a"][0], LARGE)

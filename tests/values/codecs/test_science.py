"""Frozen digests of all the sciences, and sparse matrices, images and tensors."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from PIL import Image

from valuestore.errors import DecodeError, NotHashableError
from valuestore.hashing import encode_plain
from valuestore.values.identity.canonical import NODE, TypeRule
from valuestore.values.registry import Payload, TypeRegistry

GOLDEN = Path(__file__).parents[2] / "golden"
sys.path.insert(0, str(GOLDEN))

import science  # noqa: E402  # the golden cases are also a script, run by other Pythons

FROZEN = json.loads((GOLDEN / "science.json").read_text())


@pytest.mark.parametrize("name", science.CASES)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # numpy's, of np.matrix
def test_digest_is_the_frozen_one_and_survives_a_round_trip(registry, name):
    case = science.CASES[name]()
    encoded = registry.encode(case)
    assert encoded.value_hash == FROZEN[name]
    assert registry.hash(registry.load(encoded.payload)) == FROZEN[name]
    assert json.loads(encoded.preview) is not None or name in ("not a time", "not available")


def test_every_case_is_frozen_and_differs_from_all_others():
    assert set(FROZEN) == set(science.CASES)
    assert len(set(FROZEN.values())) == len(FROZEN)


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_digests_are_the_same_in_a_fresh_process_under_any_hash_seed(seed):
    command = [sys.executable, str(GOLDEN / "science.py")]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    printed = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    assert json.loads(printed.stdout) == FROZEN


def test_other_algorithm_gives_other_digests_inside_too():
    grid = science.GRID
    blake = TypeRegistry("blake3-256")
    assert len(blake.hash(grid)) == 64
    assert len(blake.encode(np.ma.array(grid, mask=False)).lowered[2]["data"][2]["digest"]) == 64
    assert blake.hash(blake.load(blake.dump(grid))) == blake.hash(grid)


# --- scipy.sparse --------------------------------------------------------------------------------------

FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("name", FORMATS)
def test_sparse_matrix_comes_back(registry, name, kind):
    matrix = getattr(sp, f"{name}_{kind}")(science.GRID * (science.GRID % 3 == 0))
    back = registry.load(registry.dump(matrix))
    assert type(back) is type(matrix)
    assert np.array_equal(back.toarray(), matrix.toarray())
    assert registry.hash(back) == registry.hash(matrix)


def test_format_shape_and_values_of_sparse_matrices_count(registry):
    matrices = [getattr(sp, f"{name}_{kind}")(np.eye(3)) for name in FORMATS for kind in ("matrix", "array")]
    matrices += [sp.csr_array(np.eye(3) * 2), sp.csr_array((3, 4)), sp.csr_array((4, 3))]
    assert len({registry.hash(matrix) for matrix in matrices}) == len(matrices)


def test_order_in_which_a_dok_matrix_was_filled_does_not_count(registry):
    one, other = sp.dok_array((3, 3)), sp.dok_array((3, 3))
    for place in [(0, 1), (2, 2), (1, 0)]:
        one[place] = 1.0
    for place in [(1, 0), (2, 2), (0, 1)]:
        other[place] = 1.0
    assert registry.hash(one) == registry.hash(other)


@pytest.mark.parametrize("indices", [[5, 0], [-1, 0]])
def test_sparse_matrix_with_entries_outside_of_it_is_a_decode_error(registry, indices):
    def node(values, dtype):
        array = np.array(values, dtype)
        state = {"dtype": array.dtype.str, "shape": list(array.shape), "bytes": array.tobytes()}
        return (NODE, "numpy.ndarray", state)

    state = {"shape": [2, 2], "data": node([1.0, 2], "<f8"), "indices": node(indices, "<i4")}
    state["indptr"] = node([0, 1, 2], "<i4")
    with pytest.raises(DecodeError):
        registry.load(Payload("x", "tagged", encode_plain((NODE, "scipy.sparse.csr_array", state))))


# --- images --------------------------------------------------------------------------------------------

NOISE = np.random.default_rng(0).integers(0, 255, (4, 7, 4), dtype="u1")


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_image_comes_back(registry, mode):
    size = len(Image.new(mode, (7, 4)).tobytes())
    image = Image.frombytes(mode, (7, 4), NOISE.tobytes()[:size])
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    back = registry.load(registry.dump(image))
    assert (back.mode, back.size, back.tobytes()) == (image.mode, image.size, image.tobytes())
    assert registry.hash(back) == registry.hash(image)


def test_image_without_a_past_is_stored_as_png(registry):
    image = Image.fromarray(NOISE)
    encoded = registry.encode(image)
    assert encoded.codec == "png"
    assert Image.open(io.BytesIO(encoded.payload.data)).tobytes() == image.tobytes()


def test_what_a_file_says_of_its_image_counts_and_comes_back(registry):
    def saved(dpi):
        stream = io.BytesIO()
        Image.fromarray(NOISE[:, :, :3].copy()).save(stream, "PNG", dpi=dpi)
        return Image.open(stream)

    back = registry.load(registry.dump(saved((72, 72))))
    assert back.info == saved((72, 72)).info
    assert back.format == "PNG"
    assert registry.hash(back) == registry.hash(saved((72, 72))) != registry.hash(saved((96, 96)))


def test_image_of_several_frames_is_refused(registry):
    stream = io.BytesIO()
    frames = [Image.new("L", (2, 2), shade) for shade in (0, 255)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(NotHashableError, match="frames"):
        registry.hash(Image.open(stream))


def png(width, height, pixels):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a" + bytes(60), png(100_000, 100_000, zlib.compress(b"")), png(4, 4, b"nonsense")],
    ids=["nothing", "another format", "bomb", "no pixels"],
)
def test_forged_png_is_a_decode_error(registry, data):
    with pytest.raises(DecodeError):
        registry.load(Payload("PIL.Image.Image", "png", data))


def test_forged_pixels_are_a_decode_error(registry):
    state = {"mode": "L", "size": [100_000, 100_000], "info": {}, "pixels": b"x"}
    with pytest.raises(DecodeError):
        registry.load(Payload("x", "tagged", encode_plain((NODE, "PIL.Image.Image", state))))


# --- tensors -------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="large, and not in the dev group")
def test_tensors_come_back(registry):
    import torch

    dtypes = (torch.float32, torch.bfloat16, torch.int8)
    tensors = [torch.arange(6.0).reshape(2, 3).to(dtype) for dtype in dtypes]
    tensors += [torch.zeros(2, requires_grad=True), torch.nn.Parameter(torch.ones(2)), torch.tensor(1j)]
    assert len({registry.hash(tensor) for tensor in tensors}) == len(tensors)
    for tensor in tensors:
        back = registry.load(registry.dump(tensor))
        assert type(back) is type(tensor)
        assert (back.dtype, back.requires_grad) == (tensor.dtype, tensor.requires_grad)
        assert torch.equal(back, tensor)
        assert registry.hash(back) == registry.hash(tensor)
    assert registry.hash(tensors[0].T) == registry.hash(tensors[0].T.contiguous())
    with pytest.raises(NotHashableError, match="detach"):
        registry.hash(tensors[3] * 2)


# --- libraries that are not there ----------------------------------------------------------------------


def test_array_of_a_library_that_is_not_installed_is_a_decode_error():
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from valuestore.values.registry import TypeRegistry, Payload\n"
        "from valuestore.errors import DecodeError\n"
        "try: TypeRegistry().load(Payload('numpy.ndarray', 'npy', b''))\n"
        "except DecodeError as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "not installed" in printed.stdout


def test_pandas_works_without_pyarrow():
    code = (
        "import sys\n"
        "class Gone:\n"  # None in sys.modules is what compiled parts of pandas before 3 take for the module
        "    def find_spec(self, name, *_):\n"
        "        if name == 'pyarrow': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        f"sys.path.insert(0, {str(GOLDEN.parents[1])!r})\n"
        "import numpy as np, pandas as pd\n"
        "from valuestore.values.registry import TypeRegistry\n"
        "registry = TypeRegistry()\n"
        "frame = pd.DataFrame({'a': [1.5, 2], 's': pd.array(['a', None], dtype=pd.StringDtype('python'))})\n"
        "encoded = registry.encode(frame)\n"
        "pd.testing.assert_frame_equal(registry.load(encoded.payload), frame)\n"
        "print(encoded.codec, encoded.value_hash)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frame = pd.DataFrame({"a": [1.5, 2], "s": pd.array(["a", None], dtype="string")})
    assert printed.stdout.split() == ["tagged", TypeRegistry().hash(frame)]


# --- subclasses ----------------------------------------------------------------------------------------


class Measured(np.ndarray):
    unit: str


class Checked(np.ma.MaskedArray):
    unit: str


class Labelled(pd.DataFrame):
    pass


class Named(pd.Series):
    pass


class Fast(pl.DataFrame):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(3).view(Measured),
        lambda: Checked([1, 2]),
        lambda: Labelled({"a": [1]}),
        lambda: Named([1]),
        lambda: Fast({"a": [1]}),
    ],
    ids=["ndarray", "MaskedArray", "DataFrame", "Series", "polars"],
)
def test_subclass_whose_attributes_no_pickle_has_is_refused(registry, make):
    with pytest.raises(NotHashableError, match="register a TypeRule"):
        registry.hash(make())


def test_subclass_with_a_rule_of_its_own_is_a_value(registry):
    def back(state):
        array = state["data"].view(Measured)
        array.unit = state["unit"]
        return array

    def identity(array):
        return {"data": np.asarray(array), "unit": array.unit}

    registry.register(TypeRule(Measured, "tests.Measured", identity, back))
    metres, seconds = np.arange(3).view(Measured), np.arange(3).view(Measured)
    metres.unit, seconds.unit = "m", "s"
    assert registry.hash(metres) != registry.hash(seconds)
    assert registry.load(registry.dump(metres)).unit == "m"

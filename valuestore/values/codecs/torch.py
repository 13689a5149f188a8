"""Rules for torch: dense tensors on the CPU, by dtype, shape, bytes and whether they require a gradient.

Others are refused with what to do first: a tensor that a computation hangs on is detached, one on another
device brought to the CPU. No pickle: plain tensors are stored as ``.npy``, others by state.
"""

from __future__ import annotations

from typing import Any

import torch

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes
from valuestore.values.codecs import npy
from valuestore.values.codecs.numpy import digest_of
from valuestore.values.identity.canonical import Codec, Refused, TypeRule
from valuestore.values.value import Plain

_DTYPES = {
    name: getattr(torch, name)
    for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    )
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def _told(tensor: Any) -> dict[str, Any]:
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.dtype not in _NAMES:
        raise Refused(
            f"a {tensor.layout} tensor of {tensor.dtype} on {tensor.device}; take .to_dense().cpu()"
        )
    if tensor.grad_fn is not None or tensor.grad is not None:
        raise Refused("a computation hangs on this tensor; take .detach()")
    return {
        "dtype": _NAMES[tensor.dtype],
        "shape": list(tensor.shape),
        "requires_grad": bool(tensor.requires_grad),
    }


def _bytes(tensor: Any) -> Any:
    """The elements in C order as a numpy array of bytes; a view where they lie so."""
    dense = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return dense.reshape(-1).view(torch.uint8).numpy()


def _identity(tensor: Any) -> Plain:
    return _told(tensor) | {"digest": digest_of(_bytes(tensor))}


def _state(tensor: Any) -> Plain:
    return _told(tensor) | {"bytes": _bytes(tensor)}


def _tensor(state: Plain) -> Any:
    dtype = _DTYPES.get(state["dtype"])
    if dtype is None:
        raise DecodeError("torch.Tensor", f"no dtype {state['dtype']!r}")
    tensor = torch.from_numpy(state["bytes"]).view(dtype).reshape(state["shape"])
    return tensor.requires_grad_(state["requires_grad"])


def _parameter(state: Plain) -> Any:
    return torch.nn.Parameter(_tensor(state | {"requires_grad": False}), state["requires_grad"])


def _fits(tensor: Any) -> bool:
    return tensor.dtype in _NAMES and tensor.dtype is not torch.bfloat16 and not tensor.requires_grad


def _encode(tensor: Any) -> Any:
    _told(tensor)
    return npy.encode(tensor.detach().resolve_conj().resolve_neg().numpy())


def _decode(data: Bytes) -> Any:
    array = npy.decode(data)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


RULES = [
    TypeRule(
        torch.Tensor,
        "torch.Tensor",
        _identity,
        _tensor,
        _state,
        codec=Codec("npy", _encode, _decode, _fits),
    ),
    TypeRule(torch.nn.Parameter, "torch.nn.Parameter", _identity, _parameter, _state),
]

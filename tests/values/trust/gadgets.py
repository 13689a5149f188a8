"""Pickles that execute something: each makes its marker, a folder or file, when it is unpickled.

``GADGETS`` maps a name to a function from the marker's path to pickle bytes. Those in ``LIVE`` work with
``pickle.loads`` on a bare Python, which a test proves; the others need a package or an extension code.
"""

from __future__ import annotations

import builtins
import codecs
import functools
import io
import marshal
import os
import pathlib
import pickle
import runpy
import shutil
import struct
import subprocess
import tempfile
import timeit
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

GADGETS: dict[str, Callable[[str], bytes]] = {}
LIVE: set[str] = set()


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def _touch(marker: str) -> str:
    return f"open({marker!r}, 'w').close()"


_OBJECTS: dict[str, tuple[Callable[[str], Any], tuple[int, ...]]] = {
    "mkdir": (lambda m: Calls(os.mkdir, m), (0, 1, 2, 3, 4, 5)),
    "system": (lambda m: Calls(os.system, f"mkdir {m}"), (0, 2, 4)),
    "subprocess-call": (lambda m: Calls(subprocess.call, ["mkdir", m]), (2, 4)),
    "subprocess-check": (lambda m: Calls(subprocess.check_output, ["mkdir", m]), (4,)),
    "eval": (lambda m: Calls(builtins.eval, _touch(m)), (0, 2, 3, 4)),
    "exec": (lambda m: Calls(builtins.exec, _touch(m)), (3, 4)),
    "open": (lambda m: Calls(builtins.open, m, "w"), (3, 4)),
    "file-io": (lambda m: Calls(io.FileIO, m, "w"), (3, 4)),
    "map": (lambda m: Calls(list, Calls(map, os.mkdir, [m])), (3, 4)),
    "filter": (lambda m: Calls(tuple, Calls(filter, os.mkdir, [m])), (4,)),
    "path-touch": (lambda m: Calls(pathlib.Path.touch, pathlib.Path(m)), (4,)),
    "copyfile": (lambda m: Calls(shutil.copyfile, __file__, m), (3, 4)),
    "mkdtemp": (lambda m: Calls(os.rename, Calls(tempfile.mkdtemp), m), (4,)),
    "timeit": (lambda m: Calls(timeit.timeit, _touch(m), "pass", timeit.default_timer, 1), (4,)),
    "run-code": (lambda m: Calls(runpy._run_code, _touch(m), {}), (4,)),  # type: ignore[attr-defined]
    "reduce": (lambda m: Calls(functools.reduce, os.makedirs, [m, 0o700]), (4,)),
    "codecs-open": (lambda m: Calls(codecs.open, m, "w"), (3,)),
    "marshal": (
        lambda m: Calls(exec, Calls(marshal.loads, marshal.dumps(compile(_touch(m), "", "exec")))),
        (3, 4),
    ),
    "pickle-in-pickle": (lambda m: Calls(pickle.loads, pickle.dumps(Calls(os.mkdir, m))), (3, 4)),
    "in-list": (lambda m: [1, [Calls(os.mkdir, m)]], (3, 4)),
    "in-dict": (lambda m: {"a": {"b": Calls(os.mkdir, m)}}, (3,)),
    "in-ordered-dict": (lambda m: OrderedDict([("a", Calls(os.mkdir, m))]), (4,)),
    "in-set": (lambda m: {Calls(os.mkdir, m)}, (4,)),
    "in-exception": (lambda m: ValueError(Calls(os.mkdir, m)), (4,)),
    "import": (lambda m: Calls(exec, f"import os; os.mkdir({m!r})"), (4,)),
}


def _text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _str(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _call(module: str, name: str, *arguments: str) -> bytes:
    """GLOBAL, arguments, REDUCE; without header and stop."""
    return _text(f"c{module}", name) + b"(" + b"".join(map(_str, arguments)) + b"tR"


def _stack_global(module: str, name: str, *arguments: str) -> bytes:
    return _str(module) + _str(name) + b"\x93(" + b"".join(map(_str, arguments)) + b"tR"


def _mkdir(marker: str) -> bytes:
    return _call("os", "mkdir", marker)


_LIVE_BYTES: dict[str, Callable[[str], bytes]] = {
    "no-header": lambda m: _mkdir(m) + b".",
    "plain-header": lambda m: b"\x80\x03" + _mkdir(m) + b".",
    "inst": lambda m: _text(f"(V{m}", "ios", "mkdir") + b".",
    "obj": lambda m: b"\x80\x02(" + _text("cio", "FileIO") + _str(m) + _str("w") + b"o.",
    "stack-global": lambda m: b"\x80\x04" + _stack_global("os", "mkdir", m) + b".",
    "dotted": lambda m: b"\x80\x04" + _stack_global("shutil", "os.mkdir", m) + b".",
    "dotted-far": lambda m: b"\x80\x04" + _stack_global("glob", "os.path.os.mkdir", m) + b".",
    "dotted-global": lambda m: b"\x80\x04" + _call("glob", "os.path.os.mkdir", m) + b".",
    "posix": lambda m: b"\x80\x03" + _call("posix", "system", f"mkdir {m}") + b".",
    "python-2-name": lambda m: b"\x80\x02" + _call("__builtin__", "eval", _touch(m)) + b".",
    "framed": lambda m: b"\x80\x04\x95" + struct.pack("<Q", len(_mkdir(m)) + 1) + _mkdir(m) + b".",
    "popped": lambda m: b"\x80\x03" + _mkdir(m) + b"0N.",
    "pop-mark": lambda m: b"\x80\x03(" + _mkdir(m) + b"1N.",
    "memoized": lambda m: b"\x80\x04" + _text("cos", "mkdir") + b"\x940h\0" + _str(m) + b"\x85R.",
    "after-plain-data": lambda m: b"\x80\x03](K\x01" + _mkdir(m) + b"e.",
    "as-a-value": lambda m: b"\x80\x03}" + _str("a") + _mkdir(m) + b"s.",
    "as-a-key": lambda m: b"\x80\x03}" + _mkdir(m) + b"Ns.",
    "attrgetter": lambda m: (
        b"\x80\x04"
        + _call("operator", "attrgetter", "path.os.mkdir")
        + b"("
        + _call("builtins", "__import__", "os")
        + b"tR("
        + _str(m)
        + b"tR."
    ),
    "getattr": lambda m: (
        b"\x80\x04"
        + _text("cbuiltins", "getattr")
        + b"("
        + _call("importlib", "import_module", "os")
        + _str("mkdir")
        + b"tR("
        + _str(m)
        + b"tR."
    ),
    "methodcaller": lambda m: (
        b"\x80\x04" + _call("operator", "methodcaller", "touch") + b"(" + _call("pathlib", "Path", m) + b"tR."
    ),
    "partial": lambda m: (
        b"\x80\x04" + _text("cfunctools", "partial") + b"(" + _text("cos", "mkdir") + _str(m) + b"tR)R."
    ),
}

_DORMANT_BYTES: dict[str, Callable[[str], bytes]] = {
    "newobj": lambda m: b"\x80\x02" + _text("cio", "FileIO") + _str(m) + _str("w") + b"\x86\x81.",
    "newobj-ex": lambda m: b"\x80\x04" + _text("cio", "FileIO") + _str(m) + _str("w") + b"\x86}\x92.",
    "ext1": lambda m: b"\x80\x02\x82\x01" + _str(m) + b"\x85R.",
    "ext2": lambda m: b"\x80\x02\x83\x01\x01" + _str(m) + b"\x85R.",
    "ext4": lambda m: b"\x80\x02\x84\x01\x01\x01\x01" + _str(m) + b"\x85R.",
    "persistent-id": lambda m: b"P" + m.encode() + b"\n.",
    "binary-persistent-id": lambda m: b"\x80\x03" + _str(m) + b"Q.",
    "next-buffer": lambda m: b"\x80\x05\x97.",
    "build": lambda m: b"\x80\x03]}" + _str("__class__") + _str(m) + b"sb.",
    "numpy-reconstruct": lambda m: b"\x80\x03" + _call("numpy.core.multiarray", "_reconstruct", m) + b".",
    "numpy-load": lambda m: b"\x80\x03" + _call("numpy", "load", m) + b".",
    "joblib-load": lambda m: b"\x80\x03" + _call("joblib", "load", m) + b".",
    "joblib-array": lambda m: b"\x80\x03" + _call("joblib.numpy_pickle", "NumpyArrayWrapper", m) + b".",
    "cloudpickle-type": lambda m: b"\x80\x03" + _call("cloudpickle.cloudpickle", "_builtin_type", "X") + b".",
    "cloudpickle-code": lambda m: b"\x80\x03" + _call("cloudpickle.cloudpickle", "_make_function", m) + b".",
    "cloudpickle-import": lambda m: (
        b"\x80\x03" + _call("cloudpickle.cloudpickle", "subimport", "this") + b"."
    ),
    "dill": lambda m: b"\x80\x03" + _call("dill._dill", "_eval_repr", _touch(m)) + b".",
    "torch": lambda m: b"\x80\x03" + _call("torch", "load", m) + b".",
    "pandas": lambda m: b"\x80\x03" + _call("pandas.io.pickle", "read_pickle", m) + b".",
    "yaml": lambda m: b"\x80\x03" + _call("yaml", "unsafe_load", m) + b".",
    "our-own-gate": lambda m: (
        b"\x80\x04" + _stack_global("valuestore.values.trust.gate", "pickle.loads", m) + b"."
    ),
    "our-own-main": lambda m: (
        b"\x80\x03" + _call("valuestore.values.trust.pickling", "main_member", "os", m) + b"."
    ),
    "ctypes": lambda m: b"\x80\x03" + _call("ctypes", "CDLL", m) + b".",
}

for _name, (_make, _protocols) in _OBJECTS.items():
    for _protocol in _protocols:
        GADGETS[f"{_name}-{_protocol}"] = lambda m, make=_make, protocol=_protocol: pickle.dumps(  # type: ignore[misc]
            make(m), protocol
        )
for _name, _gadget in _LIVE_BYTES.items():
    GADGETS[f"bytes-{_name}"] = _gadget
LIVE.update(GADGETS)
for _name, _gadget in _DORMANT_BYTES.items():
    GADGETS[f"dormant-{_name}"] = _gadget

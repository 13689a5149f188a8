"""Payloads of registered rules put together from random parts, loaded where nothing may be executed (I9).

The audit hook of a process of its own ends it at the first import, compilation, opened file, connection or
command. What a library imports or opens once, whatever it is given, it has done before. Files of time zones
are let pass: they are data.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FUZZER = """
import collections, os, random, re, sys, time, warnings
warnings.simplefilter("ignore")
seed, seconds = int(sys.argv[1]), float(sys.argv[2])
import numpy, pandas, polars, pyarrow, scipy.sparse, PIL.Image, PIL.PngImagePlugin, zoneinfo
from tests.freeze import values
from tests.golden import science
from tests.values.codecs import test_frames as frames
from tests.values.trust import test_attacks as attacks
from valuestore.errors import PayloadError
from valuestore.hashing import encode_plain
from valuestore.values import get_type_registry
from valuestore.values.codecs.plain import TAGGED, decode_tagged
from valuestore.values.identity.canonical import NODE, lower
from valuestore.values.registry import Payload
from valuestore.values.trust.gate import decode_plain, needs_key
from valuestore.values.trust.kinds import BY_NAME, LIBRARIES, STANDARD

registry = get_type_registry()
forms = list(attacks.ATTACKS.values()) + list(attacks.LET_PASS.values())
tables = [values.standard(), values.classes(), values.code(), values.science(), values.ours()]
tables += [{name: make() for name, make in science.CASES.items()}, frames.FRAMES]
tables += [{name: pandas.Index(column) for name, column in frames.SERIES.items()}]
for table in tables:
    for value in table.values():
        lowered = lower(value, registry).stored
        forms.append(lowered)
        data = encode_plain(lowered)
        if needs_key(lowered, registry, len(data)) is None:
            try:  # what is imported or opened late, and once, is now
                registry.hash(decode_tagged(data, registry))
            except Exception:
                pass
parts, names, kin = [], sorted(STANDARD.keys() | LIBRARIES.keys() | BY_NAME), collections.defaultdict(list)
names = [name for name in names if not name.startswith("torch.")]

def family(form):  # the library of an object, else the type
    is_node = type(form) is tuple and form[:1] == (NODE,) and len(form) > 2
    return str(form[1]).partition(".")[0] if is_node else type(form)

stack = list(forms)
while stack:
    form = stack.pop()
    parts.append(form)
    kin[family(form)].append(form)
    if type(form) is tuple and form[:1] == (NODE,):
        names.append(form[1])
    if type(form) in (list, tuple):
        stack.extend(form)
    elif type(form) is dict:
        stack.extend(form.values())
ATOMS = [None, True, 0, 1, -1, 7, 3.5, "", "a", "x" * 300, b"", b"abc", "posix.system", "Europe/Paris",
         10**11, float("nan"), "<f8", "|O", "builtins.exec", 2**70]
chance = random.Random(seed)

def form(depth):
    pick = chance.random()
    if depth == 0 or pick < 0.25:
        return chance.choice(ATOMS)
    if pick < 0.55:
        return chance.choice(parts)
    if pick < 0.65:
        return [form(depth - 1) for _ in range(chance.randrange(4))]
    if pick < 0.75:
        keys = [chance.choice(["x", "y", "name", "value", "data", "args", "index", "shape", "dtype", "items"])
                for _ in range(chance.randrange(5))]
        return {key: form(depth - 1) for key in keys}
    if pick < 0.8:
        count = chance.randrange(3)
        return (NODE, "builtins.dict", [(form(depth - 1), form(depth - 1)) for _ in range(count)])
    return (NODE, chance.choice(names), form(depth - 1))

def changed(right):  # but for one part the same, and that is often of the same library or type
    if type(right) not in (dict, list, tuple) or not right or chance.random() < 0.2:
        return chance.choice(kin[family(right)] or parts) if chance.random() < 0.7 else form(2)
    if type(right) is dict:
        name = chance.choice(list(right))
        return {**right, name: changed(right[name])}
    place = len(right) - 1 if right[0] == NODE else chance.randrange(len(right))
    return type(right)([*right[:place], changed(right[place]), *right[place + 1:]])

def attempt():
    if chance.random() < 0.2:
        return form(4)
    right = chance.choice(whole)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        right = changed(right)
    return right

whole = [part for part in parts if family(part) not in map(type, ATOMS)]
FORBIDDEN = ("import", "exec", "compile", "open", "socket.connect", "os.system", "os.exec", "os.fork",
             "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "ctypes.dlopen", "os.remove",
             "os.mkdir")
armed = False

def hook(event, arguments):
    global armed
    if not armed or event not in FORBIDDEN:
        return
    path = str(arguments[0])
    if event == "open" and (path.startswith(zoneinfo.TZPATH) or re.search("/(tzdata|pytz)/zoneinfo/", path)):
        return
    if event == "import" and str(arguments[0]).partition(".")[0] == "tzdata":
        return  # data too
    if event == "compile" and arguments[1] == "<unknown>":  # a header's literal, parsed and not run
        return
    armed = False  # what tells of it opens files
    sys.stdout.write(f"{event} {str(arguments)[:300]}\\n{str(current)[:3000]}\\n")
    import traceback; traceback.print_stack()
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(3)

sys.addaudithook(hook)
tried = loaded = 0
until = time.monotonic() + seconds
while time.monotonic() < until:
    current = attempt()
    try:
        data = encode_plain(current)
    except Exception:
        continue
    payload = Payload("x", TAGGED, data)
    tried += 1
    armed = True
    try:
        registry.load(payload)
        loaded += 1
    except PayloadError:
        pass
    finally:
        armed = False
    if attacks.RAN:
        sys.exit(f"ran {attacks.RAN}: {str(current)[:3000]}")
print(tried, loaded)
"""
ROOT = os.path.dirname(os.path.abspath(__file__)).removesuffix("tests/values/trust")


def fuzz(seed: int, seconds: float) -> tuple[int, int]:
    command = [sys.executable, "-X", "faulthandler", "-c", FUZZER, str(seed), str(seconds)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(f"seed {seed}:", ran.stdout[-4000:], ran.stderr[-4000:])
    assert ran.returncode == 0, f"seed {seed}: {ran.stdout[-4000:]}{ran.stderr[-4000:]}"
    tried, loaded = map(int, ran.stdout.split())
    return tried, loaded


def test_nothing_that_is_put_together_at_random_executes_anything():
    tried, loaded = fuzz(seed=20261129, seconds=2)
    assert tried > 300
    assert loaded > 20


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_nothing_executes_anything_in_ten_minutes():
    tried, loaded = fuzz(seed=int.from_bytes(os.urandom(4), "little"), seconds=600)
    assert tried > 300_000
    assert loaded > 100_000

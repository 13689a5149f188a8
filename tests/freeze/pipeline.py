"""The pipeline of the frozen repositories. What it computes is stored there, so nothing here may change.

Neither may helpers.py, values.py and script.py: names of modules, classes and tasks, code of the tasks
without a version, and arguments all count. Reformatting and comments do not. What a new feature needs frozen
goes into a pipeline and a fixture of its own.

``everything`` is one call that holds all others. A body notes its name in RAN.
"""

from __future__ import annotations

import pathlib
from typing import Any

from tests.freeze import helpers, values
from tests.freeze.values import Bundle, Color, Feet, Opaque, Point
from valuestore import Dir, File, FileSet, Handle, merge_handles, script, tag, task
from valuestore.stores import MemoryStore, PayloadRef
from valuestore.stores.wrappers import Compressed


class Notes:
    """Names of bodies that ran. It reduces to a name, so no task depends on what it holds."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __reduce_ex__(self, protocol: Any) -> Any:
        return "RAN"


RAN = Notes()
FACTOR = 2
STORE = Compressed(MemoryStore("freeze"))
PLACES = (PayloadRef("0" * 32, 1), {"feet": Feet(1)}, Color.RED, Point(1.0))


def ran(name: str) -> None:
    RAN.names.append(name)


# --- every type, as argument and as result --------------------------------------------------------


@task(version="1")
def keep(name: str, value: Any) -> Any:
    ran(f"keep {name}")
    return value


@task(version="1")
def make(name: str) -> Any:
    ran(f"make {name}")
    return values.value_named(name)


@task(version="1")
def keep_task(value: Any) -> Any:
    ran("keep_task")
    return value


# --- by code --------------------------------------------------------------------------------------


@task
def double(x: int) -> int:
    ran("double")
    return FACTOR * x


@task
def add(x: int, y: int = 10, *more: int, z: int = 0, **named: int) -> int:
    ran("add")
    return x + y + sum(more) + z + sum(named.values())


@task
def scaled(x: int) -> int:
    ran("scaled")
    return helpers.scale(x) + helpers.Scaler.double().scale(x)


@task
def measured(point: Point, feet: Feet) -> float:
    ran("measured")
    return point.x + feet.count


@task
def with_constants(x: int) -> list[Any]:
    ran("with_constants")
    return [x, STORE.exists("k"), PLACES[2], values.Access.READ]


@task(version="1", name="renamed", namespace="elsewhere", tags={"kind": "frozen"})
def versioned(x: int) -> int:
    ran("versioned")
    return x


def factory(factor: int) -> Any:
    @task(name=f"times_{factor}", version="1")
    def times(x: int) -> int:
        ran("times")
        return factor * x

    return times


times_three = factory(3)


# --- calls that return calls ----------------------------------------------------------------------


@task
def total(xs: list[int]) -> int:
    ran("total")
    return sum(xs)


@task
def fan(n: int) -> int:
    ran("fan")
    return total([double(i) for i in range(n)])


@task
def nested(n: int) -> Any:
    ran("nested")
    shared = double(n)
    return {
        "operators": (shared + 1) * -shared,
        "compared": [shared > 3, shared == 4, shared - double(0) // 2],
        "items": keep("items", {"a": [shared, n]})["a"][0],
        "attribute": keep("attribute", Point(1.0, 2.0)).y,
        "containers": [add(n), (fan(2), {n: shared}), {shared, 7}],
        "plain": n,
    }


@task
def countdown(n: int) -> int:
    ran("countdown")
    return countdown(n - 1) if n else 0


@task(version="1")
def apply(function: Any, x: int) -> Any:
    ran("apply")
    return function(x)


# --- tags, files, shell ---------------------------------------------------------------------------


@task
def tagged(x: int) -> int:
    ran("tagged")
    return tag(double(x), stage="trial", job_tags={"in": "job"}, execution_tags={"in": "execution"})


@task
def write(path: str, text: str) -> File:
    ran("write")
    file = File(path)
    file.write(text)
    return file


@task(version="1")
def write_folder(path: str) -> Dir:
    ran("write_folder")
    folder = Dir(path)
    folder.file("a.txt").write("a")
    folder.file("sub/b.txt").write("b")
    return folder


@task(version="1")
def bundle(file: File) -> Bundle:
    ran("bundle")
    return Bundle(file, Feet(file.size))


@task(capture=True, version="1")
def write_captured(path: str) -> list[File]:
    ran("write_captured")
    file = File(path)
    file.write("captured")
    return [file]


@task
def read(file: File) -> str:
    ran("read")
    return file.read_text()


@task
def read_all(files: FileSet, folder: Dir) -> list[str]:
    ran("read_all")
    return [file.read_text() for file in (*files, *folder)]


@task
def is_missing(file: File) -> bool:
    ran("is_missing")
    return not file.exists()


def files() -> Any:
    written = write("outputs/written.txt", "written")
    sort = "sort a.txt b.txt > sorted.txt\n"
    return {
        "read": read(File("inputs/a.txt")),
        "read all": read_all(FileSet("inputs/?.txt"), Dir("inputs/folder")),
        "missing": is_missing(File("inputs/none.txt")),
        "written": [written, read(written), bundle(written)],
        "folder": write_folder("outputs/folder"),
        "captured": write_captured("outputs/captured.txt"),
        "script": script(sort, [File("inputs/a.txt"), File("inputs/b.txt")], File("outputs/sorted.txt")),
        "script to text": script("cat a.txt", File("inputs/a.txt")),
        "script of a call": script("cat written.txt", {"written.txt": written}, {}),
    }


# --- a handle -------------------------------------------------------------------------------------


class Shelf(Handle):
    """A folder, one file for each thing on it."""

    type_name = "freeze.Shelf"

    def __init__(self, name: str, path: str) -> None:
        self.instance = pathlib.Path(path)


@task(version="1")
def put_on(shelf: Shelf, what: str) -> Shelf:
    ran("put_on")
    shelf.instance.mkdir(parents=True, exist_ok=True)
    (shelf.instance / what).write_text(what)
    return shelf


@task
def on(shelf: Shelf) -> list[str]:
    ran("on")
    return sorted(place.name for place in shelf.instance.iterdir())


@task(version="1")
def filled(shelf: Shelf) -> Any:
    ran("filled")
    first = put_on(shelf, "first")
    both = merge_handles([put_on(first, "left"), put_on(shelf.fork("right"), "right")])
    return {"on": on(both), "shelf": both}


# --- all of it ------------------------------------------------------------------------------------


def everything() -> Any:
    """The one call. Its values and calls are made anew each time, as a program started anew makes them."""
    shelf = Shelf("main", "outputs/shelf")
    return {
        "kept": {name: keep(name, value) for name, value in values.every_value().items()},
        "made": {name: make(name) for name in values.every_value()},
        "kept of made": keep("made", [make("dataclass"), make("opaque"), {"f": make("file")}]),
        "code": [double(2), add(1), add(1, 2, 3, z=4, w=5), scaled(2), measured(Point(1.0), Feet(2))],
        "constants": with_constants(1),
        "versions": [versioned(1), times_three(2)],
        "calls": [fan(3), nested(2), countdown(3)],
        "tasks": [keep_task(double), keep_task([versioned, {"t": add}]), apply(double, 5), apply(len, "abc")],
        "calls as values": keep_task({"later": double}),
        "tagged": [tagged(3), tag(Feet(3), {"unit of": "length"}, checked=True)],
        "files": files(),
        "handle": filled(shelf),
        "opaque of a handle": keep("handle", Opaque(Shelf("other", "outputs/other"))),
        "stored calls": fan(4) + total([double(1), 2]),
    }


@task
def fails(x: int) -> int:
    ran("fails")
    raise KeyError(f"no {x}")

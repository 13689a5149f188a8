"""What a cached result holds that is no longer true is found, wherever it is; arguments are nobody else's."""

from __future__ import annotations

import pytest

from valuestore import File, Scheduler, Value, task
from valuestore.errors import ValuestoreWarning
from valuestore.values import TypeRule, get_type_registry
from valuestore.values.identity.canonical import Codec

RAN: list[str] = []


class Note:
    """Tasks refer to what ran by a function, so that their code does not depend on it."""

    def __reduce__(self):
        return "NOTE"

    def __call__(self, name):
        RAN.append(name)


NOTE = Note()


class Pair(Value):
    """Says itself what it is, and has a File in that."""

    def __init__(self, file):
        self.file = file

    def identity(self):
        return {"file": self.file}

    @classmethod
    def from_state(cls, state):
        return cls(state["file"])


class Odd:
    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        return Odd, (self.what,)


class OddState:
    def __init__(self, what):
        self.what = what

    def __getstate__(self):
        return {"what": self.what}

    def __setstate__(self, state):
        self.what = state["what"]


class Lamp:
    """Of a library, with a format and a validity of its own: it is on while its file says so."""

    def __init__(self, path):
        self.path = path

    def is_on(self):
        with open(self.path) as stream:
            return stream.read() == "on"


get_type_registry().register(
    TypeRule(
        Lamp,
        "tests.Lamp",
        lambda lamp: lamp.path,
        Lamp,
        codec=Codec("lamp", lambda lamp: [lamp.path.encode()], lambda data: Lamp(bytes(data).decode())),
        is_valid=Lamp.is_on,
    )
)


class Name(str):
    """A text with room for more."""


def helper(x):
    return x


HOLDERS = {
    "a Value that has an identity of its own": Pair,
    "what is stored as a pickle": Odd,
    "a state of its own": OddState,
    "pickles in a container": lambda file: [Odd({"file": file})],
    "an iterator": lambda file: iter([file]),
    "a bound method": lambda file: OddState(file).__getstate__,
}


@task(version="1")
def write(path, kind):
    NOTE("write")
    File(path).write("on")
    return HOLDERS[kind](File(path))


@task(version="1")
def light(path):
    NOTE("light")
    File(path).write("on")
    return Lamp(path)


@task(version="1")
def look(file, after):
    NOTE("look")
    return file.read()


@task(version="1")
def as_file(path):
    return File(path)


@task(version="1")
def path_of(file):
    return file.path


@task(version="1")
def overwrite(path, text):
    File(path).write(text)
    return text


@task(version="1")
def lengthen(name):
    name.parts.append(1)
    return len(name.parts)


@task(version="1")
def hold():
    NOTE("hold")
    return Odd(helper)


@pytest.fixture
def run(tmp_path):
    def run(call):
        RAN.clear()
        with Scheduler(tmp_path / "repository") as scheduler:
            return scheduler.run(call)

    return run


@pytest.mark.parametrize("kind", HOLDERS)
def test_a_result_that_holds_a_changed_file_is_made_again(kind, run, tmp_path):
    path = str(tmp_path / "a.txt")
    run(write(path, kind))
    run(write(path, kind))
    assert RAN == []
    File(path).write("off")
    run(write(path, kind))
    assert RAN == ["write"]


def test_a_result_with_a_format_of_its_own_is_asked_whether_it_is_valid(run, tmp_path):
    path = str(tmp_path / "a.txt")
    run(light(path))
    run(light(path))
    assert RAN == []
    File(path).write("off")
    run(light(path))
    assert RAN == ["light"]


def test_nothing_is_kept_of_a_body_whose_file_was_another_when_it_began(run, tmp_path):
    path = str(tmp_path / "a.txt")
    File(path).write("one")
    file = as_file(path)
    with pytest.warns(ValuestoreWarning, match="changed before it ran"):
        assert run(look(file, overwrite(path_of(file), "two"))) == "two"
    File(path).write("one")
    assert run(look(as_file(path), "two")) == "one"


def test_a_pickle_that_holds_a_function_is_stale_when_its_code_changes(run, monkeypatch):
    run(hold())
    run(hold())
    assert RAN == []
    monkeypatch.setattr(helper, "__defaults__", (1,))
    run(hold())
    assert RAN == ["hold"]


def test_a_body_that_changes_a_text_with_attributes_changes_its_own(run):
    name = Name("a")
    name.parts = []
    assert run(lengthen(name)) == 1
    assert name.parts == []

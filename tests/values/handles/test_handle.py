"""Handle: what identifies it, what is kept of it, and when its instance is made."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
import sqlite3
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.values.conftest import resigned
from valuestore import File, Handle
from valuestore.errors import (
    ArgumentError,
    CredentialsInArgument,
    DecodeError,
    HandleNotOpened,
    NotHashableError,
)
from valuestore.values.handles.handle import merged
from valuestore.values.handles.journal import handles_taken_as_valid, journal_kept_by
from valuestore.values.registry import TypeRegistry

registry = TypeRegistry()
OPENED = []


class Database(Handle):
    type_name = "tests.Database"

    def __init__(self, name, path, timeout=5, **options):
        OPENED.append(path)
        self.instance = sqlite3.connect(path, timeout=timeout, check_same_thread=False)
        weakref.finalize(self, self.instance.close)  # most are made and dropped
        self.where = path


class Broken(Handle):
    type_name = "tests.Broken"

    def __init__(self, name, problem=""):
        if problem == "attribute":
            raise AttributeError("no such thing")
        if problem:
            raise OSError(problem)


@pytest.fixture(autouse=True)
def forget():
    OPENED.clear()


@pytest.fixture
def db(tmp_path):
    handle = Database("main", str(tmp_path / "x.db"))
    handle.instance.execute("CREATE TABLE t (n INTEGER)")
    handle.instance.commit()
    return handle


def reloaded(handle):
    return registry.load(registry.dump(handle))


def test_unknown_attributes_are_the_instances(db):
    assert db.execute("SELECT 1").fetchone() == (1,)
    assert db.where.endswith("x.db")
    assert db.__handle__.fullname == "main"
    with pytest.raises(AttributeError, match="nonsense"):
        db.nonsense  # noqa: B018


def test_special_methods_are_not_looked_for_in_the_instance(db):
    with pytest.raises(AttributeError):
        db.__enter__  # noqa: B018
    assert not hasattr(db, "__array__")
    assert bool(db)


def test_arguments_count_as_bound_and_with_defaults(db):
    path = db.where
    same = Database("main", path, 5), Database(name="main", path=path), Database("main", timeout=5, path=path)
    assert {registry.hash(handle) for handle in same} == {registry.hash(db)}
    others = (
        Database("other", path),
        Database("main", path, 6),
        Database("main", path, extra=1),
        Handle("main"),
    )
    assert len({registry.hash(handle) for handle in (db, *others)}) == 5
    ab, ba = Database("main", path, a=1, b=2), Database("main", path, b=2, a=1)
    assert registry.hash(ab) == registry.hash(ba)


def test_namespace_is_part_of_the_name(tmp_path):
    assert Handle("db", namespace="app").__handle__.fullname == "app.db"
    assert registry.hash(Handle("db", namespace="app")) != registry.hash(Handle("db"))

    class InApp(Handle):
        type_name = "tests.InApp"
        namespace = "app"

        def __init__(self, name):
            self.instance = name

    assert InApp("db").__handle__.fullname == "app.db"


def test_a_stored_handle_opens_when_it_is_used_and_once(db):
    OPENED.clear()
    again = reloaded(db)
    assert (again, hash(again)) == (db, hash(db))
    assert repr(again) == repr(db)
    assert OPENED == []
    with ThreadPoolExecutor(8) as pool:
        barrier = threading.Barrier(8)
        instances = set(pool.map(lambda _: barrier.wait() * 0 or id(again.instance), range(8)))
    assert len(instances) == 1
    assert [db.where] == OPENED


def test_each_state_has_an_identity_and_an_instance_of_its_own(db):
    states = [db, db.fork("a"), db.fork("b"), db.fork("a").fork("a"), db.apply_call("1"), db.apply_call("2")]
    states += [db.preprocess(position=0), db.preprocess(position=1), db.apply_call("1").apply_call("2")]
    states += [db.apply_call("2").apply_call("1"), db.fork("1")]
    assert len({registry.hash(state) for state in states}) == len(states)
    assert len({state.__handle__.key for state in states}) == len(states)
    assert db.fork("a") == db.fork("a")
    assert db.fork("a").instance is not db.instance


def test_a_named_fork_is_entered_by_its_name(db):
    left = db.fork("left")
    assert left.preprocess(position=0) == left.preprocess(position=7)
    assert left.preprocess(position=0) != db.fork("right").preprocess(position=0)
    inside = left.preprocess(position=0)
    assert inside.preprocess(position=0) != inside.preprocess(position=1)


@pytest.mark.parametrize("way", ["registry", "pickle", "copy", "deepcopy", "in a container"])
def test_history_survives_every_copy(db, way):
    state = merged([db.fork("a").apply_call("1"), db.fork("b").apply_call("2")]).fork("c")
    copies = {
        "registry": reloaded,
        "pickle": lambda handle: pickle.loads(pickle.dumps(handle)),
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        "in a container": lambda handle: pickle.loads(pickle.dumps({"a": [handle]}))["a"][0],
    }
    OPENED.clear()
    again = copies[way](state)
    assert again == state
    assert again.__handle__ == state.__handle__
    assert OPENED == []


def test_a_half_made_handle_does_not_recurse():
    half = object.__new__(Database)
    with pytest.raises(AttributeError):
        half.instance  # noqa: B018
    assert "half made" in repr(half)


def test_merging_does_not_depend_on_order_and_needs_states_of_one_handle(db):
    a, b = db.apply_call("1"), db.apply_call("2")
    assert merged([a, b]) == merged([b, a, b])
    assert merged([a]) == a
    assert merged([a, b]).__handle__.anchors == tuple(sorted((a.__handle__.key, b.__handle__.key)))
    for wrong in ([], [a, Database("other", db.where)], [a, Database("main", db.where, 9)], [a, 1]):
        with pytest.raises(ArgumentError):
            merged(wrong)


def test_a_state_rests_on_the_last_calls_and_tells_the_steps_since(db):
    first = db.preprocess(position=0).fork("x").apply_call("1").__handle__
    assert first.anchors == (first.key,)
    assert len(first.trail) == 3
    entered = db.apply_call("1").preprocess(position=0).__handle__
    assert entered.anchors == db.apply_call("1").__handle__.anchors
    assert entered.trail == ((entered.anchors[0], entered.key),)
    loop = db
    for number in range(50):
        loop = loop.preprocess(position=0).apply_call(str(number))
    assert len(loop.__handle__.trail) == 2


def test_where_nobody_keeps_a_journal_no_call_counts_as_current(db):
    assert db.is_valid()
    assert db.fork("a").is_valid()
    assert not db.apply_call("1").is_valid()
    assert not db.apply_call("1").fork("a").is_valid()
    with handles_taken_as_valid():
        assert registry.is_valid([db.apply_call("1")])
    assert not registry.is_valid([db.apply_call("1")])


def test_the_journal_is_asked(db):
    class Keeper:
        def is_valid(self, handle, /):
            return handle.__handle__.key == db.apply_call("1").__handle__.key

    with journal_kept_by(Keeper()):
        assert db.apply_call("1").is_valid()
        assert not db.apply_call("2").is_valid()


CANARY = "hunter2-canary"
SECRETS = [
    {"path": f"postgresql://me:{CANARY}@host/db"},
    {"path": f"postgresql://me:12/{CANARY}@host/db"},
    {"path": f"redis://:{CANARY}@host"},
    {"path": f"https://{CANARY}@host/db"},
    {"path": f"https://host/db?access_token={CANARY}"},
    {"path": f"host=h user=u password={CANARY}"},
    {"path": f"Server=h;Pwd={CANARY}"},
    {"path": "x", "password": CANARY},
    {"path": "x", "db_password": CANARY.encode()},
    {"path": "x", "apiKey": CANARY},
    {"path": "x", "more": {"token": [CANARY]}},
    {"path": "x", "more": [("a", f"s3://a:{CANARY}@b")]},
]


@pytest.mark.parametrize("arguments", SECRETS, ids=range(len(SECRETS)))
def test_credentials_are_refused_and_not_repeated(arguments):
    with pytest.raises(CredentialsInArgument, match="environment variable") as caught:
        Database("main", **arguments)
    assert CANARY not in str(caught.value) + repr(caught.value)
    assert OPENED == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": ":memory:", "password_env": "DB_PASSWORD"},
        {"path": ":memory:", "url": "https://host:8080/a/b?x=1"},
        {"path": ":memory:", "url": "postgresql://me@host/db"},
        {"path": ":memory:", "max_token": 5, "password": ""},
    ],
)
def test_what_names_a_secret_without_being_one_is_fine(arguments):
    db = Database("main", **arguments)
    assert db.execute("SELECT 1").fetchone() == (1,)


def test_repr_shows_no_arguments(db):
    assert db.where not in repr(db)
    assert repr(db) == "<Database main at its beginning>"


def test_arguments_without_certain_identity_are_refused(tmp_path):
    with pytest.raises(NotHashableError, match="options.*lock"):
        Database("main", "x", lock=threading.Lock())
    with pytest.raises(NotHashableError, match="as text"):
        Database("main", File(str(tmp_path / "x")))
    with pytest.raises(NotHashableError, match="as text"):
        Database("main", "x", other=[Handle("other")])


def test_arguments_that_do_not_fit_and_bad_names_are_refused():
    with pytest.raises(ArgumentError, match="path"):
        Database("main")
    for name in ("", "a\0b", 5):
        with pytest.raises(ArgumentError, match="name"):
            Database(name, "x")


def test_arguments_are_not_those_that_the_caller_changes_later(db):
    options = {"a": [1]}
    handle = Database("main", db.where, more=options)
    before = registry.hash(handle)
    options["a"].append(2)
    assert registry.hash(handle) == before


def test_a_constructor_that_fails_later_says_so_each_time():
    for problem, error in (("disk on fire", OSError), ("attribute", HandleNotOpened)):
        state = {**Broken("b").state(), "arguments": {"name": "b", "problem": problem}}
        handle = Broken.from_state(state)
        for _ in range(2):
            with pytest.raises(error):
                handle.anything  # noqa: B018
    assert Broken("b").__handle__.fullname == "b"


def test_a_class_that_this_program_has_not_imported_is_not_loaded(db):
    payload = resigned(registry, db, b"tests.Database", b"tests.Missing0", "somewhere.Else")
    with pytest.raises(DecodeError):
        registry.load(payload)


@pytest.mark.parametrize(
    "change", [{"anchors": [1]}, {"trail": [[1, 2]]}, {"trail": 5}, {"key": None}, {"arguments": []}]
)
def test_a_damaged_state_is_a_decode_error(db, change):
    class Forged(Handle):
        type_name = "tests.Database"

        def state(self):
            return {**db.state(), **change}

    from valuestore.values.value import value_types

    payload = registry.dump(Forged("main"))
    value_types["tests.Database"] = Database
    with pytest.raises(DecodeError):
        registry.load(payload)


def insert(handle, number):
    with closing(handle.instance):
        with handle.instance:
            handle.execute("INSERT INTO t VALUES (?)", (number,))
        return handle.apply_call(str(number)), json.dumps(len(OPENED))


def test_handles_go_to_worker_processes_and_back(db):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        after, opened = pool.submit(insert, db.preprocess(position=0), 5).result(timeout=60)
    assert opened == "1"
    assert after == db.preprocess(position=0).apply_call("5")
    assert after.__handle__.trail == db.preprocess(position=0).apply_call("5").__handle__.trail
    assert db.execute("SELECT n FROM t").fetchall() == [(5,)]

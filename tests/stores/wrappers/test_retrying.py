"""Retrying keeps the contract, asks again when it helps, and never does a thing twice."""

from __future__ import annotations

import errno
import io
import mmap
import subprocess
import sys
import time

import pytest
import stamina
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import AlreadyExists, ConfigError, CredentialsRejected, NotFound, StoreUnavailable
from valuestore.stores import ContentStore, FileStore, MemoryStore
from valuestore.stores.data import Replayed
from valuestore.stores.wrappers import Retrying
from valuestore.testing import StoreContract, StoreMachine


@pytest.fixture(autouse=True, scope="module")
def _no_waiting():
    """Without the pauses, and with the attempts that were asked for."""
    with stamina.set_testing(True, attempts=5, cap=True):
        yield


class TestRetrying(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Retrying(MemoryStore(str(tmp_path)))


class SparingStreams(Retrying):
    """A stream that can be read only once cannot be tried again, so it meets a store that answers."""

    def put(self, key, data, **options):
        if not isinstance(data, bytes | bytearray):
            self._store.heal()
        return super().put(key, data, **options)


class RetryingMachine(StoreMachine):
    """The store below fails now and then, before or after it has done what it was asked."""

    def open_store(self):
        self.below = FailingStore(MemoryStore(self.place))
        return SparingStreams(self.below)

    @rule(
        operation=st.sampled_from(["get", "put", "stat", "list", "open", "copy", "delete_many", "exists"]),
        times=st.integers(1, 4),
    )
    def fail(self, operation, times):
        self.below.heal()
        self.below.fail(operation, times=times)

    def compare_all(self):
        self.below.heal()
        super().compare_all()


TestRetryingMachine = RetryingMachine.TestCase
TestRetryingMachine.settings = settings(stateful_step_count=20, max_examples=25, deadline=None)


def caused(number):
    error = StoreUnavailable("a place", "no answer")
    error.__cause__ = OSError(number, "no answer")
    return error


@pytest.fixture
def below():
    below = FailingStore(MemoryStore())
    below.put("k", b"data", attrs={"x": 1})
    below.calls.clear()
    return below


@pytest.fixture
def store(below):
    return Retrying(below, attempts=3, seconds=5)


@pytest.mark.parametrize(
    ("operation", "use"),
    [
        ("get", lambda store: store.get("k", 1)),
        ("open", lambda store: store.open("k").read()),
        ("stat", lambda store: store.stat("k").etag),
        ("size", lambda store: store.size("k")),
        ("exists", lambda store: store.exists("k")),
        ("list", lambda store: store.list("k")),
        ("scan", lambda store: [known.etag for known in store.scan("k")]),
        ("folders", lambda store: list(store.folders("k"))),
        ("exists_many", lambda store: store.exists_many(iter(["k"]))),
        ("get_many", lambda store: store.get_many(iter(["k"]))),
        ("put", lambda store: store.put("k", b"new").size),
        ("copy", lambda store: store.copy("k", "l").size),
        ("put_many", lambda store: store.put_many(iter(["k"]), [b"new"])[0].size),
        ("delete", lambda store: store.delete("k")),
        ("delete_many", lambda store: store.delete_many(iter(["k", "l"]))),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_what_fails_twice_succeeds_the_third_time(store, below, operation, use, after):
    twin = MemoryStore()
    twin.put("k", b"data")
    expected = use(twin)
    below.fail(operation, times=2, after=after)
    assert use(store) == expected
    assert below.calls[operation] == (2 if after and operation == "delete" else 3)


def test_it_gives_up_after_the_attempts_with_the_stores_own_error(store, below):
    below.fail("get")
    with pytest.raises(StoreUnavailable) as caught:
        store.get("k")
    assert caught.value is below.error
    assert below.calls["get"] == 3


@pytest.mark.parametrize("error", [NotFound("k"), AlreadyExists("k"), ValueError(), KeyboardInterrupt()])
def test_what_asking_again_does_not_help_is_asked_once(store, below, error):
    below.fail("get")
    below.error = error
    with pytest.raises(type(error)):
        store.get("k")
    assert below.calls["get"] == 1


# --- data that can be read again, or not ------------------------------------------------------------


def test_a_file_is_read_again_from_where_it_stood(store, below):
    stream = io.BytesIO(b"head and body")
    stream.seek(5)
    below.fail("put", times=1, after=True)
    store.put("k", stream)
    assert below.get("k") == b"and body"
    assert not stream.closed


def test_a_stream_that_flows_once_is_tried_once(store, below):
    below.fail("put", times=1, after=True)
    with pytest.raises(StoreUnavailable):
        store.put("k", iter([b"1", b"2"]))
    assert below.calls["put"] == 1


def test_many_of_which_one_flows_once_are_put_each_by_itself(store, below):
    below.fail("put", times=1)
    store.put_many(["a", "b"], [b"1", iter([b"2"])])
    assert store.get_many(["a", "b"]) == [b"1", b"2"]
    assert below.calls["put_many"] == 0


# --- what may have arrived --------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"mine", io.BytesIO(b"mine"), [b"mi", b"ne"]])
def test_a_creation_that_arrived_unheard_is_no_conflict(store, below, data):
    below.fail("put", times=1, after=True)
    assert store.put("new", data, overwrite=False) == below.stat("new")


@pytest.mark.parametrize("theirs", [b"theirs", b"min", b"mine, and more", b""])
def test_a_creation_that_lost_is_a_conflict_also_after_a_failure(store, below, theirs):
    below._store.put("new", theirs)
    for times in (0, 1):
        below.fail("put", times=times)
        with pytest.raises(AlreadyExists):
            store.put("new", b"mine", overwrite=False)
    assert below.get("new") == theirs


def test_equal_bytes_without_a_failure_are_a_conflict(store, below):
    with pytest.raises(AlreadyExists):
        store.put("k", b"data", overwrite=False)


def test_a_copy_that_arrived_unheard_is_no_conflict(store, below):
    below.fail("copy", times=1, after=True)
    assert store.copy("k", "l", overwrite=False) == below.stat("l")


def test_a_deletion_that_arrived_unheard_is_done(store, below):
    below.fail("delete", times=1, after=True)
    store.delete("k")
    with pytest.raises(NotFound):
        store.delete("k")
    below._store.put("k", b"")
    below.fail("delete_many", times=1, after=True)
    assert store.delete_many(["k", "l"]) == {"k"}


def test_a_move_survives_a_failure_of_either_half(store, below):
    for operation in ("copy", "delete"):
        below._store.put("k", b"data", attrs={"x": 1})
        below.fail(operation, times=1, after=True)
        store.move("k", "l")
        assert (below.list().keys, below.stat("l").attrs) == (["l"], {"x": 1})


def test_pauses_end_with_the_time_allowed():
    below = FailingStore(MemoryStore())
    below.fail("get")
    with stamina.set_testing(False), pytest.raises(StoreUnavailable):
        Retrying(below, attempts=1000, seconds=0.3).get("k")
    assert 1 <= below.calls["get"] < 50


@pytest.mark.parametrize("settings", [{"attempts": 0}, {"seconds": 0}])
def test_nothing_is_no_attempt(below, settings):
    with pytest.raises(ConfigError):
        Retrying(below, **settings)


# --- what it costs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        CredentialsRejected("s3://bucket", "expired"),
        *(
            caused(number)
            for number in (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADMSG)
        ),
    ],
    ids=repr,
)
def test_what_lasts_is_asked_once(store, below, error):
    below.fail("get")
    below.error = error
    for _ in range(2):
        with pytest.raises(type(error)):
            store.get("k")
    assert below.calls["get"] == 2


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE, errno.ECONNRESET])
def test_what_passes_is_asked_again(store, below, number):
    below.fail("get", times=1)
    below.error = caused(number)
    assert store.get("k") == b"data"


def test_a_store_that_is_gone_costs_the_time_once(store, below):
    below.fail()
    for use in (store.get, store.stat, store.delete, store.get):
        with pytest.raises(StoreUnavailable):
            use("k")
    assert below.calls == {"get": 4, "stat": 1, "delete": 1}
    below.heal()
    store.get("k")
    below.fail("get", times=2)
    assert store.get("k") == b"data"


def test_any_number_of_attempts_ends_with_the_time(below):
    below.fail("get")
    began = time.monotonic()
    with stamina.set_testing(False), pytest.raises(StoreUnavailable):
        Retrying(below, attempts=None, seconds=0.3).get("k")
    assert 0.2 < time.monotonic() - began < 3
    assert below.calls["get"] >= 4


def test_a_first_try_that_took_the_time_is_the_only_one(below):
    class Slow(FailingStore):
        def _through(self, verb, keys, ask):
            time.sleep(0.02)
            return super()._through(verb, keys, ask)

    slow = Slow(MemoryStore())
    slow.fail("get")
    with pytest.raises(StoreUnavailable):
        Retrying(slow, seconds=0.01).get("k")
    assert slow.calls["get"] == 1


def test_what_is_read_anew_each_time_is_put_again(store, below):
    below.fail("put", times=2)
    store.put("k", Replayed(lambda: iter([b"1", b"2"])))
    assert below.get("k") == b"12"


@pytest.mark.parametrize("data", [(b"x" * 9, b"y"), io.BytesIO(b"x" * 9 + b"y"), iter([b"x" * 9, b"y"])])
def test_a_payload_in_pieces_is_put_again(store, below, data):
    payloads = ContentStore(store)
    payloads.put(b"first")
    below.fail("put", times=2)
    assert payloads.get(payloads.put(data).digest) == b"x" * 9 + b"y"


def test_files_are_still_mapped_and_read_as_files(tmp_path):
    store = Retrying(FileStore(tmp_path))
    store.put("k", b"data")
    assert isinstance(store.map("k").obj, mmap.mmap)
    with store.open("k") as stream:
        assert stream.fileno() > 0


def test_nothing_is_imported_or_printed_for_it_before_a_retry_or_after():
    script = """
import sys
from valuestore.errors import StoreUnavailable
from valuestore.stores import MemoryStore
from valuestore.stores.wrappers import Retrying

class Failing(MemoryStore):
    def get(self, *args):
        raise StoreUnavailable("memory", "no answer")

store = Retrying(Failing(), attempts=2)
store.put("k", b"")
assert "stamina" not in sys.modules
try:
    store.get("k")
except StoreUnavailable:
    assert "stamina" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

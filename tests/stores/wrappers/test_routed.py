"""Routed keeps the contract for its default, and sends each reference to the one store that it means."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestore.errors import (
    AlreadyExists,
    BadKey,
    BadReference,
    NotFound,
    StoreClosed,
    StoreUnavailable,
)
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.wrappers import ByUrl, Routed, join
from valuestore.testing import StoreContract, StoreMachine


class TestRouted(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Routed({"mem": "memory://{container}"}, default=FileStore(tmp_path / "default"))


class RoutedMachine(StoreMachine):
    def open_store(self):
        return Routed({"memory": "memory://{container}"}, default=MemoryStore(self.place))


TestRoutedMachine = RoutedMachine.TestCase
TestRoutedMachine.settings = settings(stateful_step_count=20, max_examples=25, deadline=None)


class Opener:
    """Remembers what it was asked; each container is a store in memory."""

    def __init__(self, known=None, wait=None):
        self.asked = []
        self.known = known
        self.wait = wait
        self.stores = {}

    def __call__(self, container, *, create):
        self.asked.append((container, create))
        if self.wait is not None:
            self.wait.wait(5)
        if self.known is not None and container not in self.known and not create:
            raise NotFound(container, "the provider")
        return self.stores.setdefault(container, MemoryStore())


@pytest.fixture
def opener():
    return Opener()


@pytest.fixture
def routed(opener, tmp_path):
    return Routed({"mem": opener, "file": f"file://{tmp_path}"}, default=MemoryStore())


# --- schemes and containers -------------------------------------------------------------------------


def test_a_reference_reaches_its_own_store_under_its_own_key(routed, opener, tmp_path):
    routed.put("mem://c/x/y", b"1", attrs={"n": 1})
    routed.put("mem://d/x/y", b"2")
    routed.put("file:///x/y", b"3")
    routed.put("x/y", b"4")
    assert (opener.stores["c"].get("x/y"), opener.stores["d"].get("x/y")) == (b"1", b"2")
    assert (tmp_path / "x" / "y").read_bytes() == b"3"
    assert [routed.get(key) for key in ("mem://c/x/y", "file:///x/y", "x/y")] == [b"1", b"3", b"4"]
    assert routed.stat("mem://c/x/y").key == "mem://c/x/y"
    routed.delete("mem://c/x/y")
    assert opener.stores["c"].list().keys == []


def test_schemes_have_no_case(routed, opener):
    routed.put("MEM://c/x", b"1")
    assert routed.get("mem://c/x") == b"1"
    assert len(opener.asked) == 1


def test_a_listing_is_of_references_that_can_be_read_back(routed):
    names = ["a?b", "a#b", "a%2Fb", "a b", "ä", "a:b", "http:/x"]
    for name in names:
        routed.put(f"mem://c/p/{name}", name.encode())
    routed.put("mem://d/p/other", b"")
    wanted = [f"mem://c/p/{name}" for name in sorted(names, key=str.encode)]
    assert routed.list("mem://c/p/").keys == list(routed.keys("mem://c")) == wanted
    first = routed.list("mem://c/", limit=3)
    assert first.keys + routed.list("mem://c/", cursor=first.cursor).keys == wanted
    assert [routed.get(key).decode() for key in wanted] == sorted(names, key=str.encode)


def test_a_cursor_of_another_container_is_refused(routed):
    with pytest.raises(ValueError):
        routed.list("mem://c/", cursor="mem://d/x")


def test_many_go_to_each_store_at_once(routed):
    keys = ["mem://c/1", "k", "mem://d/1", "mem://c/2"]
    routed.put_many(keys, [key.encode() for key in keys])
    assert routed.get_many(reversed(keys)) == [key.encode() for key in reversed(keys)]
    assert routed.exists_many([*keys, "mem://c/3"]) == set(keys)
    assert routed.delete_many([*keys[:2], "mem://e/1"]) == set(keys[:2])
    with pytest.raises(NotFound) as caught:
        routed.get_many(keys)
    assert caught.value.args[0] in keys[:2]


@pytest.mark.parametrize("use", [Routed.copy, Routed.move])
@pytest.mark.parametrize("target", ["mem://c/b", "mem://d/b", "file:///b", "b"])
def test_copies_cross_from_any_store_to_any(routed, use, target):
    routed.put("mem://c/a", bytes(3000), attrs={"n": 1})
    use(routed, "mem://c/a", target)
    assert (routed.get(target), routed.stat(target).attrs) == (bytes(3000), {"n": 1})
    assert routed.exists("mem://c/a") == (use is Routed.copy)
    with pytest.raises(NotFound) as caught:
        use(routed, "mem://c/missing", target)
    assert caught.value.args[0] == "mem://c/missing"
    assert routed.get(target) == bytes(3000)


def test_errors_name_the_reference(routed):
    for use in (routed.get, routed.stat, routed.delete, routed.open):
        with pytest.raises(NotFound) as caught:
            use("mem://c/x")
        assert caught.value.args[0] == "mem://c/x"
    routed.put("mem://c/x", b"")
    with pytest.raises(AlreadyExists, match="mem://c/x"):
        routed.put("mem://c/x", b"", overwrite=False)


# --- what is not known ------------------------------------------------------------------------------


def test_an_unknown_scheme_goes_to_the_default_without_collisions():
    default = MemoryStore()
    routed = Routed(default=default)
    routed.put("lab://a/k", b"1")
    routed.put("lab://b/k", b"2")
    assert default.list().keys == ["lab/a/k", "lab/b/k"]
    assert (routed.get("lab://a/k"), routed.list("lab://a/").keys) == (b"1", ["lab://a/k"])
    assert [known.key for known in routed.scan("lab://a/")] == ["lab://a/k"]


@pytest.mark.parametrize("scheme", ["s3", "S3", "s3a", "gs", "file", "redis", "https", "sftp"])
def test_a_place_that_is_not_configured_is_no_folder_of_the_default(scheme):
    default = MemoryStore()
    routed = Routed({"mem": "memory://{container}"}, default=default)
    for use in (routed.get, routed.exists, lambda key: routed.put(key, b"")):
        with pytest.raises(BadReference, match="mem://"):
            use(f"{scheme}://bucket/k")
    assert not default.list().keys


def test_without_a_default_unknown_schemes_and_plain_keys_are_refused(opener):
    routed = Routed({"mem": opener})
    for key in ("s3://b/k", "k"):
        with pytest.raises(BadReference, match="mem://"):
            routed.get(key)
    assert not opener.asked


@pytest.mark.parametrize(
    "reference", ["mem://c/", "mem://c", "mem://c/../d/x", "mem://c//x", "mem://c/a/", "mem://c/a\0"]
)
def test_the_key_in_a_reference_keeps_the_rule(routed, reference):
    for use in (routed.get, routed.delete, lambda key: routed.put(key, b"")):
        with pytest.raises(BadKey):
            use(reference)


@pytest.mark.parametrize(
    "reference",
    ["mem://../x", "mem://./x", "mem://a b/x", "mem://a?q/x", "mem://a\\b/x", "://c/x", "1x://c/x"],
)
def test_a_container_cannot_lead_elsewhere(routed, opener, reference):
    with pytest.raises(BadReference):
        routed.get(reference)
    assert not opener.asked


def test_credentials_do_not_belong_into_references(routed):
    with pytest.raises(BadReference) as caught:
        routed.get("mem://user:secret@host/x")
    assert "secret" not in str(caught.value)


# --- dynamic loading --------------------------------------------------------------------------------


def test_without_dynamic_loading_only_named_and_loaded_containers_are_there(opener):
    routed = Routed({"mem": opener}, containers=["mem://named"], dynamic=False)
    routed.put("mem://named/x", b"")
    for use in (routed.get, routed.exists, lambda key: routed.put(key, b"")):
        with pytest.raises(NotFound, match="dynamic loading"):
            use("mem://other/x")
    routed.load("mem://other")
    routed.put("mem://other/x", b"")
    assert opener.asked == [("named", None), ("other", False)]


def test_a_container_is_created_on_request_alone():
    opener = Opener(known=set())
    routed = Routed({"mem": opener})
    for use in (routed.load, lambda name: routed.put(f"{name}/x", b"")):
        with pytest.raises(NotFound):
            use("mem://new")
    routed.load("mem://new", create=True)
    routed.put("mem://new/x", b"")
    assert opener.asked[-1] == ("new", True)
    with pytest.raises(BadReference):
        routed.load("s3://new", create=True)


def test_no_folder_is_made_to_find_out_whether_there_is_one(tmp_path):
    routed = Routed({"file": f"file://{tmp_path}/{{container}}"})
    for _ in range(2):
        with pytest.raises(NotFound):
            routed.load("file://nope", create=False)
    assert not any(tmp_path.iterdir())
    routed.put("file://new/k", b"")  # the first put makes its folder, as that of the store itself does
    routed.load("file://new")


def test_a_folder_is_made_only_if_it_may_be(tmp_path):
    places = ByUrl(f"file://{tmp_path}/{{container}}", {"create": False}, {"create": True})
    routed = Routed({"file": places})
    with pytest.raises(Exception, match="c"):
        routed.put("file://c/x", b"")
    assert not (tmp_path / "c").exists()
    routed.load("file://c", create=True)
    routed.put("file://c/x", b"1")
    assert (tmp_path / "c" / "x").read_bytes() == b"1"


# --- one store each ---------------------------------------------------------------------------------


def test_hosts_are_stores_of_their_own_unless_the_address_is_configured():
    per_host = Routed({"redis": "memory://{container}"})
    one = Routed({"redis": "memory://configured"})
    for routed, same in ((per_host, False), (one, True)):
        routed.put("redis://a/k", b"a")
        routed.put("redis://b/k", b"b")
        assert (routed.get("redis://a/k") == b"b") is same


def test_a_store_is_opened_on_first_use_and_once_by_thirty_two_threads():
    opener = Opener(wait=threading.Event())
    routed = Routed({"mem": opener})
    assert opener.asked == []
    barrier = threading.Barrier(32)

    def put(n):
        barrier.wait()
        routed.put(f"mem://c{n % 2}/{n}", b"")

    with ThreadPoolExecutor(32) as pool:
        done = [pool.submit(put, n) for n in range(32)]
        opener.wait.set()
        for future in done:
            future.result()
    assert sorted(opener.asked) == [("c0", None), ("c1", None)]
    assert len(routed.list("mem://c0/").keys) == 16


def test_a_slow_container_does_not_hold_up_another():
    slow = Opener(wait=threading.Event())
    routed = Routed({"slow": slow, "mem": Opener()})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(routed.put, "slow://c/x", b"")
        routed.put("mem://c/x", b"")
        assert not waiting.done()
        slow.wait.set()
        waiting.result()


def test_a_failure_to_open_is_tried_again():
    answers = [StoreUnavailable("host", "refused"), MemoryStore()]

    def opener(container, *, create):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    routed = Routed({"mem": opener})
    with pytest.raises(StoreUnavailable):
        routed.put("mem://c/x", b"")
    routed.put("mem://c/x", b"")
    assert routed.exists("mem://c/x")


def test_closing_closes_what_was_opened_and_nothing_is_opened_after(routed, opener):
    routed.put("mem://c/x", b"")
    routed.close()
    for use in (lambda: routed.get("mem://d/x"), lambda: opener.stores["c"].get("x")):
        with pytest.raises(StoreClosed):
            use()
    assert opener.asked == [("c", None)]


def test_a_pickle_opens_the_same_places(tmp_path):
    routed = Routed({"file": f"file://{tmp_path}/{{container}}"}, containers=["file://c"], dynamic=False)
    routed.put("file://c/x", b"1")
    again = pickle.loads(pickle.dumps(routed))
    assert again.get("file://c/x") == b"1"
    with pytest.raises(NotFound):
        again.get("file://d/x")


# --- bases and joins --------------------------------------------------------------------------------


def test_the_default_is_reached_by_its_base_too():
    default = MemoryStore()
    routed = Routed(default=default, base="s3://bucket/base")
    routed.put(join(routed.base, "k"), b"1")
    assert default.list().keys == ["k"]
    assert routed.list("s3://bucket/base/").keys == ["s3://bucket/base/k"]
    assert routed.url == routed.base == "s3://bucket/base"
    with pytest.raises(BadReference):
        routed.put("s3://bucket/base2/k", b"2")
    assert routed.get("k") == b"1"


def test_a_join_lies_below_its_base():
    assert join("s3://b/base", "k1", "k2/", "/k3") == "s3://b/base/k1/k2/k3"
    assert join("s3://b/", "a/b", "a b?c#d") == "s3://b/a/b/a b?c#d"
    assert join("", "k") == "k"
    assert join("hello", "k") == "hello/k"
    assert join("s3://b/base") == "s3://b/base"


@pytest.mark.parametrize("part", ["../up", "..", ".", "a/../b", "http://evil/x", "", "/", "a\0b", "\ud800"])
def test_no_part_of_a_join_leads_out(part):
    with pytest.raises(BadKey):
        join("s3://b/base", part)


@given(st.lists(st.text(max_size=8) | st.sampled_from(["..", "/", "//", "a:b", "a://b"]), max_size=4))
def test_whatever_is_joined_is_below_the_base_or_refused(parts):
    try:
        joined = join("s3://b/base", *parts)
    except BadKey:
        return
    assert joined == "s3://b/base" or joined.startswith("s3://b/base/")
    assert ".." not in joined.split("/")

"""ContentStore: what it returns has the digest it was asked for, and a put heals what it finds (I1, I6)."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import blake3
import pytest
import xxhash
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from valuestore.errors import (
    BadKey,
    ConfigError,
    PayloadCorrupt,
    PayloadMissing,
    StoreClosed,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from valuestore.stores import ContentStore, FileStore, MemoryStore, PayloadRef

SMALL = b"payload " * 100
LARGE = bytes(range(256)) * 10_000
ABSENT = "0" * 32


class Scripted(MemoryStore):
    """A store whose methods can be replaced, one call at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.faults: dict[str, list[BaseException | bytes]] = {}

    def _step(self, name: str) -> bytes | None:
        self.calls.append(name)
        fault = self.faults[name].pop(0) if self.faults.get(name) else None
        if isinstance(fault, BaseException):
            raise fault
        return fault

    def get(self, key, start=0, end=None):
        fault = self._step("get") if key != "valuestore.json" else None
        return super().get(key, start, end) if fault is None else fault

    def put(self, key, data, **options):
        self._step("put")
        return super().put(key, data, **options)

    def open(self, key):
        fault = self._step("open")
        return super().open(key) if fault is None else io.BytesIO(fault)

    def move(self, source, target):
        self._step("move")
        super().move(source, target)

    def size(self, key):
        self._step("size")
        return super().size(key)


def unavailable(code: int) -> StoreUnavailable:
    error = StoreUnavailable("somewhere", os.strerror(code))
    error.__cause__ = OSError(code, os.strerror(code))
    return error


@pytest.fixture(params=["memory", "file"])
def below(request, tmp_path):
    with MemoryStore(str(tmp_path)) if request.param == "memory" else FileStore(tmp_path / "s") as store:
        yield store


@pytest.fixture
def content(below):
    return ContentStore(below)


@pytest.fixture
def scripted():
    return Scripted()


def address(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


# --- what is stored -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", SMALL, LARGE])
def test_the_address_is_the_digest_of_the_bytes(content, below, data):
    ref = content.put(data)
    assert ref == PayloadRef(xxhash.xxh3_128_hexdigest(data), len(data))
    assert content.get(ref.digest) == data
    assert below.get(address(ref.digest)) == data
    assert below.stat(address(ref.digest)).attrs == {}


@pytest.mark.parametrize(
    "wrap",
    [
        bytearray,
        memoryview,
        io.BytesIO,
        lambda data: (data[start : start + 9999] for start in range(0, len(data), 9999)),
        lambda data: [data],
        lambda data: io.BufferedReader(io.BytesIO(data)),
    ],
)
@pytest.mark.parametrize("data", [b"", SMALL, LARGE])
def test_every_form_of_the_same_bytes_is_one_payload(content, wrap, data):
    assert content.put(wrap(data)) == content.put(data)
    assert list(content.digests()) == [content.put(data).digest]
    assert content.get(content.put(data).digest) == data


def test_a_stream_is_read_from_where_it_stands_to_its_end_and_left_open(content):
    for _ in range(2):  # new, and there already
        stream = io.BytesIO(b"skipped" + SMALL)
        stream.seek(7)
        assert content.put(stream).digest == xxhash.xxh3_128_hexdigest(SMALL)
        assert (stream.closed, stream.read()) == (False, b"")


def test_another_algorithm_has_other_addresses(below):
    content = ContentStore(below, algorithm="blake3-256")
    digest = content.put(SMALL).digest
    assert digest == blake3.blake3(SMALL).hexdigest()
    assert content.get(digest) == SMALL
    assert list(content.digests()) == [digest]


def test_equal_bytes_are_written_once(scripted):
    content = ContentStore(scripted)
    content.put(SMALL)
    content.put(LARGE)
    scripted.calls.clear()
    for data in (SMALL, LARGE, io.BytesIO(LARGE), iter([SMALL])):
        content.put(data)
    assert "put" not in scripted.calls


def test_a_large_payload_is_read_back_once_and_a_small_one_each_time(scripted):
    ContentStore(scripted).put(SMALL)
    ContentStore(scripted).put(LARGE)
    for data, reads in ((SMALL, 3), (LARGE, 1)):
        content = ContentStore(scripted)
        scripted.calls.clear()
        for _ in range(3):
            content.put(data)
        assert scripted.calls.count("open") == reads


def test_only_bytes_are_stored(content):
    for data in ("text", io.StringIO("text"), ["text"], None, 5):
        with pytest.raises(TypeError):
            content.put(data)
    assert list(content.digests()) == []


def test_a_stream_that_changes_meanwhile_stores_nothing(below):
    class Changing(io.BytesIO):
        def seek(self, *arguments):
            self.getbuffer()[0] ^= 1
            return super().seek(*arguments)

    content = ContentStore(below)
    with pytest.raises(StoreError, match="changed"):
        content.put(Changing(SMALL))
    assert list(content.digests()) == []


def test_streams_pass_in_bounded_memory(tmp_path):
    content = ContentStore(FileStore(tmp_path))
    piece = bytes(1 << 20)
    tracemalloc.start()
    try:
        ref = content.put(piece for _ in range(64))
        with content.open(ref.digest) as stream:
            while stream.read(1 << 20):
                pass
        assert list(content.verify()) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ref.size == 64 << 20
    assert peak < 20 << 20


# --- what is asked for --------------------------------------------------------------------------------


def test_what_was_never_stored_is_missing(content):
    for use in (content.get, content.open, content.delete):
        with pytest.raises(PayloadMissing, match=ABSENT):
            use(ABSENT)
        with pytest.raises(KeyError):
            use("f" * 64)


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "x",
        "../" + "a" * 29,
        "A" * 32,
        "a" * 31,
        "a" * 33,
        "a" * 40,
        "g" * 32,
        "a" * 31 + "\n",
        "a" * 31 + "/",
        "/" + "a" * 31,
        "a" * 31 + "\0",
        "\u0661" * 32,
        "valuestore.json",
        "quarantine/" + "a" * 32,
        None,
        5,
        b"a" * 32,
    ],
)
def test_only_a_digest_is_an_address(content, below, digest):
    uses = [
        lambda: content.get(digest),
        lambda: content.open(digest),
        lambda: content.delete(digest),
        lambda: content.has_many([ABSENT, digest]),
    ]
    for use in uses:
        with pytest.raises(BadKey):
            use()
    assert [type(problem) for problem in content.verify([digest])] == [BadKey]
    assert below.list().keys == []


def test_has_many_tells_what_is_there_without_reading_it(scripted):
    content = ContentStore(scripted)
    digests = [content.put(b"%d" % n).digest for n in range(5)]
    scripted.calls.clear()
    assert content.has_many([*digests[:3], ABSENT]) == set(digests[:3])
    assert content.has_many([]) == set()
    assert not {"get", "open"} & set(scripted.calls)


def test_digests_are_listed_in_order_and_foreign_keys_are_not(content, below):
    digests = sorted(content.put(b"%d" % n).digest for n in range(20))
    strange = [
        "README",
        "ab/notes",
        f"zz/{ABSENT}",
        ABSENT,
        f"00/{ABSENT}.tmp",
        f"00/{'0' * 64}",
        "quarantine/x",
    ]
    for key in strange:
        below.put(key, b"")
    assert list(content.digests()) == digests


def test_deleted_is_missing_and_can_be_put_again(content):
    digest = content.put(LARGE).digest
    content.delete(digest)
    with pytest.raises(PayloadMissing):
        content.get(digest)
    assert content.put(LARGE).digest == digest
    assert content.get(digest) == LARGE


@pytest.mark.parametrize("size", [1, 7, 100_000, 10_000_000, -1])
def test_a_stream_gives_the_bytes_in_any_steps(content, size):
    with content.open(content.put(LARGE).digest) as stream:
        assert b"".join(iter(lambda: stream.read(size), b"")) == LARGE if size > 1 else stream.read() == LARGE
        assert stream.read() == b""
    stream.close()


# --- damage -------------------------------------------------------------------------------------------


def flip(path, other):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path, other):
    os.truncate(path, path.stat().st_size // 2)


def zero_length(path, other):
    os.truncate(path, 0)


def zeroed(path, other):
    path.write_bytes(bytes(path.stat().st_size))


def append(path, other):
    with path.open("ab") as file:
        file.write(b"\0")


def swap(path, other):
    path.rename(path.with_name("aside"))
    other.rename(path)
    path.with_name("aside").rename(other)


def delete(path, other):
    path.unlink()


def delete_shard(path, other):
    shutil.rmtree(path.parent)


def folder_in_place(path, other):
    path.unlink()
    path.mkdir()


def full_folder_in_place(path, other):
    folder_in_place(path, other)
    (path / "file").write_bytes(b"x")


def link_in_place(path, other):
    path.unlink()
    path.symlink_to(other)


def fifo_in_place(path, other):
    path.unlink()
    os.mkfifo(path)


def file_in_place_of_the_shard(path, other):
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"x")


CORRUPT = [flip, truncate, zero_length, zeroed, append, swap]
MISSING = [delete, delete_shard, folder_in_place, full_folder_in_place, link_in_place, fifo_in_place]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "payloads"


def damaged(folder, damage, data):
    content = ContentStore(FileStore(folder))
    digest = content.put(data).digest
    other = content.put(data[::-1]).digest
    damage(folder / address(digest), folder / address(other))
    return digest


@pytest.mark.timeout(30)
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("damage", [*CORRUPT, *MISSING, file_in_place_of_the_shard])
class TestDamage:
    def test_is_never_returned(self, folder, damage, data):
        digest = damaged(folder, damage, data)
        content = ContentStore(FileStore(folder))
        with pytest.raises(PayloadCorrupt if damage in CORRUPT else PayloadMissing, match=digest):
            content.get(digest)
        with pytest.raises(PayloadMissing):  # what was corrupt went to quarantine
            content.get(digest)
        assert content.has_many([digest]) == set()

    def test_is_never_streamed_to_the_end(self, folder, damage, data):
        digest = damaged(folder, damage, data)
        content = ContentStore(FileStore(folder))
        with pytest.raises((PayloadCorrupt, PayloadMissing), match=digest):
            content.open(digest).read()
        with pytest.raises(PayloadMissing):
            content.open(digest)

    def test_is_found_by_verify_which_changes_nothing(self, folder, damage, data):
        digest = damaged(folder, damage, data)
        content = ContentStore(FileStore(folder))
        for _ in range(2):
            (problem,) = content.verify([digest])
            assert isinstance(problem, PayloadCorrupt if damage in CORRUPT else PayloadMissing)
            assert problem.args[0] == digest
        found = {problem.args[0] for problem in content.verify()}
        assert (digest in found) == (damage in CORRUPT)

    def test_is_healed_by_the_next_put(self, folder, damage, data):
        digest = damaged(folder, damage, data)
        content = ContentStore(FileStore(folder))
        assert content.put(data).digest == digest
        assert content.get(digest) == content.open(digest).read() == data
        assert content.has_many([digest]) == {digest}
        assert list(content.verify([digest])) == []

    def test_is_healed_by_a_streamed_put(self, folder, damage, data):
        digest = damaged(folder, damage, data)
        content = ContentStore(FileStore(folder))
        assert content.put(iter([data])).digest == digest
        assert content.get(digest) == data

    def test_is_healed_after_it_was_met(self, folder, damage, data):
        digest = damaged(folder, damage, data)
        content = ContentStore(FileStore(folder))
        with pytest.raises((PayloadCorrupt, PayloadMissing)):
            content.get(digest)
        content.put(data)
        assert content.get(digest) == data


def test_what_was_damaged_is_kept_for_people_to_look_at(content, below):
    digest = content.put(SMALL).digest
    for found in (b"first", b"second"):
        below.put(address(digest), found)
        with pytest.raises(PayloadCorrupt, match="bytes with another digest"):
            content.get(digest)
        content.put(SMALL)
    below.put(address(digest), b"third")
    content.put(SMALL)
    kept = [below.get(f"quarantine/{digest}.{n}") for n in range(3)]
    assert kept == [b"first", b"second", b"third"]
    assert list(content.digests()) == [digest]


def test_a_large_payload_damaged_after_it_was_checked_is_met_on_reading(content, below):
    digest = content.put(LARGE).digest
    below.put(address(digest), LARGE[::-1])
    with pytest.raises(PayloadCorrupt):
        content.get(digest)
    content.put(LARGE)
    assert content.get(digest) == LARGE


def test_the_last_piece_of_a_damaged_stream_is_never_handed_out(content, below):
    digest = content.put(LARGE).digest
    below.put(address(digest), LARGE[:-1] + b"!")
    stream = content.open(digest)
    got = bytearray()
    with pytest.raises(PayloadCorrupt):
        while piece := stream.read(1000):
            got += piece
    assert b"!" not in got[-1:]
    assert len(got) < len(LARGE)
    with pytest.raises(PayloadCorrupt):
        stream.read(1)
    stream.close()


def test_a_bad_read_is_told_from_bad_bytes(scripted):
    content = ContentStore(scripted)
    digest = content.put(SMALL).digest
    for once in (SMALL[::-1], b"", unavailable(errno.EIO)):
        scripted.faults["get"] = [once]
        assert content.get(digest) == SMALL
    assert "move" not in scripted.calls


def test_a_medium_that_fails_for_good_is_damage(scripted):
    content = ContentStore(scripted)
    digest = content.put(SMALL).digest
    scripted.faults["get"] = [unavailable(errno.EIO), unavailable(errno.EIO)]
    scripted.faults["open"] = [unavailable(errno.EIO)]
    with pytest.raises(PayloadCorrupt, match="Input/output error"):
        content.get(digest)
    assert content.has_many([digest]) == set()
    scripted.put(address(digest), SMALL)
    scripted.faults["open"] = [unavailable(errno.EIO), unavailable(errno.EIO)]
    assert content.put(SMALL).digest == digest
    assert content.get(digest) == SMALL


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.ETIMEDOUT, errno.ECONNREFUSED, errno.EMFILE, errno.ESTALE]
)
def test_a_store_that_cannot_tell_is_no_miss(scripted, code):
    content = ContentStore(scripted)
    digest = content.put(SMALL).digest
    scripted.faults["get"] = [unavailable(code)]
    with pytest.raises(StoreUnavailable):
        content.get(digest)
    scripted.faults["open"] = [unavailable(code)]
    with pytest.raises(StoreUnavailable):
        content.open(digest)
    assert content.get(digest) == SMALL
    assert "move" not in scripted.calls


def test_a_full_store_stores_nothing(scripted):
    content = ContentStore(scripted)
    content.put(b"other")
    scripted.faults["put"] = [unavailable(errno.ENOSPC)]
    with pytest.raises(StoreUnavailable, match="No space"):
        content.put(SMALL)
    assert len(list(content.digests())) == 1
    content.put(SMALL)


def test_damage_in_a_store_that_refuses_to_move_is_told_all_the_same(scripted):
    content = ContentStore(scripted)
    digest = content.put(SMALL).digest
    for refusal in (StoreReadOnly("somewhere", "read-only"), unavailable(errno.ETIMEDOUT)):
        scripted.faults["get"] = [b"bad", b"bad"]
        scripted.faults["move"] = [refusal]
        with pytest.raises(PayloadCorrupt):
            content.get(digest)
    assert content.get(digest) == SMALL


def test_what_cannot_be_moved_is_overwritten_by_a_put(scripted):
    content = ContentStore(scripted)
    digest = content.put(SMALL).digest
    scripted.put(address(digest), b"bad")
    scripted.faults["move"] = [unavailable(errno.ENOSPC)]
    content.put(SMALL)
    assert content.get(digest) == SMALL


def test_a_large_payload_that_was_found_damaged_does_not_count_as_checked(scripted):
    content = ContentStore(scripted)
    digest = content.put(LARGE).digest
    for look in (content.get, lambda _: list(content.verify())):
        scripted.put(address(digest), LARGE[::-1])
        scripted.faults["move"] = [unavailable(errno.ETIMEDOUT)]
        with suppress(PayloadCorrupt):
            look(digest)
        scripted.faults["move"] = []
        content.put(LARGE)
        assert content.get(digest) == LARGE


def test_what_somebody_healed_meanwhile_is_not_taken_away(scripted):
    content = ContentStore(scripted)
    digest = content.put(SMALL).digest
    scripted.faults["get"] = [b"bad", b"bad"]  # as it was before the other one's put
    with pytest.raises(PayloadCorrupt):
        content.get(digest)
    assert content.get(digest) == SMALL
    assert scripted.list("quarantine/").keys == []


def test_verify_goes_on_after_errors(content, below):
    digests = sorted(content.put(b"%d" % n).digest for n in range(6))
    below.put(address(digests[1]), b"bad")
    below.put(address(digests[4]), b"")
    assert [problem.args[0] for problem in content.verify()] == [digests[1], digests[4]]
    below.delete(address(digests[2]))
    problems = list(content.verify([*digests, ABSENT, "nonsense"]))
    assert [problem.args[0] for problem in problems] == [
        digests[1],
        digests[2],
        digests[4],
        ABSENT,
        "nonsense",
    ]
    assert [type(problem) for problem in problems] == [
        PayloadCorrupt,
        PayloadMissing,
        PayloadCorrupt,
        PayloadMissing,
        BadKey,
    ]


def test_verify_tells_what_it_could_not_look_at(scripted):
    content = ContentStore(scripted)
    digests = sorted(content.put(b"%d" % n).digest for n in range(4))
    scripted.faults["open"] = [unavailable(errno.EIO), unavailable(errno.EACCES), b"bad"]
    problems = list(content.verify())
    assert [type(problem) for problem in problems] == [PayloadCorrupt, StoreUnavailable, PayloadCorrupt]
    assert problems[0].args[0] == digests[0]


# --- the marker ---------------------------------------------------------------------------------------


def test_the_marker_names_format_and_algorithm(content, below):
    assert content.has_many([ABSENT]) == set()
    assert below.list().keys == []
    content.put(b"")
    assert json.loads(below.get("valuestore.json")) == {"format": 1, "digest": "xxh3-128"}


def test_another_algorithm_is_refused_before_anything_is_done(content, below):
    digest = content.put(SMALL).digest
    before = below.list().keys
    other = ContentStore(below, algorithm="blake3-256")
    uses = [
        lambda: other.put(b"x"),
        lambda: other.get(digest),
        lambda: other.open(digest),
        lambda: other.delete(digest),
        lambda: other.has_many([digest]),
        lambda: list(other.digests()),
        lambda: list(other.verify()),
    ]
    for use in uses:
        with pytest.raises(ConfigError, match=r"'xxh3-128'.*'blake3-256'"):
            use()
    assert below.list().keys == before


def test_an_unknown_algorithm_is_refused_at_once(below):
    with pytest.raises(ConfigError, match="md5"):
        ContentStore(below, algorithm="md5")


def test_a_newer_format_is_refused(content, below):
    below.put("valuestore.json", b'{"format": 2, "digest": "xxh3-128"}')
    with pytest.raises(ConfigError, match="upgrade"):
        content.get(ABSENT)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"5", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000, b"\0" * 50]
)
def test_a_damaged_marker_stops_nobody_and_is_healed(below, damage):
    digest = ContentStore(below).put(SMALL).digest
    below.put("valuestore.json", damage)
    assert ContentStore(below).get(digest) == SMALL
    ContentStore(below).put(b"more")
    assert json.loads(below.get("valuestore.json")) == {"format": 1, "digest": "xxh3-128"}


def test_of_two_first_users_with_different_algorithms_one_is_refused(scripted):
    first, second = ContentStore(scripted), ContentStore(scripted, algorithm="blake3-256")
    assert first.has_many([ABSENT]) == second.has_many([ABSENT]) == set()
    first.put(SMALL)
    with pytest.raises(ConfigError):
        second.put(SMALL)


# --- life ---------------------------------------------------------------------------------------------


def test_a_pickle_opens_the_same_payloads(below):
    content = ContentStore(below, algorithm="blake3-256")
    digest = content.put(SMALL).digest
    again = pickle.loads(pickle.dumps(content))
    assert again.get(digest) == SMALL
    assert (again.algorithm, again.url) == ("blake3-256", content.url)
    assert content.url in repr(again)


def test_closing_closes_the_store_below(below):
    with ContentStore(below) as content:
        digest = content.put(SMALL).digest
        content.flush()
    content.close()
    for use in (content.get, content.open, content.delete):
        with pytest.raises(StoreClosed):
            use(digest)
    with pytest.raises(StoreClosed):
        content.put(SMALL)


def test_threads_that_put_the_same_bytes_all_succeed(content):
    payloads = [b"%d" % (n % 5) * 1000 for n in range(50)]
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(content.put, payloads))
        assert list(pool.map(lambda ref: content.get(ref.digest), refs)) == payloads
    assert len(list(content.digests())) == 5


class ContentMachine(RuleBasedStateMachine):
    """Puts, damage and reads in any order: no wrong bytes, and what was put last and not damaged is there."""

    def __init__(self) -> None:
        super().__init__()
        self.below = MemoryStore()
        self.content = ContentStore(self.below)
        self.whole: set[bytes] = set()

    payloads = st.sampled_from([0, 1, 1000, 2**20 + 1]).map(lambda size: b"x" * size)

    @rule(data=payloads, wrap=st.sampled_from([bytes, io.BytesIO, lambda data: iter([data])]))
    def put(self, data, wrap):
        assert self.content.put(wrap(data)).digest == xxhash.xxh3_128_hexdigest(data)
        assert self.content.get(xxhash.xxh3_128_hexdigest(data)) == data
        self.whole.add(data)

    @rule(data=payloads, stream=st.booleans())
    def get(self, data, stream):
        digest = xxhash.xxh3_128_hexdigest(data)
        try:
            assert (self.content.open(digest).read() if stream else self.content.get(digest)) == data
        except (PayloadMissing, PayloadCorrupt):
            assert data not in self.whole

    @rule(data=payloads, damage=st.sampled_from([0, 1000, 2**20 + 1]).map(lambda size: b"y" * size))
    def damage(self, data, damage):
        key = address(xxhash.xxh3_128_hexdigest(data))
        if damage != data and self.below.exists(key):
            self.below.put(key, damage)
            self.whole.discard(data)
            self.content = ContentStore(self.below)  # which checked nothing yet

    @rule(data=payloads)
    def delete(self, data):
        digest = xxhash.xxh3_128_hexdigest(data)
        there = bool(self.content.has_many([digest]))
        try:
            self.content.delete(digest)
        except PayloadMissing:
            assert not there
        assert data not in self.whole or there
        self.whole.discard(data)

    @rule()
    def verify(self):
        wrong = {problem.args[0] for problem in self.content.verify()}
        assert not wrong & {xxhash.xxh3_128_hexdigest(data) for data in self.whole}


TestContentMachine = ContentMachine.TestCase
TestContentMachine.settings = settings(stateful_step_count=20, deadline=None)

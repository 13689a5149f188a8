"""Repository: where it lives, what it keeps, how it refuses."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.statements import StatementCounter
from tests.stores.faulty import SLOW_DOWN, FaultyProxy
from valuestore import Dir, File, Repository, Scheduler, task
from valuestore.errors import (
    AmbiguousId,
    BadKey,
    ConfigError,
    DatabaseDamaged,
    NotARepository,
    NotFound,
    PayloadCorrupt,
    PayloadMissing,
    StoreClosed,
    TooLarge,
    ValuestoreWarning,
)
from valuestore.repository import find_folder
from valuestore.stores import MemoryStore, open_store
from valuestore.stores.wrappers import Compressed


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.delenv("VALUESTORE_REPOSITORY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_values_come_back_in_a_fresh_repository(tmp_path):
    values = [None, 1, "text", b"x" * 50_000, {"a": {1, 2}}, list(range(10_000))]
    with Repository.open(tmp_path) as repository:
        refs = [repository.put(value) for value in values]
    with Repository.open(tmp_path) as repository:
        assert [repository.get(ref.value_hash) for ref in refs] == values
        assert [ref.inline is None for ref in refs] == [False, False, False, True, False, True]


def test_inline_limit_decides_where_bytes_live(tmp_path):
    with Repository.open(tmp_path, inline_max_bytes=10) as repository:
        assert repository.put("x" * 10).inline is not None
        assert repository.put("x" * 11).inline is None
        stats = repository.stats()
        assert (stats.inline_bytes, stats.stored_bytes) == (10, 11)
        assert stats.rows["value"] == 2


def test_folder_is_found_here_or_above(here, monkeypatch):
    assert find_folder() == here / ".valuestore"
    Repository.open().close()
    (here / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(here / "deep" / "er")
    assert find_folder() == here / ".valuestore"
    monkeypatch.setenv("VALUESTORE_REPOSITORY", str(here / "elsewhere"))
    assert find_folder() == here / "elsewhere" / ".valuestore"
    assert find_folder(here / "given") == here / "given" / ".valuestore"
    assert find_folder(here / ".valuestore") == here / ".valuestore"


def test_digest_is_chosen_once(tmp_path):
    with Repository.open(tmp_path, digest="blake3-256") as repository:
        ref = repository.put("x" * 100_000)
        assert len(ref.value_hash) == len(ref.payload_digest) == 64
    with Repository.open(tmp_path) as repository:
        assert repository.algorithm == "blake3-256"
        assert repository.get(ref.value_hash) == "x" * 100_000


def test_another_digest_for_a_repository_that_exists_is_refused(tmp_path):
    Repository.open(tmp_path, digest="blake3-256").close()
    with pytest.raises(ConfigError, match="keeps its blake3-256"):
        Repository.open(tmp_path, digest="xxh3-128")
    payloads = tmp_path / ".valuestore" / "payloads"
    with Repository.open(tmp_path, digest="blake3-256") as repository:
        repository.put(b"x" * 100_000)
    other = Repository.open(tmp_path / "other", payloads=str(payloads))
    with other, pytest.raises(ConfigError, match="was made with 'blake3-256'"):
        other.put(b"y" * 100_000)


class Odd:
    """Has no rule of its own and cannot be stored by its attributes alone."""

    def __init__(self, parts):
        self.parts = parts

    def __reduce__(self):
        return Odd, (self.parts,)


@pytest.mark.parametrize("digest", ["xxh3-128", "blake3-256"])
def test_every_kind_of_value_works_with_every_digest(tmp_path, monkeypatch, digest):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("a")
    array = np.arange(50_000.0)
    values = [1, "text", {"set": {1, 2}}, array, {"array": array}, Odd([1]), File("folder/a"), Dir("folder")]
    with Repository.open(tmp_path, digest=digest) as repository:
        hashes = [repository.put(value).value_hash for value in values]
    with Repository.open(tmp_path) as repository:
        back = [repository.get(value_hash) for value_hash in hashes]
        assert [repository.put(value).value_hash for value in back] == hashes
        assert {len(value_hash) for value_hash in hashes} == {32 if digest == "xxh3-128" else 64}
        assert back[6].is_valid()
        assert back[7].is_valid()
        assert back[5].parts == [1]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"digest": "md5"}, "md5"),
        ({"durability": "eternal"}, "durability"),
        ({"inline_max_bytes": "many"}, "inline_max_bytes"),
        ({"inline_max_bytes": -1}, "inline_max_bytes"),
        ({"colour": "red"}, "colour"),
        ({"database": "not a url"}, "database"),
    ],
)
def test_bad_setting_is_named(tmp_path, settings, named):
    with pytest.raises(ConfigError, match=named):
        Repository.open(tmp_path, **settings)


def test_settings_come_from_file_environment_and_arguments_in_that_order(tmp_path, monkeypatch):
    folder = tmp_path / ".valuestore"
    folder.mkdir()
    (folder / "valuestore.toml").write_text(
        "inline_max_bytes = 1\nbusy_timeout_seconds = 2\ndurability = 'full'\n"
    )
    monkeypatch.setenv("VALUESTORE_BUSY_TIMEOUT_SECONDS", "3")
    monkeypatch.setenv("VALUESTORE_DURABILITY", "fast")
    with Repository.open(tmp_path, durability="full") as repository:
        settings = repository.settings
    assert (settings.inline_max_bytes, settings.busy_timeout_seconds, settings.durability) == (1, 3.0, "full")


def test_file_of_settings_that_is_no_toml_is_named(tmp_path):
    folder = tmp_path / ".valuestore"
    folder.mkdir()
    (folder / "valuestore.toml").write_text("= nonsense")
    with pytest.raises(ConfigError, match="valuestore.toml"):
        Repository.open(tmp_path)


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / ".valuestore").write_text("mine")
    with pytest.raises(NotARepository):
        Repository.open(tmp_path)
    assert (tmp_path / ".valuestore").read_text() == "mine"


@pytest.mark.parametrize("value_hash", ["", "zz", "../../etc/passwd", "A" * 32, "0" * 65])
def test_what_is_no_digest_is_refused(tmp_path, value_hash):
    with Repository.open(tmp_path) as repository, pytest.raises(BadKey):
        repository.get(value_hash)


def test_flipped_bit_in_an_inline_value_is_never_returned(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put("precious")
    with sqlite3.connect(tmp_path / ".valuestore" / "valuestore.db") as other:
        other.execute("UPDATE value SET inline = ?", (b"precioux",))
    other.close()
    with (
        Repository.open(tmp_path) as repository,
        pytest.raises(PayloadCorrupt, match="run the pipeline again"),
    ):
        repository.get(ref.value_hash)


def test_lost_payload_is_missing_until_it_is_put_again(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put(b"x" * 50_000)
        repository.payloads.delete(ref.payload_digest)
        with pytest.raises(PayloadMissing):
            repository.get(ref.value_hash)
        repository.put(b"x" * 50_000)
        assert repository.get(ref.value_hash) == b"x" * 50_000


def test_read_only_folder_is_a_typed_error_that_names_it():
    with tempfile.TemporaryDirectory(prefix="locked") as folder:
        os.chmod(folder, 0o555)
        check_read_only(folder)


def check_read_only(folder):
    code = textwrap.dedent(
        """
        import os, sys
        from valuestore.errors import StoreReadOnly
        from valuestore.repository import Repository
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            Repository.open(sys.argv[1])
        except StoreReadOnly as error:
            print(error)
        """
    )
    command = [sys.executable, "-B", "-c", code, folder]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=os.getcwd())
    assert "locked" in printed.stdout, printed.stderr
    assert "make it writable" in printed.stdout


def test_closing_twice_is_fine(tmp_path):
    repository = Repository.open(tmp_path)
    repository.close()
    repository.close()


# --- where payloads are

BIG = b"x" * 50_000


def with_file(tmp_path, text):
    folder = tmp_path / ".valuestore"
    folder.mkdir(exist_ok=True)
    (folder / "valuestore.toml").write_text(text)
    return folder


def test_a_store_takes_payloads_and_is_closed_with_the_repository(tmp_path):
    place = MemoryStore()
    store = Compressed(place)
    with Repository.open(tmp_path, payloads=store) as repository:
        ref = repository.put(BIG)
        assert repository.get(ref.value_hash) == BIG
        [key] = [key for key in place.list().keys if key.endswith(ref.payload_digest)]
        assert place.size(key) < 500
    with pytest.raises(StoreClosed):
        store.get(key)
    assert not (tmp_path / ".valuestore" / "payloads").exists()


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_a_path_takes_payloads(tmp_path, as_path):
    with Repository.open(tmp_path, payloads=as_path(tmp_path / "bytes")) as repository:
        ref = repository.put(BIG)
    assert [path.name for path in (tmp_path / "bytes").rglob(ref.payload_digest)]


def test_a_table_takes_payloads(tmp_path):
    table = {"type": "file", "path": str(tmp_path / "bytes"), "compress": True}
    with Repository.open(tmp_path, payloads=table) as repository:
        ref = repository.put(BIG)
        assert repository.get(ref.value_hash) == BIG
    [path] = (tmp_path / "bytes").rglob(ref.payload_digest)
    assert path.stat().st_size < 500


def test_paths_in_the_table_of_the_file_are_relative_to_it(tmp_path, monkeypatch):
    text = "[payloads]\ntype = 'file'\npath = '../bytes'\ncache = {path = 'cache', max_bytes = 1_000_000}\n"
    folder = with_file(tmp_path, text)
    monkeypatch.chdir("/")
    with Repository.open(tmp_path) as repository:
        ref = repository.put(BIG)
    assert [*(tmp_path / "bytes").rglob(ref.payload_digest)]
    assert [*(folder / "cache").rglob(ref.payload_digest)]


def test_paths_in_a_table_given_as_argument_are_relative_to_where_we_are(here):
    with_file(here, "[payloads]\ntype = 'file'\npath = 'bytes'\n")
    with Repository.open(here, payloads={"type": "file", "path": "mine"}) as repository:
        ref = repository.put(BIG)
    assert [*(here / "mine").rglob(ref.payload_digest)]


def test_a_cache_of_payloads_is_not_compared_with_the_store_at_each_copy(tmp_path):
    asked = []
    table = {"type": "memory", "cache": {"max_bytes": 1_000_000}}
    with Repository.open(tmp_path, payloads=table, observers=[asked.append]) as repository:
        ref = repository.put(BIG)
        asked.clear()
        assert repository.get(ref.value_hash) == BIG
    assert {event.operation for event in asked} <= {"cache_hit", "get", "flush"}


@pytest.mark.parametrize(
    ("payloads", "said"),
    [
        (5, "int is not a URL, a path, a table or a Store"),
        (True, "bool is not a URL"),
        ([1], "list is not a URL"),
        ({"type": "s3"}, "'payloads.container': a store of type 's3' needs it"),
        ({"type": "file", "path": "x", "retrys": 5}, "did you mean 'retry'"),
    ],
)
def test_bad_payloads_are_told_before_anything_is_made(tmp_path, payloads, said):
    with pytest.raises(ConfigError) as caught:
        Repository.open(tmp_path / "new", payloads=payloads)
    assert said in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_store_that_cannot_be_opened_leaves_nothing_open(tmp_path):
    for _ in range(2):
        with pytest.raises(ConfigError, match="secret_key_path"):
            Repository.open(
                tmp_path, payloads={"type": "s3", "container": "b", "secret_key_path": "/nowhere"}
            )
    Repository.open(tmp_path).close()


def test_the_secrets_of_a_table_are_not_shown_and_do_not_travel(tmp_path):
    table = {
        "type": "s3",
        "container": "b",
        "access_key_id": "id",
        "secret_key": "canary",
        "endpoint_url": "http://127.0.0.1:1",
        "retry": True,
        "cache": {"max_bytes": 1000},
    }
    with Repository.open(tmp_path, payloads=table) as repository:
        shown = f"{repository!r} {repository.settings!r} {repository.payloads!r} {repository.payloads.url}"
        assert "canary" not in shown
        assert b"canary" not in pickle.dumps(repository.payloads)


def test_observers_of_the_repository_hear_its_payloads(tmp_path):
    events = []
    for payloads in (MemoryStore(), "memory://heard", {"type": "memory"}, None):
        events.clear()
        where = tmp_path / str(len(list(tmp_path.iterdir())))
        with Repository.open(where, payloads=payloads, observers=[events.append]) as repository:
            repository.put(BIG)
        assert ("put", "end", len(BIG)) in [(each.operation, each.phase, each.bytes_done) for each in events]


def test_what_an_observer_raises_breaks_nothing(tmp_path, caplog):
    def broken(event):
        raise RuntimeError("observer")

    with Repository.open(tmp_path, observers=[broken]) as repository:
        assert repository.get(repository.put(BIG).value_hash) == BIG
    assert "observer" in caplog.text


def test_without_observers_the_payload_store_is_itself(tmp_path):
    store = open_store(tmp_path / "bytes")
    with Repository.open(tmp_path, payloads=store) as repository:
        assert repository.observers == ()
        assert repository.payloads._store is store


def settings_of_the_documentation(**changes):
    """The first file of settings in docs/stores.md, with other values for some words."""
    page = (Path(__file__).parents[1] / "docs" / "stores.md").read_text("utf-8")
    text = re.search(r"```toml\n(.*?)```", page, re.S)[1]
    for word, value in changes.items():
        text, count = re.subn(rf'\b{word} = ("[^"]*"|[\d_]+)', f"{word} = {value}", text)
        assert count == 1, word
    return text


def test_the_settings_of_the_documentation_put_each_layer_in_its_place(
    tmp_path, s3_server, s3_bucket, monkeypatch, caplog
):
    caplog.set_level("DEBUG", "valuestore.stores")
    monkeypatch.chdir("/")
    with FaultyProxy(s3_server.url) as proxy:
        text = settings_of_the_documentation(
            container=f'"{s3_bucket}"',
            endpoint_url=f'"{proxy.url}"',
            path='"copies"',
            max_put_bytes="100_000",
        )
        folder = with_file(tmp_path, text)
        (folder / "s3-secret").write_text("secret\n")
        with Repository.open(tmp_path) as repository:
            ref = repository.put(BIG)
            with pytest.raises(TooLarge, match="max_put_bytes"):
                repository.put(b"y" * 100_001)
        shutil.rmtree(folder / "copies")
        with Repository.open(tmp_path) as repository:
            proxy.requests.clear()
            # of its own, the client of S3 tries twice
            proxy.fail(SLOW_DOWN, times=3, method="GET", path=ref.payload_digest)
            assert repository.get(ref.value_hash) == BIG
            assert len([path for _, path in proxy.requests if ref.payload_digest in path]) == 4
            assert [*(folder / "copies").rglob(ref.payload_digest)]
            proxy.requests.clear()
            assert repository.get(ref.value_hash) == BIG
            assert proxy.requests == []
    key = f"payloads/{ref.payload_digest[:2]}/{ref.payload_digest}"
    assert f"put {key.removeprefix('payloads/')} in s3://" in caplog.text
    assert s3_server.client().head_object(Bucket=s3_bucket, Key=key)["ContentLength"] < 500


# --- values by name --------------------------------------------------------------------------------


def test_a_value_is_found_by_the_beginning_of_its_hash(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put({"threshold": 0.5})
        assert repository.get(ref.value_hash[:8]) == repository.get(ref) == {"threshold": 0.5}
        assert repository.find_value(ref.value_hash[:8]).value_hash == ref.value_hash


def test_a_whole_hash_costs_one_statement(tmp_path):
    with Repository.open(tmp_path) as repository:
        value_hash = repository.put("text").value_hash
        repository.flush()
        with StatementCounter(repository.database) as counter:
            assert repository.get(value_hash) == "text"
        assert len(counter.statements) == 1


def test_a_beginning_of_two_hashes_lists_them(tmp_path):
    with Repository.open(tmp_path) as repository:
        hashes = [repository.put(number).value_hash for number in range(40)]
        digit = next(digit for digit in "0123456789abcdef" if sum(h[0] == digit for h in hashes) > 1)
        with pytest.raises(AmbiguousId) as caught:
            repository.get(digit)
        matches = {f"value {value_hash}" for value_hash in hashes if value_hash[0] == digit}
        assert set(caught.value.args[1]) == matches


def test_a_beginning_of_no_hash_is_not_found(tmp_path):
    with Repository.open(tmp_path) as repository:
        repository.put(1)
        for name in ("0123456789", "0" * 32, "0" * 64):
            with pytest.raises(NotFound):
                repository.get(name)


@pytest.mark.parametrize("name", ["-", " ab", None, 5, b"ab", Path("ab")])
def test_what_begins_no_hash_is_a_bad_key(tmp_path, name):
    with Repository.open(tmp_path) as repository, pytest.raises(BadKey):
        repository.get(name)


def test_a_closed_repository_gives_and_takes_nothing(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put(BIG)
    for use in (repository.get, repository.find_value):
        with pytest.raises(StoreClosed, match="is closed"):
            use(ref.value_hash)
    for use in (lambda: repository.put(1), repository.stats):
        with pytest.raises(StoreClosed):
            use()


@task
def double(n: int) -> int:
    return 2 * n


def test_what_an_execution_gave_comes_back_if_it_was_one_call(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        repository = scheduler.repository
        newest = repository.history.executions().first
        for call, result in ((double(4), 8), (double(double(4)), 16), (double(double(4)), 16)):
            assert scheduler.run(call) == result == repository.get(newest())


@pytest.mark.parametrize("made", [lambda: double(3) + 1, lambda: [double(3)], lambda: {"a": double(3)}])
def test_what_an_execution_gave_is_not_guessed(tmp_path, made):
    with Scheduler(tmp_path) as scheduler:
        scheduler.run(made())
        with pytest.raises(NotFound):
            scheduler.repository.get(scheduler.execution.execution_id)


def test_a_database_that_says_something_odd_of_itself_is_begun_anew_and_kept(tmp_path):
    with Repository.open(tmp_path) as repository:
        value_hash = repository.put("x" * 20_000).value_hash
        path = repository.database.path
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE repository SET value = 'xxh3-1r8' WHERE name = 'digest'")
    with pytest.warns(ValuestoreWarning, match=r"begun anew.*recover"):
        repository = Repository.open(tmp_path)
    with repository:
        assert repository.put("x" * 20_000).value_hash == value_hash
        assert repository.get(value_hash) == "x" * 20_000
    [kept] = repository.folder.glob("*.damaged-*[!l]")
    with closing(sqlite3.connect(kept)) as raw:
        assert raw.execute("SELECT value_hash FROM value").fetchall() == [(value_hash,)]


@pytest.mark.parametrize("left", [b"\xaa", b"\0", b"no database at all"])
def test_a_database_of_which_too_much_is_gone_stays_as_it_is(tmp_path, left):
    with Repository.open(tmp_path) as repository:
        path = Path(repository.database.path)
    whole = path.read_bytes()
    kept = whole[:4096] if left == b"\xaa" else b""
    path.write_bytes(kept + left * ((len(whole) - len(kept)) // len(left)))
    before = path.read_bytes()
    for _ in range(3):
        with pytest.raises((DatabaseDamaged, NotARepository)):
            Repository.open(tmp_path)
    assert path.read_bytes() == before


def test_a_database_without_its_first_page_is_begun_anew(tmp_path):
    with Repository.open(tmp_path) as repository:
        refs = repository.put_many(range(1000))
        path = Path(repository.database.path)
    whole = path.read_bytes()
    path.write_bytes(whole[4096:8192] + whole[:4096] + whole[8192:])
    with pytest.warns(ValuestoreWarning, match="begun anew"):
        repository = Repository.open(tmp_path)
    with repository:
        assert repository.put(5).value_hash == refs[5].value_hash


def test_what_is_closed_answers_no_question(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put([1])
        history, tags = repository.history, repository.tags
    for question in (
        repository.flush,
        repository.stats,
        lambda: repository.get(ref.value_hash),
        lambda: repository.put(2),
        lambda: history.executions().all(),
        lambda: list(repository.history.jobs()),
        lambda: tags.add(ref.value_hash, {"key": 1}),
    ):
        with pytest.raises(StoreClosed):
            question()

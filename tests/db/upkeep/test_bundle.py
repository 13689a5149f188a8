"""Bundles: what is written is read, as a backup too; and of what somebody else wrote nothing is believed."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from backports import zstd

from tests.db.upkeep import made_repository as made
from valuestore import Repository, Scheduler
from valuestore.cli.main import invoke
from valuestore.db.upkeep import bundle as bundles
from valuestore.errors import (
    AlreadyExists,
    BundleRefused,
    ConfigError,
    StoreReadOnly,
    StoreUnavailable,
    UntrustedPayload,
    ValuestoreWarning,
)
from valuestore.hashing import hash_bytes

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "all.vsb"
    source.export(path)
    return path


@pytest.fixture
def target(tmp_path):
    with Repository.open(tmp_path / "target") as repository:
        yield repository


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Which stays so, whatever is brought."""
    with Repository.open(tmp_path_factory.mktemp("empty")) as repository:
        yield repository


def unpacked(bundle):
    return zstd.decompress(bundle.read_bytes())


def without_end(data):
    return data[: data.rindex(b'{"end"')]


def ended(data):
    """The data with an end that fits, compressed."""
    count = sum(line.startswith((b"[", b"{")) for line in data.split(b"\n"))
    end = {"end": count, "digest": hash_bytes(data)}
    return zstd.compress(data + json.dumps(end).encode() + b"\n")


HEAD = {
    "valuestore": "bundle",
    "format": 1,
    "digest": "xxh3-128",
    "repository": "0" * 32,
    "made": 1,
    "by": "x",
}


def of(*records, **head):
    """A bundle of these records, as somebody might make it who means no good."""
    lines = [json.dumps(HEAD | head), *map(json.dumps, records)]
    return ended("".join(f"{line}\n" for line in lines).encode())


def refused(target, path, data):
    path.write_bytes(data)
    with pytest.raises(BundleRefused) as caught:
        target.import_(path)
    assert not any(made.everything(target).values())
    assert not set(target.payloads.digests())
    return str(caught.value)


def test_what_is_exported_is_imported_and_reruns(source, bundle, target, tmp_path):
    sent = target.import_(bundle)
    assert sent.lost == 0
    assert made.everything(target) == made.everything(source)
    assert target.import_(bundle).records == 0
    with Scheduler(target) as scheduler:
        for call in made.calls(tmp_path):
            scheduler.run(call)
            assert scheduler.execution.counts.done == 0
    assert os.stat(bundle).st_mode & 0o777 == 0o600


def test_selection_is_exported_with_what_it_needs(source, tmp_path, target):
    source.export(tmp_path / "one.vsb", "tests.db.upkeep.made_repository.bigs")
    target.import_(tmp_path / "one.vsb")
    with Scheduler(target) as scheduler:
        scheduler.run(made.bigs(3))
        assert scheduler.execution.counts.done == 0


def test_gzip_does_as_well(source, target, tmp_path, monkeypatch):
    def missing():
        raise ImportError("backports.zstd")

    monkeypatch.setattr(bundles, "_zstd", missing)
    source.export(tmp_path / "all.vsb")
    assert (tmp_path / "all.vsb").read_bytes()[:2] == b"\x1f\x8b"
    target.import_(tmp_path / "all.vsb")
    assert made.everything(target) == made.everything(source)


def test_zstd_without_its_package_says_what_to_install(bundle, target, monkeypatch):
    def missing():
        raise ImportError("backports.zstd")

    monkeypatch.setattr(bundles, "_zstd", missing)
    with pytest.raises(ConfigError, match=r"valuestore\[zstd\]"):
        target.import_(bundle)


def test_file_that_is_there_is_not_replaced_unasked(source, tmp_path):
    path = tmp_path / "mine"
    path.write_text("my thesis")
    with pytest.raises(AlreadyExists):
        source.export(path)
    assert path.read_text() == "my thesis"
    source.export(path, overwrite=True)
    assert path.read_bytes()[:4] == bundles._ZSTD
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreUnavailable, match="no regular file"):
        source.export(tmp_path / "pipe", overwrite=True)
    assert (tmp_path / "pipe").is_fifo()


def test_cut_at_any_place_is_refused_and_nothing_is_imported(bundle, empty, tmp_path):
    data = bundle.read_bytes()
    for length in (0, 3, 10, len(data) // 3, len(data) // 2, len(data) - 5, len(data) - 1):
        refused(empty, tmp_path / "cut", data[:length])
    plain = unpacked(bundle)
    payload = plain.index(b'["payload"')
    for length in (
        5,
        payload - 1,
        payload + 20,
        payload + 100,
        payload + 5000,
        len(without_end(plain)),
        len(plain) - 1,
    ):
        problem = refused(empty, tmp_path / "cut", zstd.compress(plain[:length]))
        assert "ends too early" in problem or "not JSON" in problem
        refused(empty, tmp_path / "cut", gzip.compress(plain[:length]))


def test_changed_byte_is_refused_wherever_it_is(bundle, empty, tmp_path):
    data = bundle.read_bytes()
    for place in range(6, len(data), len(data) // 25):
        refused(empty, tmp_path / "changed", data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    plain = unpacked(bundle)
    for place in range(3, len(plain), len(plain) // 25):
        changed = plain[:place] + bytes([plain[place] ^ 1]) + plain[place + 1 :]
        refused(empty, tmp_path / "changed", zstd.compress(changed))


def test_lines_left_out_and_put_twice_are_noticed(bundle, empty, tmp_path):
    plain = unpacked(bundle)
    lines = plain.split(b"\n")
    for changed in ([*lines[:3], *lines[4:]], [*lines[:4], *lines[3:]], [*lines, b"more"]):
        refused(empty, tmp_path / "changed", zstd.compress(b"\n".join(changed)))


H = "a" * 32
ID = "0" * 31 + "1"
VALUE = [H, "builtins.str", "text", None, 5, "aGVsbG8=", '"hello"']
HOSTILE = {
    "path that climbs as a payload": ["payload", ["../../../etc/passwd", 5]],
    "path that climbs as a value": ["value", ["../" * 10 + "x", *VALUE[1:]]],
    "value under another hash": ["value", VALUE],
    "value with bytes of another size": ["value", [*VALUE[:4], 7, *VALUE[5:]]],
    "value without bytes": ["value", [*VALUE[:5], None, VALUE[6]]],
    "bytes that are not base64": ["value", [*VALUE[:5], "%%%", VALUE[6]]],
    "a NUL in a text": ["task", [H, "na\0me", None, "", None]],
    "half a surrogate": ["task", [H, "na\ud800me", None, "", None]],
    "kind that nobody knows": ["spell", [H]],
    "table that is ours alone": ["repository", ["id", H]],
    "too few fields": ["task", [H, "name"]],
    "too many fields": ["task", [H, "name", None, "", None, None]],
    "fields that are no list": ["task", {"task_hash": H}],
    "fields of other types": ["task", [H, 5, None, "", None]],
    "number that is too large": ["execution", [ID, "f()", "done", 1 << 70, None, None, None, None]],
    "number that is a truth": ["execution", [ID, "f()", "done", True, None, None, None, None]],
    "number with a fraction": ["execution", [ID, "f()", "done", 1.5, None, None, None, None]],
    "negative number": ["execution", [ID, "f()", "done", -1, None, None, None, None]],
    "time that no calendar has": ["execution", [ID, "f()", "done", 1 << 60, None, None, None, None]],
    "place that no signature has": ["link", [H, H, H, H, [], [[1 << 40, H]]]],
    "status that there is not": ["execution", [ID, "f()", "glorious", 1, None, None, None, None]],
    "evaluation with another checksum": ["evaluation", [H, "", H, "0" * 16]],
    "call with another hash": ["call", [H, H, H, H, None, None, 0, None, None, None, []]],
    "call that made itself": ["link", [H, H, H, H, [H], []]],
    "call that made what is no call": ["link", [H, H, H, H, [5], []]],
    "set of other members": ["set", [H, [[H, 0]]]],
    "arguments with another hash": ["args", [H, [["x", H]]]],
    "value inside itself": ["subvalue", [H, H]],
    "job that is its own parent": [
        "job",
        [ID, ID, ID, H, None, H, "done", 1, 2, None, None, None, None, None],
    ],
    "tag of another value": ["tag", [ID, "value", H, "k", "1", ID, None, 1, None, None]],
    "tag that is no JSON": ["tag", [ID, "value", H, "k", "{", ID, None, 1, None, None]],
    "tag of nothing": ["tag", [ID, "planet", H, "k", "1", ID, None, 1, None, None]],
    "signature of other bytes": ["signature", [H, "key", "", H, 5, "aGVsbG8="]],
    "file of no kind": ["file", [H, "/etc/passwd", "Device"]],
    "no record": "hello",
    "record of three": ["task", [], []],
    "nothing": None,
}


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE)
def test_hostile_record_is_refused_with_its_number(record, empty, tmp_path):
    good = ["task", [H, "name", None, "source", None]]
    assert "record 3:" in refused(empty, tmp_path / "hostile", of(good, record, good))


def test_circles_that_no_hash_excludes_end_no_question(target, tmp_path):
    other, others, run = "b" * 32, "0" * 31 + "2", "0" * 31 + "3"
    (tmp_path / "circles").write_bytes(
        of(
            ["task", [H, "some.task", None, "", None]],
            *[["subvalue", pair] for pair in ([H, other], [other, H])],
            *[["handle_edge", pair] for pair in ([H, other], [other, H])],
            ["execution", [run, "f()", "done", 1, 2, None, None, None]],
            *[
                ["job", [one, run, up, H, None, H, "done", 1, 2, *[None] * 5]]
                for one, up in ((ID, others), (others, ID))
            ],
        )
    )
    assert target.import_(tmp_path / "circles").records == 8
    target.put("something")
    for what in (H, run):
        target.push(tmp_path / "to", what)
    for command in (
        ("show", "-"),
        ("show", "-", "--times"),
        ("log", "jobs"),
        ("lineage", H),
        ("lineage", H, "--down"),
    ):
        invoke([*command, "-r", str(target.folder)])
    with Repository.open(tmp_path / "to") as to:
        assert made.everything(to)["job"] == made.everything(target)["job"]


def test_code_that_is_planted_is_left_out(source, target, tmp_path):
    source.push(target)
    before = made.everything(target)["code"]
    tasks = {row[0] for row in made.everything(target)["task"]}
    [whole, *_] = {row[0].strip("'") for row in before if row[0] not in tasks}
    (tmp_path / "planted").write_bytes(of(["code", [whole, [["planted", H, None]]]]))
    assert target.import_(tmp_path / "planted").problems == [f"code {whole} is not what its hash says"]
    assert made.everything(target)["code"] == before


def test_what_points_nowhere_is_left_out(target, tmp_path):
    job = ["job", [ID, ID, None, H, None, H, "done", 1, 2, None, None, None, None, None]]
    (tmp_path / "hostile").write_bytes(of(job))
    assert target.import_(tmp_path / "hostile").problems == [f"job {ID} points to what is not there"]
    assert not any(made.everything(target).values())


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '["task",' + "9" * 10_000 + "]", '["task",[NaN]]', '["a":1]', "\xff"]
)
def test_json_that_is_meant_to_harm_is_refused(text, empty, tmp_path):
    data = json.dumps(HEAD).encode() + b"\n" + text.encode("latin-1") + b"\n"
    refused(empty, tmp_path / "hostile", ended(data))


def test_payload_with_other_bytes_is_refused(empty, tmp_path):
    head = json.dumps(HEAD) + "\n" + json.dumps(["payload", [H, 5]]) + "\n"
    for pieces in ("5\nhello0\n", "6\nhello!0\n", "4\nhell0\n", "-7\n", "x\n", "99999999999\nh", "5\nhell"):
        refused(empty, tmp_path / "hostile", ended((head + pieces).encode()))


def test_bomb_is_refused_in_flat_memory(target, tmp_path):
    head = json.dumps(HEAD).encode() + b"\n"
    path = tmp_path / "bomb"
    with zstd.open(path, "wb") as file:
        file.write(head + b'["task",["')
        for _ in range(80):
            file.write(bytes(1 << 20))
    with pytest.raises(BundleRefused, match="too long"):
        target.import_(path)
    with zstd.open(path, "wb") as file:
        file.write(head + json.dumps(["payload", [H, 1 << 40]]).encode() + b"\n")
        for _ in range(8):
            file.write(b"1048576\n" + bytes(1 << 20))
    with pytest.raises(BundleRefused, match="max-bytes"):
        target.import_(path, max_bytes=5 << 20)


def test_newer_format_is_refused_by_name(empty, tmp_path):
    assert "upgrade valuestore" in refused(empty, tmp_path / "newer", of(format=2))


def test_other_digest_is_refused(target, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(of(digest="blake3-256"))
    with pytest.raises(ConfigError, match="blake3-256"):
        target.import_(path)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", gzip.compress(b"hello\n", mtime=0)]
)
def test_what_is_no_bundle_is_refused(data, empty, tmp_path):
    refused(empty, tmp_path / "none", data)


def test_file_that_is_not_there_is_one_sentence(target, tmp_path):
    with pytest.raises(StoreUnavailable, match="No such file"):
        target.import_(tmp_path / "nowhere")


def test_target_that_can_only_be_read_is_refused(bundle, target):
    target.database.is_read_only = True
    with pytest.raises(StoreReadOnly):
        target.import_(bundle)


class Exploding:
    def __reduce__(self):
        return os.mkdir, ("/tmp/exploded-by-a-bundle",)


def test_pickle_without_a_key_is_never_loaded(bundle, target, tmp_path, monkeypatch):
    plain = unpacked(bundle)
    forged = []
    for line in without_end(plain).split(b"\n"):
        if line.startswith(b'["signature"'):
            kind, row = json.loads(line)
            row[2] = "A" * 43 + "="
            line = json.dumps([kind, row]).encode()
        forged.append(line)
    path = tmp_path / "forged"
    data = b"\n".join(forged)
    end = {"end": json.loads(plain[len(without_end(plain)) :])["end"], "digest": hash_bytes(data)}
    path.write_bytes(zstd.compress(data + json.dumps(end).encode() + b"\n"))
    target.import_(path)
    signed = {row[0].strip("'") for row in made.everything(target)["signature"]}
    assert signed
    for value_hash in signed:
        with pytest.raises(UntrustedPayload):
            target.get(value_hash)
    with Scheduler(target) as scheduler:
        with pytest.warns(ValuestoreWarning, match="computed again"):
            assert scheduler.run(made.opaque(1)).number == 1
        assert scheduler.execution.counts.done == 1


def test_full_disk_leaves_no_file_and_says_so(source, tmp_path):
    code = (
        "import resource, signal, sys\nfrom valuestore import Repository\n"
        "from valuestore.errors import StoreUnavailable\n"
        "with Repository.open(sys.argv[1]) as source:\n"
        "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "    try:\n        source.export(sys.argv[2])\n"
        "    except StoreUnavailable as error:\n        print(error)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
    )
    path = tmp_path / "full" / "all.vsb"
    path.parent.mkdir()
    command = [sys.executable, "-c", code, str(source.folder), str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "File too large" in done.stdout, done.stderr
    assert list(path.parent.iterdir()) == []
    with pytest.raises(StoreUnavailable):
        source.export(tmp_path / "no folder" / "all.vsb")


def test_full_disk_of_the_target_is_resumed(bundle, source, target, monkeypatch):
    import errno

    put = target.payloads._store.put
    left = [3]

    def full(*given, **options):
        left[0] -= 1
        if left[0] < 0:
            raise StoreUnavailable("target", "full") from OSError(errno.ENOSPC, "No space left on device")
        return put(*given, **options)

    monkeypatch.setattr(target.payloads._store, "put", full)
    with pytest.raises(StoreUnavailable):
        target.import_(bundle)
    monkeypatch.undo()
    assert target.import_(bundle).records
    assert made.everything(target) == made.everything(source)


def test_payload_that_was_lost_when_it_was_exported_is_left_out(target, tmp_path):
    with Repository.open(tmp_path / "harmed") as harmed:
        refs = [harmed.put(bytes([n]) * 3_000_000) for n in range(2)]
        harmed.flush()
        [path] = Path(harmed.folder).rglob(refs[0].payload_digest)
        with path.open("r+b") as file:
            file.seek(2_500_000)
            file.write(b"damage")
        assert harmed.export(tmp_path / "harmed.vsb").lost == 1
        sent = target.import_(tmp_path / "harmed.vsb")
        assert (sent.payloads, sent.lost) == (1, 1)
        assert target.get(refs[1].value_hash) == bytes([1]) * 3_000_000


MEMORY = """
import sys
from tests.memory import peak_kibibytes
from valuestore import Repository
with Repository.open(sys.argv[1]) as one:
    if int(sys.argv[2]):
        for _ in range(int(sys.argv[2])):
            one.put_many([(_, number, "x" * 200) for number in range(1000)])
        one.put(bytes(40_000_000))
        one.flush()
    else:
        before = peak_kibibytes()
        one.push(sys.argv[1] + "-pushed")
        one.export(sys.argv[1] + ".vsb")
        with Repository.open(sys.argv[1] + "-imported") as other:
            other.import_(sys.argv[1] + ".vsb")
        print(peak_kibibytes() - before)
"""


@pytest.mark.thorough
def test_memory_is_flat(tmp_path):
    taken = []
    for thousands in (2, 20):
        folder = str(tmp_path / str(thousands))
        for argument in (thousands, 0):
            command = [sys.executable, "-c", MEMORY, folder, str(argument)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
        taken.append(int(done.stdout))
    print(taken)
    assert taken[1] < taken[0] + 10_000
    assert taken[1] < 60_000

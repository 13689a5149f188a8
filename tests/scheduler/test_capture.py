"""Capture: files that a task made come back from the payload store instead of being computed again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from valuestore import Dir, File, Repository, Scheduler, task
from valuestore.errors import TaskError

ROOT = Path(__file__).parents[2]
MEBIBYTE = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@task(version="1", capture=True)
def write(path: str, text: str) -> File:
    made = File(path)
    made.write(text)
    return made


@task(version="1", capture="overwrite")
def overwrite(path: str, text: str) -> File:
    return write.func(path, text)


@task(version="1", capture=True)
def write_many(paths: list[str]) -> dict[str, list[File]]:
    return {path: [write.func(path, path)] for path in paths}


@task(version="1")
def uncaptured(path: str, text: str) -> File:
    return write.func(path, text)


def run(call, **settings):
    """The value, and how many bodies ran for it."""
    with Repository.open("repository", **settings) as repository, Scheduler(repository) as scheduler:
        value = scheduler.run(call)
        return value, scheduler.execution.counts.done


@pytest.mark.parametrize("digest", ["xxh3-128", "blake3-256"])
@pytest.mark.parametrize("text", ["", "small", "x" * 100_000])
def test_a_deleted_file_comes_back(digest, text):
    run(write("out/a.txt", text), digest=digest)
    File("out/a.txt").remove()
    os.rmdir("out")
    made, ran = run(write("out/a.txt", text), digest=digest)
    assert (made.read(), ran) == (text, 0)
    assert os.listdir("out") == ["a.txt"]


def test_without_capture_it_is_computed_again():
    run(uncaptured("a.txt", "text"))
    File("a.txt").remove()
    assert run(uncaptured("a.txt", "text"))[1] == 1


def test_files_inside_containers_come_back():
    names = ["a", "b/c", "d"]
    run(write_many(names))
    File("a").remove()
    File("b/c").remove()
    made, ran = run(write_many(names))
    assert ran == 0
    assert [made[name][0].read() for name in names] == names


def test_a_changed_file_is_stale_and_is_not_overwritten_to_be_restored(monkeypatch):
    from valuestore.values.files import capture

    monkeypatch.setattr(capture, "_put_back", lambda *_: pytest.fail("it was restored"))
    run(write("a.txt", "text"))
    File("a.txt").write("newer")
    made, ran = run(write("a.txt", "text"))  # the task itself writes it again
    assert (made.read(), ran) == ("text", 1)


def test_a_changed_file_is_replaced_if_the_task_says_so():
    run(overwrite("a.txt", "text"))
    File("a.txt").write("damaged")
    made, ran = run(overwrite("a.txt", "text"))
    assert (made.read(), ran) == ("text", 0)


@pytest.mark.parametrize("harm", ["deleted", "damaged", "truncated"])
def test_captured_content_that_is_gone_or_damaged_is_a_miss(harm):
    run(write("a.txt", "text" * 100))
    payload = next(path for path in Path("repository").rglob("payloads/??/*") if path.is_file())
    os.chmod(payload, 0o600)
    if harm == "deleted":
        payload.unlink()
    else:
        payload.write_bytes(payload.read_bytes()[:-1] + (b"X" if harm == "damaged" else b""))
    File("a.txt").remove()
    made, ran = run(write("a.txt", "text" * 100))
    assert (made.read(), ran) == ("text" * 100, 1)
    assert [name for name in os.listdir() if name.startswith(".restored")] == []
    File("a.txt").remove()
    assert run(write("a.txt", "text" * 100))[1] == 0  # it was captured anew


def test_a_file_that_appears_meanwhile_is_left_alone(monkeypatch):
    run(write("a.txt", "text"))
    File("a.txt").remove()
    link = os.link

    def slow_link(source, destination, **folders):
        Path(destination).write_text("somebody else's")
        link(source, destination, **folders)

    monkeypatch.setattr(os, "link", slow_link)
    from valuestore.values.files.capture import restored

    with Repository.open("repository") as repository:
        ref = next(iter(repository.lookup.values([stored_file(repository)]).values()))
        assert not restored(repository.archive.unpack(ref), repository.archive)
    assert Path("a.txt").read_text() == "somebody else's"


def stored_file(repository):
    rows = repository.history.query("SELECT value_hash FROM value WHERE type_name = 'valuestore.File'").rows
    return rows[0][0]


def test_where_links_are_not_supported_it_is_moved(monkeypatch):
    run(write("a.txt", "text"))
    File("a.txt").remove()

    def refused(*_, **folders):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    assert run(write("a.txt", "text"))[1] == 0


def test_content_is_a_value_inside_the_file():
    with Repository.open("repository") as repository, Scheduler(repository) as scheduler:
        scheduler.run(write("a.txt", "text"))
        rows = repository.history.query(
            "SELECT c.value_hash FROM subvalue s JOIN value c ON c.value_hash = s.child_hash "
            "JOIN value f ON f.value_hash = s.parent_hash WHERE f.type_name = 'valuestore.File'"
        ).rows
        assert [repository.get(row[0]) for row in rows] == [b"text"]
        assert rows[0][0] == repository.archive.registry.hash(b"text")


def test_other_results_are_no_hindrance():
    @task(version="1", capture=True, name="other", namespace="tests")
    def other(folder):
        File("d/x").write("x")
        return [1, Dir("d"), File("missing"), File("d/x", identity="stat"), {"a": None}]

    assert run(other(1))[1] == 1


def test_capture_is_one_of_three():
    with pytest.raises(TaskError, match="overwrite"):
        task(capture="always")(lambda: None)


LARGE = """
from tests.memory import peak_kibibytes
from tests.scheduler.test_capture import MEBIBYTE
from valuestore import File, Scheduler, task
@task(version="1", capture=True, name="large", namespace="tests")
def large(path):
    made = File(path)
    with made.open("wb") as stream:
        for _ in range(256):
            stream.write(MEBIBYTE)
    return made
with Scheduler("repository") as scheduler:
    scheduler.run(large("large"))
    File("large").remove()
    assert scheduler.run(large("large")).size == 256 << 20
    print(scheduler.execution.counts.done, peak_kibibytes())
"""


def test_large_files_pass_through_little_memory():
    ran = subprocess.run(
        [sys.executable, "-c", LARGE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    done, kibibytes = map(int, ran.stdout.split())
    assert done == 0
    assert kibibytes < 200 << 10


def test_content_captured_of_a_file_that_was_recorded_before_is_recorded_with_it():
    with Repository.open("repository") as repository, Scheduler(repository) as scheduler:
        scheduler.run(uncaptured("a.txt", "text"))
        made = repository.archive.registry.hash(scheduler.run(write("a.txt", "text")))
        repository.flush()
        with repository.database.read() as connection:
            query = "SELECT child_hash FROM subvalue WHERE parent_hash = :made"
            rows = connection.exec_driver_sql(query, {"made": made}).all()
        assert [repository.get(part) for (part,) in rows] == [b"text"]

"""The fence: captured files are put back where this run's call says, or below the working folder.

The attacker can write the database: the cached File has another path, and its value is packed as any other.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from valuestore import File, Repository, Scheduler, task
from valuestore.errors import BadReference, ValuestoreWarning
from valuestore.values.files.capture import named_places, restored


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@task(version="1", capture=True, namespace="fence", name="write")
def write(path: str, text: str) -> File:
    made = File(path)
    made.write(text)
    return made


@task(version="1", capture="overwrite", namespace="fence", name="overwrite")
def overwrite(path: str, text: str) -> File:
    return write.func(path, text)


@task(version="1", capture=True, namespace="fence", name="write_in")
def write_in(folder: str, text: str) -> File:
    return write.func(f"{folder}/a.txt", text)


def run(call):
    with Repository.open("repository") as repository, Scheduler(repository) as scheduler:
        value = scheduler.run(call)
        return value, scheduler.execution.counts.done


def forge(place):
    """Make every cached result a File at the place, with content that the store has."""
    with Repository.open("repository") as repository, pytest.MonkeyPatch.context() as patch:
        digest = repository.archive.payloads.put(b"forged").digest
        patch.setattr(File, "_mark", lambda _: {"digest": digest})
        forged = repository.put(File.from_state({"path": str(place), "digest": digest}))
        repository.flush()
        with repository.database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE evaluation SET value_hash = ?, checksum = NULL", (forged.value_hash,)
            )


@pytest.mark.parametrize("body", [write, overwrite])
@pytest.mark.parametrize(
    "place",
    [
        "{home}/.ssh/authorized_keys",
        "{home}/notes.txt",
        "{tmp}/beside.txt",
        "../beside.txt",
        "x/../../beside.txt",
        ".git/hooks/post-checkout",
        "a/.hidden",
        ".bashrc",
    ],
)
def test_a_forged_path_is_not_written(here, body, place):
    run(body("a.txt", "text"))
    place = place.format(home=here / "home", tmp=here)
    forge(place)
    with pytest.warns(ValuestoreWarning, match=r"nothing is written there.*computed again"):
        made, ran = run(body("a.txt", "text"))
    assert not os.path.lexists(place)
    assert (made.read(), ran) == ("text", 1)


def test_a_forged_path_does_not_replace_what_is_there(here):
    keys = here / "home" / ".ssh" / "authorized_keys"
    keys.write_text("mine")
    run(overwrite("a.txt", "text"))
    forge(keys)
    with pytest.warns(ValuestoreWarning, match="nothing is written there"):
        run(overwrite("a.txt", "text"))
    assert keys.read_text() == "mine"


@pytest.mark.parametrize("link", ["out", "out/deep"])
def test_a_link_on_the_way_is_not_followed(here, link):
    run(write("a.txt", "text"))
    forge("out/deep/key")
    Path(link).parent.mkdir(exist_ok=True)
    os.symlink(here / "home" / ".ssh", link)
    with pytest.warns(ValuestoreWarning, match="a link.* on its way"):
        assert run(write("a.txt", "text"))[1] == 1
    assert not [path for path in (here / "home").rglob("*") if path.is_file()]


def test_a_link_at_the_place_is_replaced_and_not_followed(here):
    target = here / "home" / "precious"
    target.write_text("mine")
    run(overwrite("a.txt", "text"))
    File("a.txt").remove()
    os.symlink(target, "a.txt")
    made, ran = run(overwrite("a.txt", "text"))
    assert (made.read(), ran) == ("text", 0)
    assert target.read_text() == "mine"
    assert not os.path.islink("a.txt")


def test_what_the_call_says_is_put_back_wherever_it_is(here):
    for call in (lambda: write(f"{here}/elsewhere/a.txt", "text"), lambda: write_in(f"{here}/other", "text")):
        path = Path(run(call())[0].path)
        path.unlink()
        path.parent.rmdir()
        made, ran = run(call())
        assert (made.read(), ran) == ("text", 0)


def test_what_the_code_says_is_put_back_wherever_it_is(here):
    scope = {}
    exec(
        f"def constant():\n    made = File('{here}/fixed.txt')\n    made.write('text')\n    return made",
        {"File": File},
        scope,
    )
    fixed = task(version="1", capture=True, namespace="fence", name="constant")(scope["constant"])
    run(fixed())
    (here / "fixed.txt").unlink()
    assert run(fixed())[1] == 0
    assert (here / "fixed.txt").read_text() == "text"


def test_a_call_that_names_the_root_or_a_folder_of_homes_grants_nothing(here):
    run(write("a.txt", "text"))
    forge(here / "home" / "x")
    with Repository.open("repository") as repository:
        query = "SELECT value_hash FROM evaluation"
        value = repository.get(repository.history.query(query).rows[0][0])
        for wide in ("/", str(here), str(here.parent)):
            with pytest.raises(BadReference, match="nothing is written"):
                restored(value, repository.archive, named=[wide])
        assert restored(value, repository.archive, named=[str(here / "home")])


def test_places_are_found_in_all_of_a_calls_arguments():
    given = {
        "a": ["b", {"c": File("d")}],
        "e": (Path("f"), File("g").stage("h")),
        "i": 1,
        "j": write("k", "l"),
    }
    assert {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} == set(named_places(len, given))

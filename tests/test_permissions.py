"""Whose a repository is: another user's is not opened for being found; what is made is this user's alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from valuestore import Repository, Scheduler, task
from valuestore.cli.keep.setting import write_setting
from valuestore.db.schema import migrate
from valuestore.errors import ConfigError
from valuestore.repository import find_folder
from valuestore.stores import FileStore
from valuestore.values.files.stat_memory import StatRecord

SOMEBODY = 54321


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A repository in a folder above the working folder."""
    monkeypatch.delenv("VALUESTORE_REPOSITORY", raising=False)
    Repository.open(tmp_path).close()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path / ".valuestore"


def give_away(path, monkeypatch):
    """Make it another user's; who may not do that is another user from now on."""
    if os.geteuid() == 0:
        os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)


def modes(folder):
    """Of everything below, the mode and whether it is a folder."""
    found = {".": stat.S_IMODE(folder.stat().st_mode)}
    for path in folder.rglob("*"):
        found[str(path.relative_to(folder))] = stat.S_IMODE(path.stat().st_mode)
    return found


# --- whose it is


def test_ones_own_is_found(found):
    assert find_folder() == found


def test_one_of_another_user_is_not_opened(found, monkeypatch):
    give_away(found, monkeypatch)
    with pytest.raises(
        ConfigError, match=rf"{found} was found, but it belongs to another user .*SAFE_FOLDERS"
    ):
        Repository.open()


def test_nor_in_the_working_folder_itself(found, monkeypatch):
    monkeypatch.chdir(found.parent)
    give_away(found, monkeypatch)
    with pytest.raises(ConfigError, match="another user"):
        find_folder()


def test_one_that_everybody_can_write_to_is_not_opened(found):
    found.chmod(0o777)
    with pytest.raises(ConfigError, match="everybody can write to it"):
        find_folder()


def test_one_that_is_shared_with_a_group_is(found):
    found.chmod(0o2770)
    assert find_folder() == found


def test_a_link_of_another_user_is_not_followed(found, tmp_path, monkeypatch):
    link = tmp_path / "a" / ".valuestore"
    link.symlink_to(found)
    assert find_folder() == link
    give_away(link, monkeypatch)
    with pytest.raises(ConfigError, match="another user"):
        find_folder()


def test_what_is_named_is_opened_whoever_it_belongs_to(found, monkeypatch):
    give_away(found, monkeypatch)
    assert find_folder(found.parent) == found
    monkeypatch.setenv("VALUESTORE_REPOSITORY", str(found))
    assert find_folder() == found


@pytest.mark.parametrize("allowed", ["{0}", "{0}/.valuestore", "/elsewhere:{0}", "*", "{0}/a/..", " {0} "])
def test_it_can_be_allowed_in_the_environment(found, monkeypatch, allowed):
    give_away(found, monkeypatch)
    monkeypatch.setenv("VALUESTORE_SAFE_FOLDERS", "/elsewhere")
    with pytest.raises(ConfigError):
        find_folder()
    monkeypatch.setenv("VALUESTORE_SAFE_FOLDERS", "../..:a")  # which would mean another folder everywhere
    with pytest.raises(ConfigError):
        find_folder()
    monkeypatch.setenv("VALUESTORE_SAFE_FOLDERS", allowed.format(found.parent))
    assert find_folder() == found


def test_it_can_be_allowed_in_the_users_configuration(found, tmp_path, monkeypatch):
    give_away(found, monkeypatch)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "valuestore").mkdir(parents=True)
    (tmp_path / "config" / "valuestore" / "safe_folders").write_text(f"/elsewhere\n{found.parent}\n")
    assert find_folder() == found


def test_it_cannot_allow_itself(found, monkeypatch):
    write_setting(found, "durability", "full")
    (found / "valuestore.toml").write_text(f'safe_folders = "{found.parent}"\n')
    give_away(found, monkeypatch)
    with pytest.raises(ConfigError, match="another user"):
        Repository.open()


def test_a_folder_of_file_digests_of_another_user_is_not_used(tmp_path, monkeypatch):
    record = StatRecord(str(tmp_path / "cache"))
    record.keep([("xxh3-128", (1, 2, 3, 4, 5), "0" * 32)])
    assert StatRecord(str(tmp_path / "cache")).find("xxh3-128", (1, 2, 3, 4, 5))
    (tmp_path / "cache").chmod(0o777)
    assert StatRecord(str(tmp_path / "cache")).find("xxh3-128", (1, 2, 3, 4, 5)) is None
    (tmp_path / "cache").chmod(0o700)
    give_away(tmp_path / "cache", monkeypatch)
    assert StatRecord(str(tmp_path / "cache")).find("xxh3-128", (1, 2, 3, 4, 5)) is None


# --- modes


@task(version="1", namespace="ownership", name="large")
def large(size):
    return b"x" * size


def filled(folder, **settings):
    """A repository with all kinds of files in it, while they are there."""
    with Repository.open(folder, **settings) as repository, Scheduler(repository) as scheduler:
        scheduler.run(large(100_000))
        repository.flush()
        write_setting(repository.folder, "durability", "full")
        return modes(repository.folder)


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077, 0])
def test_what_is_made_is_this_users_alone(tmp_path, mask):
    os.umask(mask)
    found = filled(tmp_path)
    assert {"valuestore.db", "valuestore.db-wal", "valuestore.db-shm", "valuestore.db.lock"} <= set(found)
    assert {"valuestore.toml", "payloads", "."} <= set(found)
    folders = {name for name in found if name == "." or (tmp_path / ".valuestore" / name).is_dir()}
    assert {found[name] for name in folders} == {0o700}
    assert {found[name] for name in set(found) - folders} == {0o600}


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_what_is_shared_is_the_groups_too(tmp_path, mask):
    os.umask(mask)
    for settings in ({"shared": True}, {}):  # who opens it later need not say so
        found = filled(tmp_path, **settings)
        folders = {name for name in found if name == "." or (tmp_path / ".valuestore" / name).is_dir()}
        assert {found[name] & 0o777 for name in folders} == {0o770}
        assert {found[name] for name in set(found) - folders} == {0o660}


def test_sharing_can_be_a_setting_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("VALUESTORE_SHARED", "true")
    assert filled(tmp_path)["valuestore.db"] == 0o660


def test_a_repository_that_was_there_keeps_its_modes(tmp_path):
    (tmp_path / ".valuestore").mkdir(mode=0o755)
    sqlite3.connect(tmp_path / ".valuestore" / "valuestore.db").close()
    (tmp_path / ".valuestore" / "valuestore.db").chmod(0o644)
    found = filled(tmp_path)
    assert (found["."], found["valuestore.db"], found["valuestore.db-wal"]) == (0o755, 0o644, 0o644)


def test_a_database_elsewhere_is_this_users_alone(tmp_path):
    with Repository.open(tmp_path, database=f"sqlite:///{tmp_path}/history.db"):
        assert stat.S_IMODE((tmp_path / "history.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("form", ["{0}", "file://{0}"])
def test_payloads_elsewhere_are_this_users_alone(tmp_path, form):
    place = tmp_path / "pay loads"
    filled(tmp_path, payloads=form.format(str(place).replace(" ", "%20") if "file" in form else place))
    assert set(modes(place).values()) == {0o700, 0o600}


def test_payloads_in_a_shared_folder_are_the_groups_too(tmp_path):
    (tmp_path / "payloads").mkdir()
    (tmp_path / "payloads").chmod(0o2775)
    filled(tmp_path, payloads=str(tmp_path / "payloads"))
    assert {mode & 0o777 for mode in modes(tmp_path / "payloads").values()} == {0o775, 0o770, 0o660}


def test_the_copy_before_an_upgrade_has_the_mode_of_the_database(tmp_path):
    with Repository.open(tmp_path) as repository:
        migrate._copy(repository.database, tmp_path / "copy")
        assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    connection = sqlite3.connect(tmp_path / "copy")
    assert connection.execute("SELECT count(*) FROM repository").fetchone()[0] >= 2
    connection.close()


def test_a_store_of_ones_own_keeps_the_modes_of_the_umask(tmp_path):
    with FileStore(tmp_path / "own") as store:
        store.put("a/b", b"1")
    found = modes(tmp_path / "own")
    assert (found["."], found["a"], found["a/b"]) == (0o755, 0o755, 0o644)


def test_other_processes_do_the_same(tmp_path):
    filled(tmp_path, shared=True)
    code = (
        "import os; os.umask(0o077); from valuestore import Repository\n"
        f"with Repository.open({str(tmp_path)!r}) as r: r.put(b'y' * 50_000)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    found = modes(tmp_path / ".valuestore" / "payloads")
    assert {mode & 0o777 for mode in found.values()} == {0o770, 0o660}


# --- digests


@pytest.mark.parametrize(
    ("settings", "digest"),
    [
        ({}, "xxh3-128"),
        ({"payloads": "memory://here"}, "xxh3-128"),
        ({"payloads": {"type": "memory", "limits": {"max_get_bytes": 1000}}}, "xxh3-128"),
        ({"shared": True}, "blake3-256"),
        ({"payloads": "fsspec"}, "blake3-256"),
        ({"shared": True, "digest": "xxh3-128"}, "xxh3-128"),
        ({"digest": "blake3-256"}, "blake3-256"),
    ],
)
def test_a_repository_that_others_can_reach_has_digests_that_nobody_can_forge(tmp_path, settings, digest):
    from valuestore.stores import MemoryStore

    class Far(MemoryStore):
        url = "s3://somewhere"

    settings = {"payloads": Far()} if settings == {"payloads": "fsspec"} else settings
    with Repository.open(tmp_path, **settings) as repository:
        assert repository.algorithm == digest
    with Repository.open(tmp_path, **{**settings, "payloads": ""}) as again:
        assert again.algorithm == digest


def test_one_on_a_server_has_so_too(tmp_path, redis_url):
    with Repository.open(tmp_path, payloads=redis_url) as repository:
        assert repository.algorithm == "blake3-256"
    assert Path(tmp_path, ".valuestore").is_dir()

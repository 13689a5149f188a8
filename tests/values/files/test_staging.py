"""Staging: a place and its local copy, by Python or by shell; every name arrives whole."""

from __future__ import annotations

import os
import pickle
import subprocess
import tempfile
import uuid

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valuestore import Dir, File, script
from valuestore.errors import BadReference, NotSupported
from valuestore.values.files.dir import StagingDir
from valuestore.values.files.file import StagingFile
from valuestore.values.registry import TypeRegistry


@pytest.fixture
def memory():
    return f"memory://{uuid.uuid4().hex}"


def test_file_is_fetched_and_brought_back(here, memory):
    File(f"{memory}/a.txt").write("one")
    staging = File(f"{memory}/a.txt").stage()
    assert (staging.local.path, staging.remote.path) == ("a.txt", f"{memory}/a.txt")
    assert staging.stage().read_text() == "one"
    staging.local.write("two")
    assert staging.unstage() == File(f"{memory}/a.txt")
    assert staging.remote.read_text() == "two"


def test_folder_is_fetched_and_brought_back(here, memory):
    Dir(f"{memory}/run").file("sub/a").write("one")
    staging = Dir(f"{memory}/run").stage("work")
    staging.stage()
    staging.local.file("sub/b").write("two")
    staging.unstage()
    assert [file.path for file in Dir(f"{memory}/run")] == [f"{memory}/run/sub/a", f"{memory}/run/sub/b"]


def test_local_file_is_its_own_copy_unless_told_otherwise(here):
    File("data/a").write("x")
    staging = File("data/a").stage()
    assert (staging.render_stage(), staging.render_unstage()) == ("", "")
    assert staging.stage() == File("data/a")
    other = File("data/a").stage("b")
    assert other.render_stage() == "cp -- data/a b"
    assert other.render_unstage() == "mkdir -p -- data && cp -- b data/a"


@pytest.mark.parametrize(
    ("remote", "fetch", "bring"),
    [
        ("s3://b/k k", "aws s3 cp --no-progress 's3://b/k k' x", "aws s3 cp --no-progress x 's3://b/k k'"),
        ("gs://b/k", "gcloud storage cp gs://b/k x", "gcloud storage cp x gs://b/k"),
    ],
)
def test_buckets_are_copied_by_their_own_programs(remote, fetch, bring, monkeypatch):
    monkeypatch.setattr("valuestore.values.files.location._check_protocol", lambda *_: None)
    staging = StagingFile("x", remote)
    assert (staging.render_stage(), staging.render_unstage()) == (fetch, bring)


def test_folders_of_buckets(monkeypatch):
    monkeypatch.setattr("valuestore.values.files.location._check_protocol", lambda *_: None)
    assert StagingDir("x", "s3://b/k").render_stage() == (
        "mkdir -p -- x && aws s3 cp --no-progress --recursive s3://b/k/ x/"
    )
    assert StagingDir("x", "gs://b/k").render_unstage() == "gcloud storage rsync --recursive x gs://b/k"


def test_mounted_bucket_is_a_folder():
    staging = File("s3://bucket/a b").stage("x")
    assert staging.render_stage(as_mount=True) == "cp -- '/mnt/disks/bucket/a b' x"
    assert (
        staging.render_unstage(as_mount=True)
        == "mkdir -p -- /mnt/disks/bucket && cp -- x '/mnt/disks/bucket/a b'"
    )


def test_web_page_is_fetched_by_curl_without_its_credentials():
    staging = File("https://user:canary@host/a[1].txt").stage("x")
    assert staging.render_stage() == "curl -fsSL --globoff -o x 'https://host/a[1].txt'"


def test_what_no_program_copies_is_refused(memory):
    with pytest.raises(NotSupported, match="copy_to"):
        File(f"{memory}/a").stage("x").render_stage()


def test_local_side_is_local(memory):
    with pytest.raises(BadReference):
        StagingFile(f"{memory}/a", "b")


names = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name.strip("."))


@settings(max_examples=30)  # each runs a shell
@given(names, names)
@example("-rf", "--help")
@example("$(touch pwned)", "`touch pwned`; touch pwned")
@example("a\nb", "'\"'")
def test_rendered_commands_copy_any_name(one, other):
    with tempfile.TemporaryDirectory() as folder:
        if one == other:
            other = f"{one}2"
        with open(os.path.join(folder, one), "w") as stream:
            stream.write("x")
        staging = StagingFile(other, one)
        subprocess.run(["sh", "-ec", staging.render_stage()], cwd=folder, check=True)
        os.unlink(os.path.join(folder, one))
        subprocess.run(["sh", "-ec", staging.render_unstage()], cwd=folder, check=True)
        assert {os.fsencode(name) for name in os.listdir(folder)} == {os.fsencode(one), os.fsencode(other)}


def test_staging_is_a_value_of_its_two_paths(here):
    registry = TypeRegistry()
    staging = StagingFile("x", File("data/a", identity="stat"))
    again = registry.load(registry.dump(staging))
    assert again == staging == pickle.loads(pickle.dumps(staging))
    assert again.remote.identity_kind == "stat"
    assert registry.hash(again) == registry.hash(staging)
    assert registry.hash(StagingFile("y", "data/a")) != registry.hash(StagingFile("x", "data/a"))
    assert registry.hash(StagingDir("x", "data/a")) != registry.hash(StagingFile("x", "data/a"))
    assert again.is_valid()
    File("data/a").write("x")
    assert again.remote.is_valid()
    assert StagingFile.parse_arg("x=data/a") == StagingFile("x", "data/a")
    with pytest.raises(ValueError, match="LOCAL=REMOTE"):
        StagingFile.parse_arg("x")


# --- from a store, where the paths may be forged


def stored(cls, local, remote):
    """As it comes out of a store, in a program that wrote none of the paths."""
    return cls.from_state({"local": str(local), "remote": str(remote), "identity": "path+content"})


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "remote").write_text("forged")
    return tmp_path / "home"


def test_a_stored_staging_is_not_copied_to_a_place_that_only_it_names(home):
    for place in (home / "x", home / ".ssh" / "key", "../x", ".git/config"):
        for act in ("stage", "render_stage"):
            with pytest.raises(BadReference, match="nothing is written"):
                getattr(stored(StagingFile, place, "remote"), act)()
        for act in ("unstage", "render_unstage"):
            with pytest.raises(BadReference, match="nothing is written"):
                getattr(stored(StagingFile, "remote", place), act)()
        assert not os.path.lexists(place)
    with pytest.raises(BadReference, match="nothing is written"):
        stored(StagingFile, "remote", "s3://a-bucket-that-nobody-named/x").unstage()


def test_a_stored_staging_is_copied_below_the_working_folder(home):
    assert stored(StagingFile, "a/b", "remote").stage().read_text() == "forged"


def test_a_stored_staging_follows_no_link(home):
    os.symlink(home, "link")
    os.symlink(home / "x", "link to file")
    for place in ("link/x", "link to file"):
        with pytest.raises(BadReference, match="a link.* on its way"):
            stored(StagingFile, place, "remote").stage()
    os.makedirs("folder/d")
    os.makedirs("named nowhere")  # what a test in this process has named is followed
    os.symlink(home, "named nowhere/d")
    (home.parent / "work" / "folder" / "d" / "x").write_text("forged")
    with pytest.raises(BadReference, match="a link.* on its way"):
        stored(StagingDir, "named nowhere", "folder").stage()
    assert os.listdir(home) == [".ssh"]


def test_a_staging_that_the_program_wrote_goes_where_it_says_also_as_a_copy(home):
    made = File("remote").stage(str(home / "x"))
    for copy in (stored(StagingFile, home / "x", "remote"), pickle.loads(pickle.dumps(made))):
        assert copy.stage().read_text() == "forged"


def test_an_output_of_a_script_is_not_written_where_only_a_stored_value_says(home):
    state = {"path": str(home / ".ssh" / "authorized_keys"), "digest": None}
    with pytest.raises(BadReference, match="nothing is written"):
        script("echo forged > authorized_keys", outputs=File.from_state(state))

"""FileSet: the files of a pattern and their contents; sorted; no way into loops."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestore import Dir, File, FileSet
from valuestore.errors import BadReference, DecodeError, ValuestoreWarning
from valuestore.hashing import encode_plain
from valuestore.values.files.fileset import matches
from valuestore.values.files.filesystem import say_once
from valuestore.values.registry import Payload


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.csv",
        "a.csv",
        "c.txt",
        ".dot.csv",
        "sub/d.csv",
        "sub/deep/e.csv",
        ".git/f.csv",
        "[1].csv",
    ):
        File(name).write(name)
    return tmp_path


def loaded(registry, value):
    return registry.load(registry.dump(value))


@pytest.mark.filterwarnings("ignore:FileSet.*names a folder")
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["[1].csv", "a.csv", "b.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("[!a].csv", ["b.csv"]),
        ("[[]1].csv", ["[1].csv"]),
        (".*.csv", [".dot.csv"]),
        ("*/*.csv", ["sub/d.csv"]),
        ("**/*.csv", ["[1].csv", "a.csv", "b.csv", "sub/d.csv", "sub/deep/e.csv"]),
        ("**/**/*.csv", ["[1].csv", "a.csv", "b.csv", "sub/d.csv", "sub/deep/e.csv"]),
        ("sub/**", ["sub/d.csv", "sub/deep/e.csv"]),
        (".git/*", [".git/f.csv"]),
        ("a.csv", ["a.csv"]),
        ("sub", []),
        ("no/*", []),
        ("a.csv/*", []),
        ("./sub//*.csv", ["sub/d.csv"]),
        ("sub/../*.txt", ["sub/../c.txt"]),
    ],
)
def test_pattern_finds_files_in_order(here, pattern, found):
    assert [file.path for file in FileSet(pattern)] == found
    assert all(path in FileSet(pattern) for path in found)
    assert len(FileSet(pattern)) == len(found)
    absolute = FileSet(os.path.join(here, pattern))
    assert [file.path for file in absolute] == [File(here / path).path for path in found]


segments = st.sampled_from(["a", "b", "ab", ".a", "*", "?", "a*", "[ab]", "**", "*b"])


@pytest.mark.filterwarnings("ignore:FileSet.*names a folder")
@given(
    pattern=st.lists(segments, min_size=1, max_size=4),
    made=st.sets(
        st.lists(st.sampled_from(["a", "b", "ab", ".a"]), min_size=1, max_size=3).map("/".join), max_size=6
    ),
)
def test_finding_and_matching_agree(tmp_path_factory, pattern, made):
    folder = tmp_path_factory.mktemp("files")
    files = [path for path in made if not any(other.startswith(f"{path}/") for other in made)]
    for path in files:
        File(folder / path).write("")
    whole = f"{folder}/{'/'.join(pattern)}"
    every = [f"{folder}/{path}" for path in files]
    assert FileSet(whole).paths() == sorted(path for path in every if matches(whole, path))
    shutil.rmtree(folder)


def test_set_changes_with_its_files_alone(here, registry):
    files = FileSet("*.csv")
    again = loaded(registry, files)
    before = registry.hash(files)
    os.utime("a.csv", (1, 1))
    File("other.txt").write("x")
    assert again.is_valid()
    assert registry.hash(files) == before
    File("a.csv").write("changed")
    assert not again.is_valid()
    File("a.csv").write("a.csv")
    assert again.is_valid()
    File("z.csv").write("new")
    assert not again.is_valid()
    File("z.csv").remove()
    File("b.csv").remove()
    assert not again.is_valid()


def test_pattern_counts_and_no_file_is_a_set_too(here, registry):
    assert registry.hash(FileSet("a.*")) != registry.hash(FileSet("a.cs?"))
    empty = loaded(registry, FileSet("*.none"))
    assert empty.is_valid()
    assert not empty.exists()
    assert bool(empty)
    File("a.none").write("")
    assert not empty.is_valid()


def test_kinds_of_identity(here, registry):
    kinds = ("path+content", "content", "stat", "path")
    assert len({registry.hash(FileSet("*.csv", identity=kind)) for kind in kinds}) == 4
    shutil.copytree("sub", "other")
    one, two = (registry.hash(FileSet(f"{name}/*.csv", identity="content")) for name in ("sub", "other"))
    assert one == two
    by_stat = loaded(registry, FileSet("*.csv", identity="stat"))
    by_path = loaded(registry, FileSet("*.csv", identity="path"))
    assert {file.identity_kind for file in by_path} == {"path"}
    assert by_stat.is_valid()
    assert by_path.is_valid()
    os.utime("a.csv", (1, 1))
    assert not by_stat.is_valid()
    File("a.csv").write("changed")
    assert by_path.is_valid()
    File("a.csv").remove()
    assert not by_path.is_valid()


def test_files_are_values_inside(here, registry):
    again = loaded(registry, FileSet("*.csv"))
    inside = list(again.iter_subvalues())
    assert inside == [File("[1].csv"), File("a.csv"), File("b.csv")]
    assert [registry.hash(file) for file in inside] == [registry.hash(file) for file in FileSet("*.csv")]
    File("a.csv").write("changed")
    assert [file.is_valid() for file in inside] == [True, False, True]


def test_loops_of_links_end(here):
    os.symlink("..", "sub/up")
    os.symlink(".", "sub/self")
    os.symlink("../a.csv", "sub/link.csv")
    found = [file.path for file in FileSet("**/*.csv")]
    assert found == ["[1].csv", "a.csv", "b.csv", "sub/d.csv", "sub/deep/e.csv", "sub/link.csv"]


def test_deep_trees_and_long_patterns(here):
    deep = "/".join(["x"] * 1050)
    subprocess.run(["mkdir", "-p", f"tree/{deep}"], check=True)  # makedirs recurses
    File(f"tree/{deep}/end").touch()
    assert FileSet("tree/**/end").paths() == [f"tree/{deep}/end"]
    subprocess.run(["rm", "-rf", "tree"], check=True)  # rmtree recurses
    with pytest.raises(BadReference, match="200"):
        FileSet("*/" * 300 + "x")


@pytest.mark.parametrize("files", [None, 5, [None], [{}], [{"path": 5}], [{"path": "a", "identity": "x"}]])
def test_forged_state_is_refused(here, registry, files):
    payload = registry.dump(FileSet("*.csv"))
    state = {"pattern": "*.csv", "files": files, "algorithm": "xxh3-128"}
    forged = encode_plain(("\0", "valuestore.FileSet", state))
    with pytest.raises(DecodeError):
        registry.load(Payload(payload.type_name, payload.codec, forged))


def test_file_set_and_dir_see_the_same_files(here):
    assert [file.path for file in FileSet("sub/**")] == [file.path for file in Dir("sub")]


# --- what used to match nothing without a word ------------------------------------------------------


def test_braces_stand_for_each_of_their_texts_and_for_themselves(here):
    File("x.{csv,txt}").write("literal")
    assert FileSet("[ac].{csv,txt}").paths() == ["a.csv", "c.txt"]
    assert FileSet("x.{csv,txt}").paths() == ["x.{csv,txt}"]
    assert FileSet("{.,sub/{deep,none}}/{b,e}.csv").paths() == ["b.csv", "sub/deep/e.csv"]
    assert FileSet("{a}.csv").paths() == []
    assert "sub/any.csv" in FileSet("sub/*.{csv,tsv}")
    assert "sub/any.txt" not in FileSet("sub/*.{csv,tsv}")


def test_braces_in_a_stored_pattern_cost_no_more_than_a_pattern_may(registry):
    with pytest.raises(BadReference, match="at most"):
        FileSet("{a,b}" * 30)
    state = {"pattern": "{a,b}/" * 8, "files": [], "algorithm": "xxh3-128"}
    with pytest.raises(BadReference, match="at most"):
        FileSet.from_state(state)


def test_a_tilde_is_the_home_folder_unless_something_has_that_name(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here / "sub"))
    assert File("~/d.csv").path == str(here / "sub/d.csv")
    assert FileSet("~/*.csv").paths() == [str(here / "sub/d.csv")]
    assert Dir("~").path == str(here / "sub")
    assert File("~nobody-of-that-name/a").path == "~nobody-of-that-name/a"
    assert File("a~/b").path == "a~/b"
    os.mkdir("~")
    assert File("~/d.csv").path == "~/d.csv"


def test_a_pattern_that_names_a_folder_and_a_folder_that_is_not_there_say_so_once(here):
    say_once.cache_clear()
    with pytest.warns(ValuestoreWarning, match=r"take Dir\('sub'\)"):
        assert FileSet("sub").files() == []
    with pytest.warns(ValuestoreWarning, match=r"Dir\('sbu'\) is not there"):
        assert Dir("sbu").files() == []
    assert FileSet("sub").files() == []  # a second warning would be an error here
    assert list(Dir("sbu")) == []
    assert FileSet("none*").files() == FileSet("none").files() == []

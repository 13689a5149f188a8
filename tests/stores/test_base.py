"""The key rule, opening by URL, and what importing the stores costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestore import stores
from valuestore.errors import BadKey, BadReference, NotSupported
from valuestore.stores import MemoryStore, Store, check_key, open_store
from valuestore.stores.base import without_credentials
from valuestore.testing.stores import BAD_KEYS, ODD_KEYS


def is_key(text: str) -> bool:
    """The rule as DESIGN has it, word by word."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    return (
        0 < size <= 1024 and "\0" not in text and all(part not in ("", ".", "..") for part in text.split("/"))
    )


@given(st.text() | st.text(alphabet="a./\0ä\ud800", max_size=12) | st.text("aä", min_size=500, max_size=1100))
def test_the_key_rule_is_what_the_design_says(text):
    if is_key(text):
        assert check_key(text) == text
    else:
        with pytest.raises(BadKey):
            check_key(text)


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "not empty"),
        ("/a", "slash"),
        ("a/", "slash"),
        ("a//b", "segment"),
        ("..", "segment"),
        ("a\0", "NUL"),
        ("x" * 1025, "at most 1024 bytes, this one 1025"),
        ("\ud800", "UTF-8"),
        (b"k", "str, not bytes"),
    ],
)
def test_a_bad_key_is_told_which_rule_it_breaks(key, rule):
    with pytest.raises(BadKey, match=rule):
        check_key(key)


def test_the_corpora_are_what_they_say():
    assert not any(is_key(key) for key in BAD_KEYS)
    assert all(is_key(key) for key in ODD_KEYS)
    assert len(set(ODD_KEYS)) == len(ODD_KEYS)


def test_an_unknown_scheme_names_those_there_are_and_no_secret():
    with pytest.raises(BadReference) as caught:
        open_store("gopher://user:secret@host/path?token=secret#secret")
    assert "file://" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "gopher://host/path" in str(caught.value)


@pytest.mark.parametrize("url", ["", "://", "://x", "gopher://[bad"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(BadReference):
        open_store(url)


def test_messages_show_urls_without_credentials():
    assert without_credentials("redis://:secret@host:6379/0?password=secret") == "redis://host:6379/0"
    assert without_credentials("s3://bucket/a b") == "s3://bucket/a b"
    assert "secret" not in without_credentials("x://user:secret@[bad")


class FiveMethods(Store):
    """No more than a store has to write."""

    def __init__(self) -> None:
        self._inner = MemoryStore()

    def get(self, key, start=0, end=None):
        self._check_open()
        return self._inner.get(key, start, end)

    def put(self, key, data, *, size=None, attrs=None, overwrite=True):
        self._check_open()
        return self._inner.put(key, data, size=size, attrs=attrs, overwrite=overwrite)

    def stat(self, key):
        self._check_open()
        return self._inner.stat(key)

    def delete(self, key):
        self._check_open()
        self._inner.delete(key)

    def list(self, prefix="", *, limit=None, cursor=None):
        self._check_open()
        return self._inner.list(prefix, limit=limit, cursor=cursor)


def test_five_methods_make_a_store():
    with FiveMethods() as store:
        store.put_many(["a", "b/c"], [b"1", b"2"])
        assert (store.exists("a"), store.exists("x"), store.size("a")) == (True, False, 1)
        assert list(store.keys()) == ["a", "b/c"]
        assert store.open("a").read() == b"1"
        store.copy("a", "d")
        store.move("d", "e")
        assert list(store.get_many(["e", "b/c"])) == [b"1", b"2"]
        assert store.delete_many(["a", "x"]) == {"a"}
        assert "FiveMethods" in repr(store)
        for use in (lambda: store.sign("a"), store.batch):
            with pytest.raises(NotSupported, match="FiveMethods"):
                use()
        with pytest.raises(BadReference):
            FiveMethods.from_url("five://x")


def test_keys_pass_from_page_to_page():
    with FiveMethods() as store:
        names = sorted(f"{n}" for n in range(2500))
        store.put_many(names, [b""] * 2500)
        assert list(store.keys()) == names


def test_every_public_name_is_there():
    assert set(dir(stores)) == set(stores.__all__)
    assert all(getattr(stores, name).__name__ == name for name in stores.__all__)
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = stores.Nonsense


def test_importing_the_stores_loads_no_driver():
    script = """
import sys
import valuestore.stores
assert not [name for name in sys.modules if name.startswith("valuestore.stores.")]
from valuestore.stores import ContentStore, FileStore, MemoryStore, open_store
open_store("memory://")
known = {"__main__", "valuestore", "xxhash", "blake3"} | set(sys.stdlib_module_names)
print(sorted({name.partition(".")[0] for name in sys.modules} - known))
print("importlib.metadata" in sys.modules)
"""
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "False"]

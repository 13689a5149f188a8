"""Key files: made once, private, refused when others could have seen or written them (F37)."""

from __future__ import annotations

import copy
import os
import pickle
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from valuestore.errors import ConfigError, KeyUnusable, NotHashableError, StoreError
from valuestore.values.registry import TypeRegistry
from valuestore.values.trust.keys import Key, KeyRing

SECRET = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
OTHER = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "config" / "keys"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write(tmp_path / "team.key", f"# ours\n{SECRET}\n\n{OTHER}\n")


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_is_made_before_something_is_signed(folder):
    ring = KeyRing.open(folder)
    assert ring.find_all() == []
    assert ring.find_signing() is None
    assert ring.find("0" * 8) is None
    assert not folder.exists()


def test_the_first_key_is_private_whatever_the_umask(folder):
    before = os.umask(0)
    try:
        key = KeyRing.open(folder).signing
    finally:
        os.umask(before)
    assert mode_of(folder) == 0o700
    assert {mode_of(file) for file in folder.iterdir()} == {0o600}
    assert len(bytes.fromhex((folder / f"{key.key_id}.key").read_text())) == 32


def test_every_ring_on_the_folder_has_the_same_signing_key(folder):
    first = KeyRing.open(folder).signing
    again = KeyRing.open(folder)
    assert again.signing.key_id == first.key_id
    assert again.find(first.key_id).mac(b"x") == first.mac(b"x")


def test_two_folders_have_two_keys(tmp_path):
    assert KeyRing.open(tmp_path / "a").signing.key_id != KeyRing.open(tmp_path / "b").signing.key_id


def test_processes_that_start_at_once_agree_on_one_key(folder):
    code = "from valuestore.values.trust.keys import KeyRing; print(KeyRing.open().signing.key_id)"
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(6)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    assert len(list((folder / "valuestore" / "keys").glob("*.key"))) == 1


def test_threads_that_start_at_once_agree_on_one_key(folder):
    ring = KeyRing.open(folder)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: ring.signing.key_id, range(32)))) == 1
    assert len(list(folder.glob("*.key"))) == 1


def test_rotation_signs_anew_and_keeps_the_old_key(folder):
    old = KeyRing.open(folder).signing
    running = KeyRing.open(folder)
    assert running.signing.key_id == old.key_id
    new = KeyRing.open(folder).rotate()
    ring = KeyRing.open(folder)
    assert ring.signing.key_id == new.key_id != old.key_id
    assert {key.key_id for key in ring.find_all()} == {old.key_id, new.key_id}
    assert running.find(new.key_id) is not None


def test_concurrent_rotations_lose_no_key(folder):
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: KeyRing.open(folder).rotate().key_id, range(8)))
    assert {key.key_id for key in KeyRing.open(folder).find_all()} == made
    assert KeyRing.open(folder).signing.key_id in made


def test_added_keys_verify_and_sign_only_when_asked(folder, key_file):
    ring = KeyRing.open(folder)
    own = ring.signing.key_id
    added = [key.key_id for key in ring.add(key_file)]
    assert added == [Key(bytes.fromhex(secret)).key_id for secret in (SECRET, OTHER)]
    assert KeyRing.open(folder).signing.key_id == own
    KeyRing.open(folder).add(key_file, sign=True)
    assert KeyRing.open(folder).signing.key_id == added[0]


def test_key_file_of_the_environment_signs_and_own_keys_still_verify(tmp_path, key_file, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    own = KeyRing.open().signing
    monkeypatch.setenv("VALUESTORE_KEY_FILE", str(key_file))
    ring = KeyRing.open()
    assert ring.signing.key_id == Key(bytes.fromhex(SECRET)).key_id
    assert ring.find(own.key_id) is not None
    assert ring.find(Key(bytes.fromhex(OTHER)).key_id) is not None
    for change in (ring.rotate, lambda: ring.add(key_file, sign=True)):
        with pytest.raises(ConfigError, match="VALUESTORE_KEY_FILE"):
            change()


def test_missing_key_file_of_the_environment_is_an_error_and_no_new_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("VALUESTORE_KEY_FILE", str(tmp_path / "gone"))
    with pytest.raises(KeyUnusable, match="no such file"):
        KeyRing.open().signing  # noqa: B018
    assert not (tmp_path / "valuestore").exists()


# --- refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o602, 0o610])
def test_key_file_open_to_others_is_refused_with_the_remedy(folder, mode):
    key = KeyRing.open(folder).signing
    (folder / f"{key.key_id}.key").chmod(mode)
    for use in (lambda ring: ring.signing, lambda ring: ring.find(key.key_id), lambda ring: ring.find_all()):
        with pytest.raises(KeyUnusable, match="chmod 600"):
            use(KeyRing.open(folder))


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_folder_in_which_others_could_put_keys_is_refused(folder, mode):
    key = KeyRing.open(folder).signing
    folder.chmod(mode)
    for use in (lambda ring: ring.signing, lambda ring: ring.find(key.key_id), KeyRing.rotate):
        with pytest.raises(KeyUnusable, match="chmod 700"):
            use(KeyRing.open(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_key_file_of_another_user_is_refused(folder):
    key = KeyRing.open(folder).signing
    os.chown(folder / f"{key.key_id}.key", 12345, -1)
    with pytest.raises(KeyUnusable, match="another user"):
        KeyRing.open(folder).find(key.key_id)
    os.chown(folder, 12345, -1)
    with pytest.raises(KeyUnusable, match="another user"):
        KeyRing.open(folder).signing  # noqa: B018


@pytest.mark.parametrize(
    "text", ["", "zz" * 32, "ab" * 31, "ab" * 33, SECRET + " " + OTHER, "\x00" * 64, "#"]
)
def test_file_that_holds_no_keys_is_refused(folder, tmp_path, text):
    with pytest.raises(KeyUnusable, match="no key file"):
        KeyRing.open(folder).add(write(tmp_path / "bad", text))
    assert not folder.exists()


def test_damaged_key_is_refused_and_rotation_goes_on(folder):
    key = KeyRing.open(folder).signing
    write(folder / f"{key.key_id}.key", OTHER)
    with pytest.raises(KeyUnusable, match="damaged"):
        KeyRing.open(folder).find(key.key_id)
    assert KeyRing.open(folder).rotate().key_id != key.key_id
    assert KeyRing.open(folder).signing.key_id != key.key_id


@pytest.mark.parametrize("text", ["", "nonsense", "../../etc/passwd", "0" * 8])
def test_damaged_pointer_is_refused_and_rotation_goes_on(folder, text):
    KeyRing.open(folder).signing  # noqa: B018
    write(folder / "signing", text)
    with pytest.raises(KeyUnusable, match="keys rotate"):
        KeyRing.open(folder).signing  # noqa: B018
    assert KeyRing.open(folder).rotate().key_id == KeyRing.open(folder).signing.key_id


def test_pipe_in_place_of_a_key_does_not_block(folder):
    key = KeyRing.open(folder).signing
    (folder / f"{key.key_id}.key").unlink()
    os.mkfifo(folder / f"{key.key_id}.key", 0o600)
    with pytest.raises(KeyUnusable, match="no file"):
        KeyRing.open(folder).find(key.key_id)


@pytest.mark.parametrize("key_id", ["../x", "..", "", "a" * 9, "ABCDEF01", "a/b", "\0", "0" * 7 + "\n"])
def test_id_from_a_payload_never_becomes_a_path(folder, key_id):
    write(folder.parent / "x.key" if folder.parent.mkdir() is None else folder, SECRET)
    KeyRing.open(folder).signing  # noqa: B018
    assert KeyRing.open(folder).find(key_id) is None


def test_folder_that_cannot_be_made_is_a_typed_error_with_a_way_out(tmp_path):
    write(tmp_path / "file", "")
    for place in (tmp_path / "file" / "keys", Path("/proc/nowhere/keys")):
        with pytest.raises(KeyUnusable) as caught:
            KeyRing.open(place).signing  # noqa: B018
        assert isinstance(caught.value, StoreError)


# --- secrets stay --------------------------------------------------------------------------------------


def test_no_key_is_shown_pickled_copied_or_stored(folder):
    ring = KeyRing.open(folder)
    key = ring.signing
    secret = (folder / f"{key.key_id}.key").read_text().strip()
    assert secret not in repr(ring) + str(ring) + repr(key) + str(vars(ring))
    assert bytes.fromhex(secret) not in pickle.dumps(ring)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            attempt(key)
    with pytest.raises(NotHashableError):
        TypeRegistry().hash(key)


def test_a_ring_travels_as_its_place(folder):
    ring = KeyRing.open(folder)
    assert pickle.loads(pickle.dumps(ring)).signing.key_id == ring.signing.key_id


@pytest.mark.parametrize("secret", ["00" * 32, "ff" * 32, "0123" * 16])
def test_a_key_that_anybody_could_guess_is_none(tmp_path, secret):
    file = tmp_path / "guessed.key"
    file.write_text(secret + "\n")
    file.chmod(0o600)
    with pytest.raises(KeyUnusable, match="no random one"):
        KeyRing(tmp_path / "keys").add(file)

"""Power cuts: a durable repository in every state that a disk may be in, by what it was told to sync.

strace tells all that a writer asks of the disk. At a moment of that story a file has what it was synced
with, and of each later write all, nothing, a part, or zeros; a name that was not synced with its folder may
be there or not, whatever came after it. What the writer had acknowledged by then has to be readable. Nothing
happens where there is no strace.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import workflow
from tests.faults.found import Found
from tests.faults.syscalls import is_possible
from valuestore import Repository

_CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink,rmdir,mkdir,link,close,fcntl,dup"
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
_BATCHES = 8


@dataclass
class File:
    """What was written since the last sync, after what the disk has for sure."""

    synced: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    """Offsets and bytes; at -1, bytes whose length is what the file was cut to."""

    def now(self) -> bytes:
        return self.with_some(lambda _, data: data)

    def with_some(self, chosen: Callable[[int, bytes], bytes | None]) -> bytes:
        data = bytearray(self.synced)
        for offset, piece in self.pending:
            kept = chosen(offset, piece)
            if kept is None:
                continue
            if offset < 0:
                size = int(kept)
                data = data[:size] + bytes(max(0, size - len(data)))
            else:
                data += bytes(max(0, offset - len(data)))
                data[offset : offset + len(kept)] = kept
        return bytes(data)

    def sync(self) -> None:
        self.synced, self.pending = self.now(), []


class Disk:
    """Replays a story: names and files as they are, and the changes of names that were not synced."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.names: dict[str, File | None] = {}
        """None is a folder."""
        self.durable: dict[str, File | None] = {}
        self.loose: dict[str, list[tuple[str, File | None, bool]]] = defaultdict(list)
        """By folder, what became of its names since its last sync: name, what it is, whether it came."""

    def name(self, path: str, thing: File | None) -> None:
        self.names[path] = thing
        self.loose[os.path.dirname(path)].append((path, thing, True))

    def forget(self, path: str) -> None:
        thing = self.names.pop(path, None)
        self.loose[os.path.dirname(path)].append((path, thing, False))

    def sync_folder(self, path: str) -> None:
        for name, thing, came in self.loose.pop(path, []):
            if came:
                self.durable[name] = thing
            else:
                self.durable.pop(name, None)

    def after_power_cut(self, chance: random.Random) -> dict[str, bytes | None]:
        """One state that the disk may be in: of the unsynced names of a folder, the first few happened."""
        state = dict(self.durable)
        for changes in self.loose.values():
            for name, thing, came in changes[: chance.randint(0, len(changes))]:
                if came:
                    state[name] = thing
                else:
                    state.pop(name, None)
        mood = chance.choice([0.0, 0.5, 0.5, 1.0])

        def kept(offset: int, data: bytes) -> bytes | None:
            if chance.random() < mood:
                return data
            if offset < 0 or chance.random() < 0.5:
                return None
            return data[: chance.randrange(len(data) + 1)] if chance.random() < 0.5 else bytes(len(data))

        return {name: None if thing is None else thing.with_some(kept) for name, thing in state.items()}


def power(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` states after power cuts at random moments of one story."""
    found = Found()
    if not is_possible():
        found.done["states, for there is no strace"] = 0
        return found
    story = _story(folder / "written", folder / "log")
    moments = sorted(chance.randrange(len(story)) for _ in range(size))
    disk, fds, acknowledged, at = Disk(f"{folder}/written"), {}, [], 0
    for moment in moments:
        while at <= moment:
            _replay(disk, fds, acknowledged, *story[at])
            at += 1
        _check(folder / "replayed", disk.after_power_cut(chance), disk.root, acknowledged, moment, found)
        found.done["states"] += 1
    found.done["acknowledged"] = len(acknowledged)
    return found


def _story(place: Path, log: Path) -> list[tuple[str, str, int]]:
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-xx", "-s", "100000000", "-e", f"trace={_CALLS}"]
    program = [sys.executable, "-m", "tests.faults.power", str(place)]
    subprocess.run([*command, "-o", str(log), *program], check=True, stdout=subprocess.DEVNULL)
    story, unfinished = [], {}
    for line in log.read_text().splitlines():
        pid = line.split(None, 1)[0]
        if line.endswith("<unfinished ...>"):
            unfinished[pid] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := re.match(r"^\d+ +<\.\.\. \w+ resumed>(.*)$", line):
            line = unfinished.pop(pid) + resumed[1]
        if (told := _LINE.match(line)) and int(told[4]) >= 0:
            story.append((told[2], told[3], int(told[4])))
    return story


def _text(argument: str) -> bytes:
    return bytes.fromhex("".join(re.findall(r"\\x([0-9a-f]{2})", argument)))


def _replay(
    disk: Disk, fds: dict[int, list], acknowledged: list[str], call: str, given: str, result: int
) -> None:
    parts = given.split(", ")
    paths = [os.fsdecode(_text(part)) for part in parts if part.startswith('"')]
    ours = [path for path in paths if path.startswith(disk.root)]
    if call == "openat" and ours:
        path = ours[0]
        if "O_CREAT" in given and path not in disk.names:
            disk.name(path, File())
        if "O_TRUNC" in given and disk.names.get(path):
            disk.names[path].pending.append((-1, b"0"))
        fds[result] = [path, disk.names.get(path), 0]
    elif call == "openat":
        fds.pop(result, None)
    elif call == "close":
        fds.pop(int(parts[0]), None)
    elif call in ("dup", "fcntl") and (call == "dup" or "F_DUPFD" in given) and int(parts[0]) in fds:
        fds[result] = fds[int(parts[0])]
    elif call in ("rename", "link") and ours:
        disk.name(ours[1], disk.names[ours[0]])
        if call == "rename":
            disk.forget(ours[0])
    elif call in ("unlink", "rmdir") and ours:
        disk.forget(ours[0])
    elif call == "mkdir" and ours:
        disk.name(ours[0], None)
    elif call == "write" and parts[0] == "1":
        acknowledged += _text(parts[1]).decode().split()
    elif call in ("write", "pwrite64", "ftruncate", "fsync", "fdatasync") and int(parts[0]) in fds:
        _replay_on_file(disk, fds[int(parts[0])], call, parts, result)


def _replay_on_file(disk: Disk, opened: list, call: str, parts: list[str], result: int) -> None:
    path, file, position = opened
    if call in ("fsync", "fdatasync"):
        if file is None:
            disk.sync_folder(path)
        else:
            file.sync()
    elif file is not None and not path.endswith("-shm"):
        if call == "ftruncate":
            file.pending.append((-1, parts[1].encode()))
        else:
            data = _text(parts[1])[:result]
            file.pending.append((int(parts[3]) if call == "pwrite64" else position, data))
            opened[2] += result if call == "write" else 0


def _check(
    place: Path, state: dict[str, bytes | None], root: str, acknowledged: list[str], moment: int, found: Found
) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name, data in sorted(state.items()):
        path = place / os.path.relpath(name, root)
        if path == place or path.name.endswith(("-shm", ".lock")):
            continue
        if not path.parent.is_dir():
            continue  # the folder itself was lost
        if data is None:
            path.mkdir(exist_ok=True)
        elif not path.is_dir():
            path.write_bytes(data)
    with (
        found.catching("did not open, or take again", moment),
        Repository.open(place, durability="full") as repository,
    ):
        for line in acknowledged:
            number, _, value_hash = line.partition("=")
            with found.catching("lost", f"{moment}: {number}"):
                got = repository.get(value_hash)
                found.check(workflow.same(got, workflow.value(int(number))), "wrong", f"{moment}: {number}")
        for number in range(_BATCHES * 3, _BATCHES * 3 + 3):
            ref = repository.put(workflow.value(number))
            found.check(
                workflow.same(repository.get(ref.value_hash), workflow.value(number)), "wrong", moment
            )


def _write(place: str) -> None:
    """What is told: batches of values, each acknowledged when it is flushed."""
    with Repository.open(place, durability="full") as repository:
        for batch in range(_BATCHES):
            numbers = range(batch * 3, batch * 3 + 3)
            refs = [repository.put(workflow.value(number)) for number in numbers]
            repository.flush()
            said = [f"{number}={ref.value_hash}" for number, ref in zip(numbers, refs, strict=True)]
            os.write(1, f"{' '.join(said)}\n".encode())


if __name__ == "__main__":
    os.mkdir(sys.argv[1])
    _write(sys.argv[1])

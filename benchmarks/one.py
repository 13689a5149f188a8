"""One step of one system: the process that is measured. Started by harness.py.

    python -m benchmarks.one valuestore cold --folder F --jobs 1000

Prints what came of it as JSON; whether that is right is for the starter to say.
"""

from __future__ import annotations

import argparse
import json
import os

from benchmarks import work
from benchmarks.systems import NAMES, System, system_class

STEPS = ("open", "cold", "rerun", "changed", "put", "get")

COUNTER = "ran"
"""File in the folder to which bodies append."""

_KEPT = "kept"
_KEYS = "keys.json"


def take(step: str, system: System, folder: str, jobs: int) -> int | str | None:
    """Take one step and return what came of it: a total, a number of keys, a checksum of values."""
    keys_path = os.path.join(folder, _KEYS)
    match step:
        case "cold" | "rerun":
            return system.fan_out(work.inputs(jobs, changed=False))
        case "changed":
            return system.fan_out(work.inputs(jobs, changed=True))
        case "put":
            keys = system.put(work.values(jobs))
            with open(keys_path, "w", encoding="utf-8") as stream:
                json.dump(keys, stream)
            return len(set(keys))
        case "get":
            with open(keys_path, encoding="utf-8") as stream:
                return work.checksum(system.get(json.load(stream)))
    return None


def main() -> None:
    """Open the system, take the step, close it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("system", choices=NAMES)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--jobs", type=int, default=0)
    arguments = parser.parse_args()
    kept = os.path.join(arguments.folder, _KEPT)
    os.makedirs(kept, exist_ok=True)
    work.open_counter(os.path.join(arguments.folder, COUNTER))
    system = system_class(arguments.system)(kept)
    answer = take(arguments.step, system, arguments.folder, arguments.jobs)
    system.close()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

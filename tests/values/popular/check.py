"""Checks the objects of objects.py here; prints a JSON row of each. Under two hash seeds, they must agree."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from objects import SPECIMENS, Specimen

from valuestore import Repository
from valuestore.errors import ValuestoreError


def checked(specimen: Specimen, registry) -> dict[str, object]:
    """Its hash and codec, and whether round trip and use leave the hash alone; or why it is refused."""
    row: dict[str, object] = {"package": specimen.package, "what": specimen.what}
    obj = specimen.make()
    try:
        encoded = registry.encode(obj)
        row |= {"hash": encoded.value_hash, "codec": encoded.codec}
        payload = encoded.payload
        row["again"] = registry.hash(specimen.make()) == encoded.value_hash
        specimen.use(obj)
        row["use"] = registry.hash(obj) == encoded.value_hash
        back = registry.load(payload, encoded.value_hash)
        row["trip"] = registry.hash(back) == encoded.value_hash
        specimen.use(back)
        row["trip"] = row["trip"] and registry.hash(back) == encoded.value_hash
    except ValuestoreError as error:
        row["refused"] = str(error)
    return row


def main(packages: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        os.chdir(folder)
        with Repository.open() as repository:
            for specimen in SPECIMENS:
                if not packages or specimen.package in packages:
                    try:
                        row = checked(specimen, repository.archive.registry)
                    except Exception as error:  # shown in its row
                        row = {"package": specimen.package, "what": specimen.what, "broken": repr(error)}
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:])

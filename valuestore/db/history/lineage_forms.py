"""Forms of a lineage: nested data for JSON, lines of a tree for people, and OpenLineage events.

OpenLineage: https://openlineage.io/spec/2-0-2/OpenLineage.json. Each call whose body ran is a run of
its own, which starts and completes: its job is the task, its inputs and outputs are datasets, files by
their path and other values by their hash.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from valuestore.db.history.lineage import Lineage, LineageCall, LineageEdge
from valuestore.db.history.records import moment
from valuestore.kinds import shortened

PRODUCER = "https://pypi.org/project/valuestore"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
NAMESPACE = "valuestore"

_LONGEST_PREVIEW = 80


def nested(lineage: Lineage) -> dict[str, Any]:
    """The lineage as JSON-able data: its calls by hash, and the steps between them."""
    return {
        "direction": lineage.direction,
        "root": {"kind": lineage.root.kind, "id": lineage.root.record_id},
        "calls": {call_hash: _call(call) for call_hash, call in lineage.calls.items()},
        "steps": [
            {
                "from_call": edge.from_call,
                "call": edge.call_hash,
                "role": edge.role,
                "argument": _argument_name(lineage, edge),
            }
            for edge in lineage.edges
        ],
        "files": lineage.files(),
        "cursor": lineage.cursor,
    }


def tree(lineage: Lineage) -> Iterator[tuple[int, str]]:
    """Lines with their depth, in order; a call that was shown already is named and not gone into again."""
    steps: dict[str | None, list[LineageEdge]] = {}
    for edge in lineage.edges:
        steps.setdefault(edge.from_call, []).append(edge)
    starts = steps.get(None, [])
    seen: set[str] = set()
    stack = [(0, edge) for edge in reversed(starts)]
    while stack:
        depth, edge = stack.pop()
        call = lineage.calls[edge.call_hash]
        again = edge.call_hash in seen
        yield depth, f"{_how(lineage, edge)}{call.task} = {_result(call)}{'  (see above)' if again else ''}"
        if again:
            continue
        seen.add(edge.call_hash)
        following = steps.get(edge.call_hash, [])
        if lineage.direction == "upstream":
            traced = {step.position for step in following if step.role != "child"}
            for given in call.inputs:
                if given.position not in traced:
                    shown = given.path or shortened(given.preview or given.value_hash, _LONGEST_PREVIEW)
                    yield depth + 1, f"{given.name}: {shown}"
        stack += [(depth + 1, step) for step in reversed(following)]


def openlineage(lineage: Lineage) -> list[dict[str, Any]]:
    """A START and a COMPLETE event for each call whose body ran, in the order of their times."""
    events = []
    for call in lineage.calls.values():
        if call.job_id is not None and call.started is not None and call.ended is not None:
            events.append((call.started, 0, _event(call, "START", call.started)))
            events.append((call.ended, 1, _event(call, "COMPLETE", call.ended)))
    return [event for _, _, event in sorted(events, key=lambda each: each[:2])]


def _event(call: LineageCall, kind: str, when: int) -> dict[str, Any]:
    inputs = {_dataset_name(each.path, each.value_hash): each.type_name for each in call.inputs}
    return {
        "eventType": kind,
        "eventTime": moment(when).isoformat(),
        "run": {"runId": str(uuid.UUID(call.job_id))},
        "job": {"namespace": NAMESPACE, "name": call.task},
        "inputs": [_dataset(name, kind) for name, kind in inputs.items()],
        "outputs": [_dataset(_dataset_name(call.path, call.value_hash), call.type_name)],
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
    }


def _dataset_name(path: str | None, value_hash: str) -> tuple[str, str]:
    """Namespace and name: where a file is, by the naming rules of OpenLineage, else the value's hash."""
    if path is None:
        return NAMESPACE, value_hash
    scheme, separator, rest = path.partition("://")
    if not separator:
        return "file", path
    host, _, name = rest.partition("/")
    return f"{scheme}://{host}", name or "/"


def _dataset(name: tuple[str, str], type_name: str | None) -> dict[str, Any]:
    facet = {
        "_producer": PRODUCER,
        "_schemaURL": "https://openlineage.io/spec/facets/1-0-0/DatasetTypeDatasetFacet.json",
        "datasetType": type_name or "unknown",
    }
    return {"namespace": name[0], "name": name[1], "facets": {"datasetType": facet}}


def _call(call: LineageCall) -> dict[str, Any]:
    return {
        "task": call.task,
        "depth": call.depth,
        "value_hash": call.value_hash,
        "type": call.type_name,
        "result": call.preview,
        "path": call.path,
        "job_id": call.job_id,
        "inputs": [
            {
                "name": each.name,
                "value_hash": each.value_hash,
                "type": each.type_name,
                "value": each.preview,
                "path": each.path,
            }
            for each in call.inputs
        ],
    }


def _how(lineage: Lineage, edge: LineageEdge) -> str:
    if edge.role == "result":
        return ""
    if edge.role == "child":
        return "called: " if lineage.direction == "upstream" else "called by: "
    name = _argument_name(lineage, edge)
    into = f"{name} of " if lineage.direction == "downstream" else f"{name}: "
    return into if name else ""


def _argument_name(lineage: Lineage, edge: LineageEdge) -> str | None:
    """Upstream, the parameter of the call we come from; downstream, of the one we come to."""
    if edge.role in ("result", "child"):
        return None
    consumer = edge.from_call if lineage.direction == "upstream" else edge.call_hash
    call = lineage.calls.get(consumer) if consumer else None
    names = [each.name for each in call.inputs if each.position == edge.position] if call else []
    return names[0] if names else None


def _result(call: LineageCall) -> str:
    return call.path or shortened(call.preview or call.value_hash, _LONGEST_PREVIEW)

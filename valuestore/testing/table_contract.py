"""What every table keeps: TableContract, fact by fact, and TableMachine, against a list of dicts.

Subclass both for a table of your own::

    class TestMyTable(TableContract):
        @pytest.fixture
        def make_table(self):
            return lambda name="t", **declared: MyTable(name, **declared)

    class MyMachine(TableMachine):
        def open_table(self, **declared):
            return MyTable("t", **declared)

    TestMyMachine = MyMachine.TestCase
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import inf, nextafter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from valuestore.errors import NotFound
from valuestore.tables import Bytes, Interval, String, Table, UInt8
from valuestore.tables.table import Asked, Guard

SCORES = (-inf, -1e308, -2.5, -1, 0, 0.1, 1, 2, 2**53, 2**53 + 1, float(2**60), 2**60 + 1, 10**400, inf)
"""Among them such as a float does not hold."""
DECLARED: dict[str, Any] = {
    "key": "id",
    "codecs": {"id": UInt8(), "score": UInt8(), "text": String()},
    "indexes": {"id": lambda row: row["id"], "score": lambda row: SCORES[row["score"]]},
}
"""A table whose rows have the score of that number."""


def row(number: int, score: float = 0, text: str = "") -> dict[str, Any]:
    return {"id": number, "score": SCORES.index(score), "text": text}


def ids(rows: Any) -> list[int]:
    return [each["id"] for each in rows]


class _Stop(Exception):
    """Ends a batch."""


class TableContract:
    """What a table has to see to itself. ``make_table(name="t", **declared)`` opens one, again and again."""

    @pytest.fixture
    def table(self, make_table: Callable[..., Table[Any]]) -> Any:
        return make_table(**DECLARED)

    def test_what_was_put_is_found_once_by_each_index(self, table: Table[Any]) -> None:
        table.put(row(1, 2, "one"))
        table.put_many([row(2, 0), row(3, 1)])
        assert table.get(1) == row(1, 2, "one")
        assert list(table.find("id", Interval.at(1))) == [row(1, 2, "one")]
        assert ids(table.find("id", Interval())) == [1, 2, 3]
        assert ids(table.find("score", Interval())) == [2, 3, 1]
        assert table.count("score", Interval(1)) == 2
        with pytest.raises(NotFound):
            table.get(4)

    def test_a_put_takes_the_place_of_the_row_and_of_its_scores(self, table: Table[Any]) -> None:
        table.put_many([row(1, 0), row(2, 0), row(1, 1, "new")])
        table.put(row(1, 2, "newer"))
        assert ids(table.find("score", Interval(0, 2))) == [2]
        assert list(table.find("score", Interval.at(2))) == [row(1, 2, "newer")]
        assert table.count("id", Interval()) == table.count("score", Interval()) == 2

    def test_intervals_have_their_lower_end_and_not_their_upper_one(self, table: Table[Any]) -> None:
        table.put_many(row(number, score) for number, score in enumerate((-1, 0, 0.1, 1, 2, -inf, inf)))
        assert ids(table.find("score", Interval(-1, 1))) == [0, 1, 2]
        assert ids(table.find("score", Interval(1), Interval(-inf, 0))) == [5, 0, 3, 4, 6]
        assert ids(table.find("score", Interval.at(0.0), Interval.at(0.1))) == [1, 2]
        assert ids(table.find("score", Interval.at(0.1), Interval.at(-inf), Interval.at(inf))) == [5, 2, 6]
        assert ids(table.find("score", Interval(0, 1), Interval(1, 2))) == [1, 2, 3]
        assert list(table.find("score")) == list(table.find("score", Interval(5, 5))) == []

    def test_scores_that_no_float_holds_are_told_apart(self, table: Table[Any]) -> None:
        big = (2**60 + 1, 10**400, 2**53 + 1, 2**53, float(2**60))
        table.put_many(row(number, score) for number, score in enumerate(big))
        assert ids(table.find("score", Interval())) == [3, 2, 4, 0, 1]
        assert ids(table.find("score", Interval(), limit=1)) == [3]
        assert ids(table.find("score", Interval(), reverse=True, limit=2)) == [1, 0]
        assert ids(table.find("score", Interval.at(2**53 + 1))) == [2]
        assert ids(table.find("score", Interval(2**60 + 1))) == [0, 1]
        assert table.count("score", Interval(2**53, 2**53 + 1)) == 1
        assert ids(table.delete("score", Interval.at(2**60 + 1))) == [0]
        assert ids(table.find("id", Interval())) == [1, 2, 3, 4]

    def test_what_is_found_is_as_it_was_at_the_call(self, table: Table[Any]) -> None:
        table.put_many([row(1), row(2)])
        found = table.find("id", Interval())
        table.clear()
        assert ids(found) == [1, 2]

    def test_attributes_may_be_large_and_keys_empty(self, make_table: Any) -> None:
        table = make_table(
            key="k", codecs={"k": Bytes(), "v": Bytes()}, indexes={"n": lambda row: len(row["v"])}
        )
        table.put_many({"k": bytes(size % 7), "v": bytes(size)} for size in (0, 65535, 65536, 3 << 20))
        assert [len(each["v"]) for each in table.find("n", Interval())] == [0, 65535, 65536, 3 << 20]
        assert table.get(b"") == {"k": b"", "v": b""}

    def test_deleted_rows_are_gone_when_it_returns(self, table: Table[Any]) -> None:
        table.put_many(row(number, number % 3) for number in range(9))
        assert ids(table.delete("score", Interval.at(0), Interval.at(2))) == [0, 3, 6, 2, 5, 8]
        assert ids(table.delete("id", Interval(4), where=lambda each: each["id"] == 7)) == [7]
        assert table.delete_keys([1, 1, 2, 200]) == 1
        assert ids(table.find("score", Interval())) == ids(table.find("id", Interval())) == [4]
        assert table.delete("score") == []

    def test_a_row_that_changed_while_it_was_looked_at_stays(self, table: Table[Any]) -> None:
        table.put_many([row(1), row(2)])

        def change(_: Any) -> bool:
            table.put(row(1, text="changed"))
            return True

        assert ids(table.delete("id", Interval(), where=change)) == [2]
        assert list(table.find("id", Interval())) == [row(1, text="changed")]

    def test_a_batch_is_seen_at_its_end_in_its_order(self, table: Table[Any]) -> None:
        table.put_many([row(1, 1), row(2, 1), row(3, 2), row(4, 2)])
        with table.batch() as batch:
            batch.put(row(5, 1))
            batch.delete("score", Interval.at(1))
            batch.put(row(1, 1, "again"))
            batch.delete("score", Interval(), where=lambda each: each["id"] in (1, 2, 3) and not each["text"])
            batch.delete_keys([4, 6])
            batch.put(row(6))
            assert ids(table.find("id", Interval())) == [1, 2, 3, 4]
            table.put(row(7))
        assert list(table.find("id", Interval())) == [row(1, 1, "again"), row(6), row(7)]
        with pytest.raises(ValueError):
            batch.put(row(8))

    def test_a_batch_whose_block_raises_leaves_nothing(self, table: Table[Any]) -> None:
        table.put(row(1))
        with pytest.raises(_Stop), table.batch() as batch:
            batch.put(row(2))
            batch.delete("id", Interval())
            raise _Stop
        bads: tuple[Callable[[Any], object], ...] = (
            lambda batch: batch.put({}),
            lambda batch: batch.delete("no"),
            lambda batch: batch.delete_keys(["x"]),
        )
        for bad in bads:
            with pytest.raises(ValueError), table.batch() as batch:
                batch.put(row(2))
                bad(batch)
        assert list(table.find("id", Interval())) == [row(1)]

    def test_a_guard_and_a_lease_decide(self, table: Table[Any]) -> None:
        epoch, text = table.known()
        steps = [table.schema.encode(row(1))]
        assert text == ""
        assert table.change(steps, guard=Guard("epoch", epoch + "x", "no")) is None
        assert table.change(steps, guard=Guard("epoch", epoch, "no", "mine")) is None
        assert table.lease("mine", 60)
        assert not table.lease("yours", 60)
        assert table.change(steps, guard=Guard("epoch", epoch, "no", "yours")) is None
        assert table.count("id", Interval()) == 0
        assert table.known() == (epoch, "")
        assert table.change(steps, guard=Guard("epoch", epoch, "yes", "mine")) is not None
        assert table.known()[1] == "yes"
        epoch = table.known()[0]
        assert table.rows(Asked("id", (Interval(),), epoch=epoch)) == [steps[0].data]
        assert table.rows(Asked("id", (Interval(),), epoch=epoch + "x")) is None
        assert table.lease("mine", 0)
        assert table.lease("yours", 0)

    def test_tables_of_other_names_are_other_tables(self, make_table: Any) -> None:
        one, other = make_table("one", **DECLARED), make_table("o{n}e", **DECLARED)
        one.put(row(1))
        other.put(row(2))
        one.clear()
        assert list(one.find("id", Interval())) == []
        assert ids(other.find("id", Interval())) == [2]


_ROWS = st.builds(row, st.integers(0, 5), st.sampled_from(SCORES), st.sampled_from("ab"))
_ENDS = st.sampled_from([*SCORES, 3, nextafter(0.1, 1), 2**60])
_INTERVALS = st.lists(st.tuples(_ENDS, _ENDS).map(lambda ends: Interval(*sorted(ends))), max_size=3).filter(
    lambda found: not any(a.intersects(b) for at, a in enumerate(found) for b in found[at + 1 :])
)
_WHERE = st.sampled_from([None, lambda each: each["text"] == "a", lambda each: each["id"] % 2])
_CHANGES = st.one_of(
    st.tuples(st.just("put"), _ROWS),
    st.tuples(st.just("delete"), st.sampled_from(["id", "score"]), _INTERVALS, _WHERE),
    st.tuples(st.just("delete_keys"), st.lists(st.integers(0, 6), max_size=3)),
)


class TableMachine(RuleBasedStateMachine):
    """Random work on a table, compared with a list of dicts. Override ``open_table``."""

    def open_table(self, **declared: Any) -> Table[Any]:
        """The empty table of this run."""
        raise NotImplementedError("override open_table")

    @initialize()
    def begin(self) -> None:
        self.table = self.open_table(**DECLARED)
        self.expected: list[dict[str, Any]] = []

    @rule(change=_CHANGES)
    def change(self, change: Any) -> None:
        before = len(self.expected)
        gone = self.expect(change)
        found = self.make(self.table, change)
        if change[0] == "delete":
            assert sorted(ids(found)) == sorted(ids(gone))
        elif change[0] == "delete_keys":
            assert found == before - len(self.expected)

    @rule(changes=st.lists(_CHANGES, max_size=6), fails=st.booleans())
    def batch(self, changes: Any, fails: bool) -> None:
        try:
            with self.table.batch() as batch:
                for change in changes:
                    self.make(batch, change)
                if fails:
                    raise _Stop
        except _Stop:
            return
        for change in changes:
            self.expect(change)

    @rule(rows=st.lists(_ROWS, max_size=80))
    def put_many(self, rows: Any) -> None:
        self.table.put_many(rows)
        for each in rows:
            self.expect(("put", each))

    @rule()
    def reindex(self) -> None:
        self.table.reindex()

    @rule(
        index=st.sampled_from(["id", "score"]),
        intervals=_INTERVALS,
        where=_WHERE,
        limit=st.none() | st.integers(0, 4),
        reverse=st.booleans(),
    )
    def find(self, index: str, intervals: Any, where: Any, limit: int | None, reverse: bool) -> None:
        meant = self.meant(index, intervals, None)
        assert self.table.count(index, *intervals) == len(meant)
        score = DECLARED["indexes"][index]
        meant.sort(key=lambda each: (score(each), each["id"]), reverse=reverse)
        chosen = [each for each in meant if where is None or where(each)][:limit]
        found = self.table.find(index, *intervals, where=where, limit=limit, reverse=reverse)
        assert list(found) == chosen

    @invariant()
    def has_what_is_expected(self) -> None:
        if hasattr(self, "table"):
            assert list(self.table.find("id", Interval())) == sorted(
                self.expected, key=operator.itemgetter("id")
            )

    def teardown(self) -> None:
        if hasattr(self, "table"):
            self.table.clear()
            self.table.close()

    def make(self, on: Any, change: Any) -> Any:
        verb, *arguments = change
        if verb == "delete":
            return on.delete(arguments[0], *arguments[1], where=arguments[2])
        return getattr(on, verb)(*arguments)

    def meant(self, index: str, intervals: Any, where: Any) -> list[dict[str, Any]]:
        """The rows that are expected there."""
        score = DECLARED["indexes"][index]
        return [
            each
            for each in self.expected
            if any(one.ge <= score(each) and (score(each) < one.lt or one.lt == inf) for one in intervals)
            if where is None or where(each)
        ]

    def expect(self, change: Any) -> list[dict[str, Any]]:
        """Make it on the list of dicts; those that are deleted."""
        verb, *arguments = change
        if verb == "put":
            gone = [each for each in self.expected if each["id"] == arguments[0]["id"]]
        elif verb == "delete":
            gone = self.meant(*arguments)
        else:
            gone = [each for each in self.expected if each["id"] in arguments[0]]
        self.expected = [each for each in self.expected if each not in gone]
        self.expected += arguments if verb == "put" else []
        return gone

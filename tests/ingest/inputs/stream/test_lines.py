"""Messages as lines: each offset of a part on its line, whatever is missing between the messages."""

from __future__ import annotations

import tempfile
from contextlib import closing
from itertools import accumulate
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.inputs.stream.lines import LONGEST_GAP, MessageSpool
from ingest.inputs.stream.messages import Message, Run
from tests.support.examples import examples

STEPS = st.sampled_from([1, 1, 1, 2, 5, LONGEST_GAP + 1, LONGEST_GAP + 2])
RUNS = st.lists(st.tuples(st.integers(0, 1), st.lists(STEPS, min_size=1, max_size=6)), max_size=8)


def make_run(partition: int, offsets: list[int]) -> Run:
    """Messages whose values are their offsets."""

    def get(index: int) -> Message:
        return Message(partition, offsets[index], None, b"%d" % offsets[index], None, ())

    return Run(partition, offsets, [b"%d" % offset for offset in offsets], get)


@given(RUNS)
@settings(max_examples=examples(100))
def test_a_message_stands_on_the_line_of_its_offset(steps: list[tuple[int, list[int]]]) -> None:
    last = {0: 100, 1: 7}
    sent: dict[int, list[int]] = {0: [], 1: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(MessageSpool(Path(folder), "t", lambda run: [value or b"" for value in run.values])) as spool,
    ):
        for partition, some in steps:
            offsets = list(accumulate(some, initial=last[partition]))[1:]
            spool.take(make_run(partition, offsets))
            last[partition] = offsets[-1]
            sent[partition] += offsets
        found: dict[int, list[int]] = {0: [], 1: []}
        size = 0
        for part in spool.read():
            partition, start = map(int, part.name.removeprefix("t/").split("@"))
            content = b"".join(part.chunks)
            size += len(content)
            for offset, line in enumerate(content.splitlines(), start):
                assert line in (b"", b"%d" % offset)
                found[partition] += [offset] if line else []
        assert (found, spool.size) == (sent, size)
        assert spool.next == {partition: offsets[-1] + 1 for partition, offsets in sent.items() if offsets}


def test_a_run_ends_before_an_offset() -> None:
    run = make_run(0, [3, 4, 9])
    assert [list(run.until(end).offsets) for end in (3, 4, 9, 10)] == [[], [3], [3, 4], [3, 4, 9]]
    assert run.gaps(3) == [(2, 4)]
    assert run.gaps(1) == [(0, 2), (2, 4)]

"""The trie holds the items' rows and nothing else, in little memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.errors import SimenvError  # noqa: E402
from simenv.recommenders.generative.trie import ItemTrie  # noqa: E402

ROWS = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), max_size=30)


def padded(rows: list[list[int]]) -> np.ndarray:
    """Return rows of any lengths as an array."""
    width = max(map(len, rows), default=0)
    return np.array([row + [-1] * (width - len(row)) for row in rows], dtype=np.int64).reshape(len(rows), width)


def written(trie: ItemTrie) -> dict[tuple[int, ...], list[int]]:
    """Return the items at each row that the trie holds, by walking it."""
    told = {}
    paths = {0: ()}
    for node in range(trie.size):
        begin, count = (int(one) for one in trie.children(torch.tensor(node)))
        for child in range(begin, begin + count):
            paths[child] = (*paths[node], int(trie.token(torch.tensor(child), len(paths[node]) + 1)))
            assert int(trie.parents(torch.tensor([child]))) == node
        begin, count = (int(one) for one in trie.own(torch.tensor(node)))
        if count:
            told[paths[node]] = trie.order[begin : begin + count].tolist()
    assert len(paths) == trie.size
    return told


@given(ROWS)
def test_a_walk_finds_the_items_and_no_others(rows):
    wanted: dict[tuple[int, ...], list[int]] = {}
    for item, row in enumerate(rows):
        wanted.setdefault(tuple(row), []).append(item)
    assert written(ItemTrie.of(padded(rows))) == wanted


@given(ROWS, ROWS)
def test_a_row_is_found_if_it_is_an_item(rows, others):
    trie, asked = ItemTrie.of(padded(rows)), padded(rows + others)
    nodes = trie.find(torch.from_numpy(asked))
    assert torch.equal(nodes[: len(rows)], trie.nodes.long())
    ends = trie.own(nodes.clamp(min=0))[1] * (nodes >= 0) > 0
    assert ends.tolist() == [row in rows for row in rows + others]


def test_a_million_items_take_less_than_twenty_bytes_each():
    rows = np.random.default_rng(0).integers(0, 256, (1_000_000, 4)) + 256 * np.arange(4)
    trie = ItemTrie.of(rows, vocabulary=1024)
    assert trie.bytes <= 20 * len(trie)
    assert torch.equal(trie.find(torch.from_numpy(rows[:1000])), trie.nodes[:1000].long())


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([[1.5]], "whole numbers"),
        ([1, 2], "whole numbers"),
        ([[-1, 3]], "after the last"),
        ([[-1, -1]], "at least one"),
        ([[-2, -2]], "at least one"),
        ([[3, 9]], "the model knows 9"),
    ],
)
def test_rows_that_are_none_are_refused(rows, fault):
    with pytest.raises(SimenvError, match=fault):
        ItemTrie.of(np.array(rows), vocabulary=9)

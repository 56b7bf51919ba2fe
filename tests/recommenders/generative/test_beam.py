"""The decoder tells items alone, each once; with a beam for each it tells what going through them all would."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.errors import SimenvError  # noqa: E402
from simenv.language.llama import Llama, Shape  # noqa: E402
from simenv.recommenders.generative.beam import beam  # noqa: E402
from simenv.recommenders.generative.scoring import score_all  # noqa: E402
from simenv.recommenders.generative.trie import ItemTrie  # noqa: E402

VOCABULARY = 12


def small_model(seed: int = 0) -> Llama:
    torch.manual_seed(seed)
    model = Llama(Shape(VOCABULARY, dimensions=16, layers=2, heads=2, context=32)).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.5 * torch.randn_like(weight)
    return model


MODEL = small_model()
SOME_ROWS = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=20)
HOW = st.fixed_dictionaries(
    {
        "normalise": st.sampled_from(["vocabulary", "level", "children"]),
        "forced": st.sampled_from(["count", "skip"]),
        "alpha": st.sampled_from([1.0, 0.7]),
    }
)
QUICK = settings(max_examples=40, deadline=None)


def padded(rows: list[list[int]]) -> np.ndarray:
    width = max(map(len, rows), default=0)
    return np.array([row + [-1] * (width - len(row)) for row in rows], dtype=np.int64).reshape(len(rows), width)


def prompts(count: int, length: int = 6) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(1))


def ragged(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.cumsum([0, *map(len, lists)]), np.array([item for some in lists for item in some], dtype=np.int64)


def plainly(
    model: Llama,
    prompt: torch.Tensor,
    rows: list[list[int]],
    items: list[int],
    *,
    normalise: str,
    forced: str,
    alpha: float,
    logits: np.ndarray,
) -> dict[int, float]:
    """Return each item's score among some, by reading each whole and counting on fingers."""
    chances = np.exp(logits - logits.max())
    level_tokens = [[row[level] for row in rows if len(row) > level] for level in range(4)]
    told = {}
    for item in items:
        row, score = rows[item], 0.0
        with torch.no_grad():
            read = model.scores(model(torch.cat([prompt, torch.tensor(row)])[None]))[0, len(prompt) - 1 :]
        for level, token in enumerate(row):
            beside = [one for one in items if rows[one][:level] == row[:level] and len(rows[one]) > level]
            children = {rows[one][level] for one in beside}
            group: list[int] = list(range(VOCABULARY))
            if normalise == "level":
                group = list(range(min(level_tokens[level]), max(level_tokens[level]) + 1))
            if normalise == "children":
                group = sorted(children)
            if forced == "skip" and len(children) == 1:
                continue
            above = [one for one in items if rows[one][:level] == row[:level]]
            below = [one for one in above if rows[one][: level + 1] == row[: level + 1]]
            mine = float(read[level, token] - read[level, group].logsumexp(0))
            theirs = math.log(sum(chances[one] for one in below) / sum(chances[one] for one in above))
            score += alpha * mine + (1 - alpha) * theirs
        told[item] = score
    return told


@QUICK
@given(SOME_ROWS, HOW, st.lists(st.lists(st.integers(0, 19), max_size=19), min_size=2, max_size=2), st.booleans())
def test_a_beam_for_each_item_is_going_through_all_that_are_open(rows, how, lists, only):
    trie, asked = ItemTrie.of(padded(rows)), prompts(2)
    logits = np.random.default_rng(0).normal(size=(2, len(rows)))
    lists = [[item for item in some if item < len(rows)] for some in lists]
    told: dict[str, object] = {"exclude": ragged(lists)}
    if only:
        told = {"candidates": padded([[*some, -1] for some in lists])}
    found = beam(MODEL, asked, trie, len(rows), assistant=logits, **told, **how)
    for user, some in enumerate(lists):
        items = [item for item in range(len(rows)) if (item in some) == only]
        wanted = plainly(MODEL, asked[user], rows, items, logits=logits[user], **how)
        best = sorted(items, key=lambda item: (-round(wanted[item], 9), item))
        count = len(items)
        assert found.items[user].tolist() == best + [-1] * (len(rows) - count)
        np.testing.assert_allclose(found.scores[user, :count], [wanted[item] for item in best], atol=1e-9)
        assert (found.scores[user, count:] == -torch.inf).all()


@QUICK
@given(SOME_ROWS, st.sampled_from(["vocabulary", "level", "children"]))
def test_all_are_scored_at_once_as_by_beams(rows, normalise):
    trie, asked = ItemTrie.of(padded(rows)), prompts(2)
    found = beam(MODEL, asked, trie, len(rows), normalise=normalise)
    scores = score_all(MODEL, asked, trie, normalise=normalise)
    torch.testing.assert_close(found.scores, scores.gather(1, found.items), atol=1e-9, rtol=0)


def test_all_are_scored_in_pieces_as_at_once(monkeypatch):
    rows = np.random.default_rng(0).integers(0, 4, (60, 3)) + np.array([0, 4, 8])
    trie, asked, lengths = ItemTrie.of(rows), prompts(3, 9), torch.tensor([9, 2, 5])
    whole = score_all(MODEL, asked, trie, lengths=lengths)
    monkeypatch.setattr("simenv.recommenders.generative.scoring.LOGITS", 10 * 3 * VOCABULARY * 3)
    torch.testing.assert_close(score_all(MODEL, asked, trie, lengths=lengths), whole)
    torch.testing.assert_close(score_all(MODEL, asked[1:2, :2], trie)[0], whole[1])


@QUICK
@given(
    SOME_ROWS,
    st.integers(1, 6),
    HOW,
    st.lists(st.lists(st.integers(0, 19), max_size=19), min_size=2, max_size=2),
    st.booleans(),
)
def test_no_item_comes_twice_or_though_it_is_closed(rows, width, how, lists, drawn):
    trie = ItemTrie.of(padded(rows))
    lists = [[item for item in some if item < len(rows)] for some in lists]
    luck = np.arange(2, dtype=np.uint64) if drawn else None
    found = beam(MODEL, prompts(2), trie, width, exclude=ragged(lists), luck=luck, **how).items
    for user, some in enumerate(lists):
        items = [item for item in found[user].tolist() if item != -1]
        assert len(set(items)) == len(items)
        assert not set(items) & set(some)
        assert len(items) == min(width, len(rows) - len(set(some)))


@QUICK
@given(SOME_ROWS, st.integers(1, 5), st.sets(st.integers(0, 19)))
def test_what_is_closed_is_as_if_it_were_not_in_the_trie(rows, width, closed):
    kept = [item for item in range(len(rows)) if item not in closed]
    asked, told = prompts(1), ragged([[item for item in closed if item < len(rows)]])
    found = beam(MODEL, asked, ItemTrie.of(padded(rows)), width, exclude=told)
    if kept:
        fewer = beam(MODEL, asked, ItemTrie.of(padded([rows[item] for item in kept])), width)
        assert found.items.tolist() == [[kept[item] if item != -1 else -1 for item in fewer.items[0].tolist()]]
        torch.testing.assert_close(found.scores, fewer.scores)
    else:
        assert (found.items == -1).all()


def test_items_alike_come_in_the_order_of_their_number_or_of_a_prior():
    trie = ItemTrie.of(np.array([[1, 2], [1, 3], [1, 2], [1, 2]]))
    numbers = beam(MODEL, prompts(1), trie, 4, candidates=np.array([[0, 2, 3]])).items
    assert numbers.tolist() == [[0, 2, 3, -1]]
    prior = np.array([0.1, 9.0, 0.3, 0.2])
    assert beam(MODEL, prompts(1), trie, 4, candidates=np.array([[0, 2, 3]]), prior=prior).items.tolist() == [
        [2, 3, 0, -1]
    ]


def test_equals_come_in_the_order_of_their_number():
    model = small_model()
    with torch.no_grad():
        model.table.weight.zero_()  # every token is as likely as any other
    rows = np.random.default_rng(0).permutation(25)
    trie = ItemTrie.of(np.stack([rows // 5, 5 + rows % 5], axis=1))
    assert beam(model, prompts(1), trie, 25).items.tolist() == [list(range(25))]


@pytest.mark.parametrize("wide", [3, 50])
def test_a_prompt_is_read_alike_alone_and_beside_longer_ones(wide):
    rows = np.random.default_rng(0).integers(0, 4, (50, 3)) + np.array([0, 4, 8])
    trie, asked, lengths = ItemTrie.of(rows), prompts(4, 9), torch.tensor([9, 2, 5, 1])
    together = beam(MODEL, asked, trie, wide, lengths=lengths)
    for user, length in enumerate(lengths.tolist()):
        alone = beam(MODEL, asked[user : user + 1, :length], trie, wide)
        assert torch.equal(alone.items[0], together.items[user])
        torch.testing.assert_close(alone.scores[0], together.scores[user])


def test_a_model_that_is_being_taught_leaves_nothing_to_chance():
    model = Llama(Shape(VOCABULARY, dimensions=16, layers=1, heads=2), dropout=0.5).train()
    trie = ItemTrie.of(np.array([[1, 2], [3, 4]]))
    told = [beam(model, prompts(1), trie, 2).scores for _ in range(2)]
    assert torch.equal(*told)
    assert model.training


@pytest.mark.parametrize("rows", [0, 3])
def test_nobody_and_nothing_are_no_trouble(rows):
    empty = ItemTrie.of(np.zeros((0, 3), dtype=np.int64))
    assert beam(MODEL, prompts(rows), empty, 2).items.tolist() == [[-1, -1]] * rows
    trie = ItemTrie.of(np.array([[1, 2]]))
    assert beam(MODEL, prompts(rows), trie, 2).items.tolist() == [[0, -1]] * rows


def test_a_trie_of_another_vocabulary_is_refused():
    with pytest.raises(SimenvError, match="has the token 12; the model knows 12"):
        beam(MODEL, prompts(1), ItemTrie.of(np.array([[12]])), 2)

"""Items are drawn by each user's own luck, as likely as the model makes them, and a scorer keeps the best."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.chance import key, mix  # noqa: E402
from simenv.errors import SimenvError  # noqa: E402
from simenv.language.llama import Llama, Shape  # noqa: E402
from simenv.recommenders.generative.beam import beam  # noqa: E402
from simenv.recommenders.generative.best_of import best_of  # noqa: E402
from simenv.recommenders.generative.scoring import score_all  # noqa: E402
from simenv.recommenders.generative.trie import ItemTrie  # noqa: E402

TRIE = ItemTrie.of(np.array([[1, 5], [1, 6], [2, 5], [2, 7], [3, 7], [4, -1]]))
DRAWS = 4000


def small_model() -> Llama:
    torch.manual_seed(1)
    model = Llama(Shape(12, dimensions=16, layers=1, heads=2, context=32)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return model


MODEL = small_model()
PROMPT = torch.tensor([[3, 1, 4]])


def luck(users: int, seed: int = 0) -> np.ndarray:
    return mix(key(seed, "draw"), np.arange(users))


def test_the_first_and_the_next_are_drawn_as_likely_as_they_are():
    chances = score_all(MODEL, PROMPT, TRIE, normalise="children")[0].exp().numpy()
    found = beam(MODEL, PROMPT.expand(DRAWS, -1), TRIE, 2, luck=luck(DRAWS)).items.numpy()
    first = np.bincount(found[:, 0], minlength=6) / DRAWS
    np.testing.assert_allclose(first, chances, atol=4 * np.sqrt(0.25 / DRAWS))
    both = chances[:, None] * chances / (1 - chances[:, None])  # of any other, once the first is gone
    next_ = (both - np.diag(np.diag(both))).sum(axis=0)
    np.testing.assert_allclose(np.bincount(found[:, 1], minlength=6) / DRAWS, next_, atol=4 * np.sqrt(0.25 / DRAWS))


def test_the_score_of_a_draw_is_how_likely_it_is():
    found = beam(MODEL, PROMPT, TRIE, 6, luck=luck(1))
    wanted = score_all(MODEL, PROMPT, TRIE, normalise="children")[0][found.items[0]]
    torch.testing.assert_close(found.scores[0].float(), wanted, atol=1e-5, rtol=0)


def test_a_cold_draw_is_the_most_likely_child_of_each_node():
    found = beam(MODEL, PROMPT.expand(50, -1), TRIE, 1, luck=luck(50), temperature=1e-4).items
    assert len(set(found[:, 0].tolist())) == 1


def test_luck_is_a_users_own():
    prompts = torch.randint(0, 12, (5, 6), generator=torch.Generator().manual_seed(0))
    together = beam(MODEL, prompts, TRIE, 4, luck=luck(5)).items
    for user in range(5):
        alone = beam(MODEL, prompts[user : user + 1], TRIE, 4, luck=luck(5)[user : user + 1]).items
        assert torch.equal(alone[0], together[user])
    assert not torch.equal(beam(MODEL, prompts, TRIE, 4, luck=luck(5, seed=1)).items, together)


def test_of_the_drawn_the_scorer_keeps_the_best():
    found = best_of(MODEL, PROMPT, TRIE, 3, lambda items: -(items - 3.0).abs(), drawn=10, luck=luck(1))
    assert found.items.tolist() == [[3, 2, 4]]
    assert found.scores.tolist() == [[0.0, -1.0, -1.0]]
    drawn = beam(MODEL, PROMPT, TRIE, 2, luck=luck(1)).items
    few = best_of(MODEL, PROMPT, TRIE, 3, lambda items: items.float(), drawn=2, luck=luck(1))
    assert few.items.tolist() == [[*sorted(drawn[0].tolist(), reverse=True), -1]]


def test_what_the_scorer_cannot_score_is_left_out():
    closed = {"exclude": (np.array([0, 1]), np.array([5]))}
    scorer = lambda items: torch.where(items % 2 == 0, items.float(), torch.nan)  # noqa: E731
    found = best_of(MODEL, PROMPT, TRIE, 4, scorer, drawn=6, luck=luck(1), **closed)
    assert found.items.tolist() == [[4, 2, 0, -1]]
    with pytest.raises(SimenvError, match="the scorer gave scores of shape"):
        best_of(MODEL, PROMPT, TRIE, 4, lambda items: items[0], drawn=6, luck=luck(1))

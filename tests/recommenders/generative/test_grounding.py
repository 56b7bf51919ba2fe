"""What is written freely leads to the nearest items, or to those it names."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.errors import SimenvError  # noqa: E402
from simenv.language.llama import Llama, Shape  # noqa: E402
from simenv.recommenders.generative.beam import beam  # noqa: E402
from simenv.recommenders.generative.grounding import embed, ground, write  # noqa: E402
from simenv.recommenders.generative.trie import ItemTrie  # noqa: E402

END = 0
TABLE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [4.0, 0.0], [2.0, 0.0]])


def small_model(words: int = 6) -> Llama:
    torch.manual_seed(2)
    model = Llama(Shape(words, dimensions=16, layers=2, heads=2, context=32)).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.5 * torch.randn_like(weight)
    return model


MODEL = small_model()


def prompts(rows: int, length: int = 4) -> torch.Tensor:
    return torch.randint(0, 6, (rows, length), generator=torch.Generator().manual_seed(3))


def everything(longest: int) -> list[list[int]]:
    """Return all that can be written: rows that end, and rows as long as they may be."""
    rows, begun = [], [[]]
    for _ in range(longest):
        rows += [[*row, END] for row in begun]
        begun = [[*row, word] for row in begun for word in range(1, 6)]
    return rows + begun


def test_a_beam_for_each_text_finds_all_that_can_be_written():
    rows = everything(3)
    trie = ItemTrie.of(np.array([row + [-1] * (3 - len(row)) for row in rows]))
    asked = prompts(2)
    along = beam(MODEL, asked, trie, len(rows))
    texts = write(MODEL, asked, len(rows), longest=3, ends=END)
    torch.testing.assert_close(texts.scores, along.scores)
    named = [[[word for word in row if word != -1] for row in some] for some in texts.tokens.tolist()]
    assert named == [[rows[item] for item in some] for some in along.items.tolist()]


def test_free_beams_lose_what_is_no_item():
    rows = np.array([[1, 2], [3, 4], [5, 1]])
    wide, few = (beam(MODEL, prompts(3), ItemTrie.of(rows), width, constrained=False) for width in (36, 2))
    held = beam(MODEL, prompts(3), ItemTrie.of(rows), 36)
    assert torch.equal(wide.items, held.items)
    torch.testing.assert_close(wide.scores, held.scores)
    texts = write(MODEL, prompts(3), 2, longest=2).tokens.tolist()
    named = [[row for row in some if row in rows.tolist()] for some in texts]
    assert [[rows[item].tolist() for item in some if item >= 0] for some in few.items.tolist()] == named


def test_closed_items_are_lost_to_free_beams_too():
    closed = (np.array([0, 2]), np.array([0, 2]))
    found = beam(MODEL, prompts(1), ItemTrie.of(np.array([[1], [2], [3]])), 6, constrained=False, exclude=closed)
    assert found.items.tolist() == [[1, -1, -1, -1, -1, -1]]


def test_a_row_has_one_vector_whatever_stands_beside_it():
    rows = np.array([[1, 2, 3, 4], [5, -1, -1, -1], [2, 3, -1, -1]])
    together = embed(MODEL, rows)
    for row, length in enumerate([4, 1, 2]):
        torch.testing.assert_close(together[row], embed(MODEL, rows[row : row + 1, :length])[0])
    with pytest.raises(SimenvError, match="no tokens"):
        embed(MODEL, np.array([[-1]]))


def test_the_nearest_come_first_and_equals_by_their_number():
    found = ground(torch.tensor([[2.4, 0.0]]), TABLE, 6)
    assert found.items.tolist() == [[2, 4, 1, 3, 0, -1]]
    torch.testing.assert_close(found.scores[0, :4], torch.tensor([-0.4, -0.4, -1.4, -1.6]))


def test_what_is_closed_or_no_candidate_never_comes():
    closed = (np.array([0, 2]), np.array([2, 2]))
    assert ground(torch.tensor([[2.4, 0.0]]), TABLE, 3, exclude=closed).items.tolist() == [[4, 1, 3]]
    candidates = np.array([[2, 0, -1]])
    assert ground(TABLE[:1], TABLE, 3, exclude=closed, candidates=candidates).items.tolist() == [[0, -1, -1]]


@pytest.mark.parametrize("gamma", [0.0, 1.0, 10.0])
def test_weights_draw_items_near(gamma):
    weights = np.array([5.0, 1.0, 3.0, 9.0, 2.0])
    far = np.array([2.4, 1.4, 0.4, 1.6, 0.4])
    wanted = (far - 0.4) / 2.0 / (1 + (weights - 1) / 8) ** gamma
    found = ground(torch.tensor([[2.4, 0.0]]), TABLE, 5, weights=weights, gamma=gamma)
    assert found.items.tolist() == [np.lexsort([range(5), np.round(wanted, 6)]).tolist()]
    np.testing.assert_allclose(-found.scores[0], np.sort(wanted), atol=1e-6)

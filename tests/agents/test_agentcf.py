"""AgentCF's loop: texts learnt from pairs raise the ranking, and learn nothing where what was taken is drawn by lot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from simenv.agents.agentcf import START, AgentCF, Mode, Pair, batches
from simenv.agents.items import ItemMemory, contradiction, item_memory
from simenv.agents.meaning import WordWeights
from simenv.arrays import FloatArray, IntArray
from simenv.catalog import Catalog
from simenv.chat.model import Answer, Question
from simenv.chat.scripted import Scripted
from simenv.dataset import Dataset, Users
from simenv.errors import SimenvError
from simenv.interactions import Interactions
from simenv.ranking import by_chance, qualities

KINDS = ("Jazz", "Metal", "Folk", "Opera", "Techno")


def planted() -> tuple[Dataset, IntArray, IntArray]:
    """Twenty users who took five items of one kind; for each ten candidates, the first of his kind."""
    rng = np.random.default_rng(0)
    kinds = np.arange(100) % 5
    catalog = Catalog(
        np.arange(100),
        np.array([f"Record {item}" for item in range(100)], dtype=object),
        tuple((KINDS[kind],) for kind in kinds),
        np.full(100, None, dtype=object),
        np.full(100, np.nan),
    )
    chosen = np.stack([rng.choice(np.flatnonzero(kinds == user % 5), 6, replace=False) for user in range(20)])
    log, _ = Interactions.sort(np.arange(20).repeat(5), chosen[:, :5].reshape(-1), times=np.tile(np.arange(5), 20))
    others = np.stack([rng.choice(np.flatnonzero(kinds != user % 5), 9, replace=False) for user in range(20)])
    return Dataset("planted", catalog, Users(np.arange(20)), log), chosen[:, 5], np.hstack([chosen[:, 5:], others])


def ndcg(ranked: IntArray, wanted: IntArray) -> float:
    return float(qualities(ranked == wanted[:, None], np.ones(len(wanted), int))[:, 1].mean())


def learnt(*, shuffle: bool = False, mode: Mode = "B", model: Scripted | None = None) -> tuple[float, float, AgentCF]:
    """Return the NDCG@10 before and after the loop."""
    data, wanted, candidates = planted()
    users = np.arange(20)
    start = AgentCF(Scripted())
    start.fit(data.only(data.interactions[np.arange(0)]), users)
    agents = AgentCF(model or Scripted())
    agents.fit(data, users, shuffle=shuffle)
    return ndcg(start.rank(users, candidates), wanted), ndcg(agents.rank(users, candidates, mode), wanted), agents


def test_the_loop_raises_the_ranking_above_its_start():
    before, after, agents = learnt()
    assert before < 0.6
    assert after > before + 0.3
    assert np.mean(agents.right[-20:]) > np.mean(agents.right[:20])


def test_where_what_was_taken_is_drawn_by_lot_nothing_is_learnt():
    _, fair, _ = learnt()
    before, after, _ = learnt(shuffle=True)
    assert after - before < 0.5 * (fair - before)


@pytest.mark.parametrize("mode", ["B+R", "B+H"])
def test_earlier_texts_and_the_history_can_stand_in_the_question(mode: Mode):
    class Heard(Scripted):
        texts: list[str] = []  # noqa: RUF012

        async def ask(self, question: Question) -> Answer:
            if question.kind == "rank":
                self.texts.append(question.messages[-1].text)
            return await super().ask(question)

    Heard.texts = []
    _, after, _ = learnt(mode=mode, model=Heard())
    assert after > 0.6
    assert all(("Who you were before" in text) == (mode == "B+R") for text in Heard.texts)
    assert all(("What you took so far" in text) == (mode == "B+H") for text in Heard.texts)


def test_the_true_item_stands_first_in_half_of_the_pairs():
    class Sees(Scripted):
        firsts: list[str] = []  # noqa: RUF012

        def answer(self, question: Question) -> dict[str, Any]:
            if question.kind == "pair":
                self.firsts.append(question.messages[-1].text.partition("A. ")[2].partition("\n")[0])
            return super().answer(question)

    Sees.firsts = []
    data, _, _ = planted()
    agents = AgentCF(Sees(), rounds=1)
    agents.fit(data, np.arange(20))
    own = [
        {f'"Record {item}" [{KINDS[item % 5]}]' for item in data.interactions.items[data.interactions.users == user]}
        for user in range(20)
    ]
    first = [any(text in mine for mine in own) for text in Sees.firsts]
    assert len(first) == 100
    assert 0.3 < np.mean([text in own[place % 20] for place, text in enumerate(Sees.firsts)]) < 0.7


class Answers(Scripted):
    """Is always right, or always wrong, about what was taken; counts what it is asked."""

    def __init__(self, right: bool) -> None:
        super().__init__()
        self.right, self.kinds = right, []

    def answer(self, question: Question) -> dict[str, Any]:
        self.kinds.append(question.kind)
        found = super().answer(question)
        if question.kind == "pair":
            title = question.messages[-1].text.partition('A. "Record ')[2].partition('"')[0]
            first = int(title) % 5 == 0
            found["choice"] = "A" if first == self.right else "B"
        return found


@pytest.mark.parametrize(("right", "pairs", "rewrites"), [(True, 1, 1), (False, 3, 3)])
def test_whoever_is_right_is_confirmed_once_and_whoever_is_wrong_rewritten_every_round(
    right: bool, pairs: int, rewrites: int
):
    """What is left is what the only other user took, of another kind."""
    data, _, _ = planted()
    two = data.only(data.interactions[data.interactions.users < 2])
    model = Answers(right)
    agents = AgentCF(model, rounds=3)
    agents.fit(two, np.array([0]))

    assert agents.right == [right] * 5
    assert model.kinds.count("pair") == pairs * 5
    assert model.kinds.count("rethink") == model.kinds.count("retell") == rewrites * 5


def test_pairs_that_are_asked_together_share_nobody():
    pairs = [Pair(0, 1, 2, 0), Pair(1, 3, 4, 1), Pair(2, 4, 5, 2), Pair(3, 6, 7, 3), Pair(4, 8, 9, 4), Pair(4, 1, 2, 5)]
    cut = batches(pairs, 3)
    assert [pair for some in cut for pair in some] == pairs
    assert [len(some) for some in cut] == [2, 3, 1]


def test_the_texts_are_the_same_in_batches_of_any_size():
    data, _, _ = planted()

    def texts(size: int) -> list[str]:
        agents = AgentCF(Scripted(), batch_size=size)
        agents.fit(data, np.arange(20))
        return [agents.users[user].text for user in range(20)] + [
            agents.items[item].text for item in sorted(agents.items)
        ]

    assert texts(1) == texts(7) == texts(20)


def test_an_items_text_is_bounded_versioned_and_drifts():
    catalog = planted()[0].catalog
    memory, weights = item_memory(catalog, 3), WordWeights(["record for lovers of long songs", "short songs"])
    memory.rewrite("a record for lovers of long songs")
    memory.rewrite("word " * 80)
    assert len(memory.text.split()) == 50
    assert memory.versions == ["", "a record for lovers of long songs"]
    assert memory.drift(weights) == 1.0
    same = ItemMemory("x", (), "long songs", ["long songs"])
    assert same.drift(weights) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Liked by people who like slow evenings.", None),
        ("For lovers of Jazz and of Metal.", None),
        ("This is not Jazz at all.", "'Blue' is Jazz; do not deny it"),
        ("It is a Metal record.", "'Blue' is not Metal; do not claim it"),
    ],
)
def test_an_items_text_may_not_contradict_its_facts(text: str, told: str | None):
    assert contradiction(ItemMemory("Blue", ("Jazz",), ""), text, KINDS) == told


def test_a_drawn_order_scores_what_chance_does():
    """.10 / .295 / .454 for ten candidates, as stands beside the published figures."""
    figures: Sequence[FloatArray] = [by_chance(np.array([1]), np.array([10]), k)[0] for k in (1, 5, 10)]
    assert [round(float(one[1]), 3) for one in figures] == [0.1, 0.295, 0.454]


def test_before_the_first_pair_all_users_are_alike():
    data, _, _ = planted()
    agents = AgentCF(Scripted())
    agents.fit(data.only(data.interactions[np.arange(0)]), np.arange(20))
    assert {user.text for user in agents.users.values()} == {START}


class Repeats(Scripted):
    """Says one and the same to all questions of a kind."""

    def __init__(self, kind: str, says: Any) -> None:
        super().__init__()
        self.kind, self.says = kind, says

    def answer(self, question: Question) -> dict[str, Any]:
        return self.says if question.kind == self.kind else super().answer(question)


def test_a_choice_that_cannot_be_read_neither_confirms_nor_corrects_and_is_counted():
    data, _, _ = planted()
    agents = AgentCF(Repeats("pair", {"choice": "C", "why": ""}), rounds=2, most_failed=1.0)
    agents.fit(data, np.arange(20))

    assert agents.right == [None] * 100
    assert agents.tally.counts == {("pair", "failed"): 200}
    assert {user.text for user in agents.users.values()} == {START}
    assert not any(memory.versions for memory in agents.items.values())


@pytest.mark.parametrize(
    ("kind", "empty"), [("rethink", {"introduction": " "}), ("retell", {"first": "", "second": ""})]
)
def test_who_says_nothing_stays_what_he_was(kind: str, empty: dict[str, str]):
    data, _, _ = planted()
    agents = AgentCF(Repeats(kind, empty))
    agents.fit(data, np.arange(20))

    assert (kind == "rethink") == ({user.text for user in agents.users.values()} == {START})
    assert (kind == "retell") == (not any(memory.versions for memory in agents.items.values()))


def test_who_is_fitted_again_has_forgotten_what_was_learnt_before():
    data, _, _ = planted()
    once, twice = AgentCF(Scripted()), AgentCF(Scripted())
    for agents in (once, twice, twice):
        agents.fit(data, np.arange(20))

    assert twice.right == once.right
    assert {item: memory.text for item, memory in twice.items.items()} == {
        item: memory.text for item, memory in once.items.items()
    }


def test_a_user_who_took_every_item_has_nothing_to_choose_from():
    data, _, _ = planted()
    log, _ = Interactions.sort(np.zeros(100, dtype=int), np.arange(100), times=np.arange(100))
    agents = AgentCF(Scripted())
    agents.fit(data.only(log), np.array([0, 1]))

    assert agents.right == []


@pytest.mark.parametrize("options", [{"rounds": 0}, {"batch_size": "20"}, {"most_failed": float("nan")}])
def test_an_option_that_cannot_be_is_told(options: dict[str, Any]):
    with pytest.raises(SimenvError, match=f"{next(iter(options))} is .*; it must be a"):
        AgentCF(Scripted(), **options)

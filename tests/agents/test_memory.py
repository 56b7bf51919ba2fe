"""Memory: what is recent, important and to the point comes back; the least of all is forgotten."""

import asyncio

import pytest

from simenv.agents.meaning import Meanings, WordWeights
from simenv.agents.memory import Memory, Remembering, told
from simenv.errors import SimenvError

MEANINGS = Meanings(
    WordWeights(["Night Train [Drama]", "Paper Moon [Comedy]", "Iron Sea [War]", "Last Laugh [Comedy]"])
)


def memory(**rules: float) -> Memory:
    return Memory(Remembering(**rules), MEANINGS)  # type: ignore[arg-type]


def recall(whose: Memory, *names: str) -> list:
    return asyncio.run(whose.recall(names))


def texts(records: list) -> list[str]:
    return [record.text for record in records]


def test_few_records_all_come_back_the_oldest_first():
    mine = memory(recall=3)
    for page, text in enumerate(["one", "two", "three"]):
        mine.write(page, "fact", text, 0.5)
    assert texts(recall(mine, "whatever")) == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({"importance": 0.0, "relevance": 0.0}, ["took Last Laugh [Comedy]"]),  # the most recent
        ({"recency": 0.0, "relevance": 0.0}, ["took Iron Sea [War]"]),  # the most important
        ({"recency": 0.0, "importance": 0.0}, ["took Night Train [Drama]"]),  # the most to the point
    ],
)
def test_each_part_of_the_score_counts(rules: dict, wanted: list[str]):
    mine = memory(recall=1, **rules)
    mine.write(0, "fact", "took Night Train [Drama]", 0.5)
    mine.write(1, "fact", "took Iron Sea [War]", 0.9)
    mine.write(2, "fact", "took Last Laugh [Comedy]", 0.1)

    assert texts(recall(mine, "a train through the night: drama")) == wanted


def test_beyond_its_capacity_the_least_is_forgotten():
    mine = memory(capacity=2)
    mine.write(0, "fact", "old and dull", 0.1)
    mine.write(0, "fact", "old and grand", 0.9)
    mine.write(1, "fact", "new", 0.3)
    assert texts(mine.records) == ["old and grand", "new"]
    assert mine.written == 3


def test_enough_news_asks_for_a_reflection_and_a_belief_settles_it():
    mine = memory(reflect_after=1.0)
    mine.write(0, "fact", "one", 0.6)
    assert not mine.is_full_of_news
    mine.write(0, "feeling", "two", 0.6)
    assert mine.is_full_of_news
    mine.write(0, "belief", "three", 0.9)
    assert not mine.is_full_of_news
    assert texts(mine.beliefs()) == ["three"]


def test_a_memory_that_is_relived_page_by_page_is_the_same():
    mine, again = memory(recall=1, capacity=3), memory(recall=1, capacity=3)
    for page, text in enumerate(["took Night Train [Drama]", "took Iron Sea [War]", "nothing", "much"]):
        mine.write(page, "fact", text, 0.5 + page / 10)
        if page == 2:
            mine.write(page, "belief", "War wears me out", 0.9)
        again.relive(mine.take_news())

    assert again.records == mine.records
    assert again.written == mine.written == 5
    assert again.gathered == mine.gathered
    assert recall(again, "war at sea") == recall(mine, "war at sea")
    assert mine.take_news() == "[]"


def test_a_prompt_tells_the_page_and_the_words():
    mine = memory()
    mine.write(0, "fact", "took nothing", 0.5)
    assert told(mine.records) == "- (page 1) took nothing"


def test_what_a_memory_is_about_is_found_after_others_were_forgotten():
    mine = memory(recall=1, capacity=3, recency=0.0, importance=0.0)
    for page, text in enumerate(["took Iron Sea [War]", "took Paper Moon [Comedy]", "took Night Train [Drama]"]):
        mine.write(page, "fact", text, 0.5)
    assert texts(recall(mine, "Paper Moon [Comedy]")) == ["took Paper Moon [Comedy]"]
    mine.write(3, "fact", "took Last Laugh [Comedy]", 0.5)  # the war is forgotten
    assert texts(recall(mine, "Night Train [Drama]")) == ["took Night Train [Drama]"]
    assert texts(recall(mine, "a Last Laugh")) == ["took Last Laugh [Comedy]"]


def test_words_in_no_text_are_the_rarest_and_texts_alike_are_near():
    weights = MEANINGS.encoder
    near, far = weights.vector("the zyxt at Night Train"), weights.vector("Paper Moon")
    asked = weights.vector("a zyxt")
    assert asked @ near > 0.3 > abs(asked @ far)
    assert weights.vector("").tolist() == [0.0] * len(asked)


def test_an_encoder_is_asked_once_for_a_name_and_for_each_record():
    asked: list[list[str]] = []

    class Counting(WordWeights):
        async def vectors(self, texts):
            asked.append(list(texts))
            return await super().vectors(texts)

    mine = Memory(Remembering(recall=1), Meanings(Counting(["Night Train"])))
    for page in range(3):
        mine.write(page, "fact", f"took {page}", 0.5)
        recall(mine, "Night Train", "Paper Moon")
    assert asked == [["took 0", "took 1", "Night Train", "Paper Moon"], ["took 2"]]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"capacity": 0}, "memory: capacity is 0; it must be a whole number, at least 1"),
        ({"recall": 2.5}, "memory: recall is 2.5; it must be a whole number, at least 0"),
        ({"fading": "0.9"}, "memory: fading is '0.9'; it must be a number"),
        ({"importance": float("nan")}, "memory: importance is nan"),
        ({"reflect_after": -1}, "memory: reflect_after is -1"),
    ],
)
def test_a_rule_that_cannot_be_is_told(rules: dict, told: str):
    with pytest.raises(SimenvError, match=told):
        Remembering(**rules)


def test_there_is_room_for_more_words_than_are_kept():
    weights = WordWeights(["Night Train"])
    before = weights.vector("Night Train")
    for part in range(60):
        weights.vector(" ".join(f"w{part}x{number}" for number in range(1000)))
    assert asyncio.run(weights.vectors([f"v{number} " * 3 for number in range(2000)])).shape[0] == 2000
    assert weights.vector("Night Train").tolist() == before.tolist()

"""Ten thousand corrupted answers to pages: each ends in a deed that is right about every item, or about none."""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from simenv.agents.agent import Deed, Shown
from simenv.agents.llm import LLMPopulation
from simenv.chat.model import Answer, Question
from simenv.loop import luck_of
from simenv.pages import Grade
from simenv.splits import Split

ANSWERS = 10_000
ITEM = re.compile(r'^([A-Z]{1,2})\. "([^" ]+)', re.MULTILINE)
ACTS = {"Paper": ("take", 5), "Moon": ("take", 2), "War": ("pass", 0), "Rain": ("take", 3), "Fog": ("skip", 0)}
GRADES = {"Paper": Grade.LIKED, "Moon": Grade.DISLIKED, "War": Grade.PASSED, "Rain": Grade.VIEWED, "Fog": Grade.UNSEEN}
PAGE = [Shown(title, ("Comedy",), "", "", "") for title in ACTS]
Answered = dict[str, Any]
Chance = random.Random


def right(question: Question) -> Answered:
    """Return the answer that each item of a page should get, whatever letters it bears."""
    items = []
    for letter, title in ITEM.findall(question.messages[1].text):
        act, rating = ACTS[title]
        items.append({"letter": letter, "act": act, "rating": rating, "feeling": 'It was "long", {really}.'})
    return {"items": items, "satisfaction": 7, "then": "stay", "why": "Мне [почти] понравилось: 良い, ok?"}


def told(answer: object) -> str:
    return json.dumps(answer, ensure_ascii=False)


def changed(answer: Answered, chance: Chance, **news: object) -> str:
    """Return the answer with one item changed."""
    items = [dict(item) for item in answer["items"]]
    chance.choice(items).update(news)
    return told(answer | {"items": items})


def truncated(answer: Answered, chance: Chance) -> str:
    text = told(answer)
    return text[: chance.randrange(len(text))]


def in_prose(answer: Answered, chance: Chance) -> str:
    before = [
        "",
        "Sure! My answer:\n",
        "```json\n",
        "{Note} this: ",
        '{"letter": "A"} is how it begins: ',
        "回答は次の通り：",
        "\ufeff",
    ]
    after = ["", "\n```", "\n\nI hope {this} helps.", "}", "\0", ' {"items": []}', "\n\n\n"]
    return chance.choice(before) + told(answer) + chance.choice(after)


def thought_aloud(answer: Answered, chance: Chance) -> str:
    draft = told(answer).replace("skip", "take")
    return chance.choice(
        [f"<think>{draft}</think>{told(answer)}", f"<think>{draft}", f"{draft[:90]}</think>{told(answer)}"]
    )


def unknown_letter(answer: Answered, chance: Chance) -> str:
    return changed(
        answer,
        chance,
        letter=chance.choice(["Z", "AA", "А", "Α", "a", "A.", " B", "1", "", "Paper", "A and B", "Å", "*"]),
    )


def duplicate_letter(answer: Answered, chance: Chance) -> str:
    if chance.random() < 0.5:
        return changed(answer, chance, letter=chance.choice(answer["items"])["letter"])
    return told(answer | {"items": [*answer["items"], chance.choice(answer["items"]) | {"act": "take", "rating": 5}]})


def missing_or_shuffled(answer: Answered, chance: Chance) -> str:
    items = chance.sample(answer["items"], chance.choice([0, 1, 3, 4, 5]))
    return told(answer | {"items": items})


def other_language(answer: Answered, chance: Chance) -> str:
    words = [
        ("take", "взять"),
        ("skip", "überspringen"),
        ("letter", "буква"),
        ("act", "行動"),
        ("stay", "rester"),
        ("pass", "паß"),
    ]
    some = [("items", "предметы"), (": ", "："), ('"', "«"), ("5", "пять"), ("5", "٥"), (", ", "、")]
    text = told(answer)
    for word, other in chance.sample(words + some, chance.choice([1, 2])):
        text = text.replace(word, other)
    return chance.choice([text, text, text, "Я бы посмотрел первый фильм, остальные нет. 二番目が好きです。"])


def huge(answer: Answered, chance: Chance) -> str:
    filler = chance.choice(["word ", "{", "}", '"', "[", "\\", "{} ", '{"a":', "ß", "\n", "9"])
    filling = (filler * 100_000)[:100_000]
    way = chance.randrange(4)
    if way == 3:
        return filling
    text = told(answer | {"why": filling}) if way == 0 else told(answer)
    return text if way == 0 else filling + text if way == 1 else text + filling


def no_number(answer: Answered, chance: Chance) -> str:
    wrong = chance.choice(
        ["NaN", "-Infinity", '"NaN"', "1e999", "null", '"five"', "[]", "9" * 5000, '"inf"', "true", "{}", "0x5"]
    )
    name = chance.choice(["rating", "satisfaction"])
    places = list(re.finditer(rf'"{name}": \d', told(answer)))
    place = chance.choice(places)
    return told(answer)[: place.end() - 1] + wrong + told(answer)[place.end() :]


def control_characters(answer: Answered, chance: Chance) -> str:
    text = told(answer)
    for _ in range(chance.choice([1, 1, 5])):
        at = chance.randrange(len(text))
        text = (
            text[:at]
            + chance.choice(["\0", "\x1b[31m", "\x7f", "\u202e", "\ud800", "\u200b", "\r", "\b", "\\ud83d"])
            + text[at:]
        )
    return text


def wrong_marks(answer: Answered, chance: Chance) -> str:
    text = told(answer)
    for _ in range(chance.choice([1, 1, 2, 3])):
        at = chance.choice([place for place, mark in enumerate(text) if mark in '{}[],:"'])
        text = text[:at] + chance.choice(["", "", text[at] * 2, ";", "'", "}", "//"]) + text[at + 1 :]
    return text


def other_notation(answer: Answered, chance: Chance) -> str:
    text = told(answer)
    return chance.choice(
        [
            text.replace('"', "'"),
            text.replace('"', "“"),
            text.replace("}]", "},]"),
            text.replace("}, {", "}\n{"),
            re.sub(r'"(\w+)":', r"\1:", text),
            text.replace("{", "(").replace("}", ")"),
            text.replace("}, {", "}, /* next */ {"),
            json.dumps(text),
            json.dumps(answer, indent=chance.choice([1, 4])),
            "\n".join(f"{item['letter']}: {item['act']}" for item in answer["items"]),
            f"<answer>{text}</answer>",
            text.replace(", ", " "),
        ]
    )


def other_shape(answer: Answered, chance: Chance) -> str:
    items = answer["items"]
    return chance.choice(
        [
            told(items),
            told([answer]),
            told({"answer": answer}),
            told(answer | {"items": {item["letter"]: item for item in items}}),
            told(answer | {"items": told(items)}),
            told(answer | {"items": [item["letter"] for item in items]}),
            told({name: value for name, value in answer.items() if name != chance.choice(list(answer))}),
            told(answer | {"then": chance.choice(["leave", "", None, "STAY", "stay, tired"])}),
            told(answer | {"more": [answer], "items ": []}),
            changed(answer, chance, act=chance.choice(["TAKE", "watch", None, "take, pass", ["take"], True, "like"])),
        ]
    )


def twice_said(answer: Answered, chance: Chance) -> str:
    """Return the answer with a key that stands twice in one object."""
    name, other = chance.choice(
        [("act", '"take"'), ("rating", "5"), ("letter", '"A"'), ("items", "[]"), ("then", '"bored"')]
    )
    places = list(re.finditer(rf'"{name}": ', told(answer)))
    place = chance.choice(places).start()
    return told(answer)[:place] + f'"{name}": {other}, ' + told(answer)[place:]


def nothing(_: Answered, chance: Chance) -> str:
    deep = ["[" * 50_000, '{"items":' * 5_000, '{"items": ' + "[" * 9_000 + "]" * 9_000 + "}"]
    return chance.choice(["", " ", "\n", "null", "42", "{}", "[]", "...", "I'd rather not.", '"', "\0", *deep])


KINDS: Mapping[str, Callable[[Answered, Chance], str]] = {
    made.__name__: made
    for made in (
        truncated,
        in_prose,
        thought_aloud,
        unknown_letter,
        duplicate_letter,
        missing_or_shuffled,
        other_language,
        huge,
        no_number,
        control_characters,
        wrong_marks,
        other_notation,
        other_shape,
        twice_said,
        nothing,
    )
}


class Corrupt:
    """Answers each page once rightly, but for a corruption; when asked again, rightly or corrupted anew."""

    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.said: Counter[str] = Counter()  # corruptions that left no answer as it should be

    async def ask(self, question: Question) -> Answer:
        answer = right(question)
        if len(question.messages) > 2 and self.chance.random() < 0.5:
            return Answer(told(answer))
        name = self.chance.choices(list(KINDS), [1 if name in ("huge", "nothing") else 5 for name in KINDS])[0]
        text = KINDS[name](answer, self.chance)
        self.said[name] += text != told(answer)
        return Answer(text)

    async def close(self) -> None: ...


def test_ten_thousand_corrupted_answers_name_no_wrong_item_and_each_is_counted(split: Split):
    population = LLMPopulation(model=Corrupt(11), memory={"reflect_after": float("inf")}, most_failed=1.0)
    population.fit(split.train)
    model: Any = population.model
    users = np.arange(ANSWERS) % 40
    agents = population.enter(users, luck_of(0, np.arange(ANSWERS))).agents

    async def looked() -> list[Deed]:
        return [await agent.look(model, PAGE) for agent in agents.values()]

    deeds = asyncio.run(looked())
    counts = Counter(deed.reading for deed in deeds)
    assert len(deeds) == ANSWERS
    assert population.tally.counts == {("page", how): count for how, count in counts.items()}
    assert population.tally.asked == ANSWERS
    assert population.tally.failed == counts["failed"]
    assert set(counts) == {"plain", "mended", "repaired", "failed"}
    assert min(counts.values()) > ANSWERS / 50
    for deed in deeds:
        if deed.reading == "failed":
            assert list(deed.grades) == [Grade.UNSEEN] * len(PAGE)
            assert np.isnan(deed.ratings).all()
            assert (deed.leaves, deed.satisfaction, deed.words) == (False, 5.0, "")
        else:
            assert {item.title: grade for item, grade in zip(PAGE, deed.grades, strict=True)} == GRADES
            assert [int(rating or 0) for rating in np.nan_to_num(deed.ratings)] == [
                rating for _, rating in ACTS.values()
            ]
            assert (deed.leaves, deed.satisfaction) == (False, 7.0)
            deed.words.encode()
    assert model.said.total() >= ANSWERS
    assert min(model.said[name] for name in KINDS) >= 100

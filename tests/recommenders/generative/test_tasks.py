"""Each task teaches what it is for, from training rows alone."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.catalog import Catalog  # noqa: E402
from simenv.checks import PolicyChecks  # noqa: E402
from simenv.context import Context  # noqa: E402
from simenv.dataset import Dataset  # noqa: E402
from simenv.errors import SimenvError  # noqa: E402
from simenv.films import films_world  # noqa: E402
from simenv.interactions import Interactions  # noqa: E402
from simenv.pages import EMPTY  # noqa: E402
from simenv.recommenders.generative import tasks  # noqa: E402
from simenv.recommenders.generative.beam import beam  # noqa: E402
from simenv.recommenders.generative.dual import DualTokenizer  # noqa: E402
from simenv.recommenders.generative.grounding import write  # noqa: E402
from simenv.recommenders.generative.policy import Generative  # noqa: E402
from simenv.recommenders.generative.prompting import Prompting  # noqa: E402
from simenv.recommenders.generative.tasks import TASKS, Case, Lore, Writing, case_of, checked_tasks, shares  # noqa: E402
from simenv.store import load_policy, save_policy  # noqa: E402

SMALL = {"codes": 8, "levels": 2, "dimensions": 16, "heads": 2, "layers": 1}
ALL = {"next": 1.0} | dict.fromkeys(TASKS, 0.2)
ITEMS = 40


class TestTaught(PolicyChecks):
    def make(self) -> Generative:
        return Generative(**SMALL, epochs=1, window=5, users=True, grades=True, tasks=ALL)


class TestTitles(PolicyChecks):
    def make(self) -> Generative:
        return Generative(quantiser="titles", dimensions=16, heads=2, layers=1, epochs=1, window=5, grades=True)


def planted(ratings: bool = True) -> Dataset:
    """Return users who like the odd items, which are comedies, and dislike the even ones, which are horror."""
    base = films_world(users=60, items=ITEMS).dataset
    odd = np.arange(ITEMS) % 2 == 1
    catalog = Catalog(
        base.catalog.ids,
        np.array([f"film{item}" for item in range(ITEMS)], dtype=object),
        tuple(("comedy",) if one else ("horror",) for one in odd),
        np.full(ITEMS, None, dtype=object),
        base.catalog.years,
    )
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(ITEMS)[:12] for _ in range(60)])
    if not ratings:
        items = np.concatenate([rng.permutation(ITEMS // 2)[:8] * 2 + 1 for _ in range(60)])
    users = np.repeat(np.arange(60), len(items) // 60)
    stars = np.where(odd[items], 5.0, 1.0) if ratings else np.full(len(items), np.nan)
    order = np.arange(len(items))
    log, _ = Interactions.sort(users, items, stars, order.astype(float), order=order)
    return replace(base, catalog=catalog).only(log)


def context(train: Dataset, users: np.ndarray) -> Context:
    none = np.empty((len(users), 0), dtype=np.int32)
    return Context(train, users, np.zeros(len(users), np.int32), none, none.astype(np.int8), users.astype(np.uint64))


def taught(train: Dataset, weights: dict[str, float], **options: object) -> Generative:
    how = {"quantiser": "atomic", "dimensions": 32, "layers": 1, "dropout": 0.0, "learning_rate": 0.01, "window": 8}
    policy = Generative(**how | {"tasks": weights, "batch_size": 256} | options)
    policy.fit(train)
    return policy


@pytest.mark.parametrize("ratings", [True, False])
def test_yes_is_said_to_what_is_liked(ratings):
    train = planted(ratings)
    policy = taught(train, {"yes-no": 1.0}, epochs=60, grades=ratings)
    who = np.arange(20)
    told = policy.answer("yes-no", context(train, who), np.tile([1, 2, 3, 4, EMPTY], (20, 1)))
    assert np.isnan(told[:, 4]).all()
    assert told[:, [0, 2]].min() > 0.6
    assert told[:, [1, 3]].max() < 0.3


def test_an_item_is_found_by_its_title_and_told_by_it():
    train = planted()
    policy = taught(train, {"text-to-item": 1, "item-to-text": 1, "search": 1}, epochs=120)
    found = [policy.search(f"film{item}", 3)[0] for item in range(ITEMS)]
    assert np.mean(np.array(found) == np.arange(ITEMS)) > 0.9
    horrors = policy.search("horror", 5)
    assert (horrors % 2 == 0).mean() > 0.7
    pen, model = policy.pen, policy.model
    prompts = [TASKS["item-to-text"].prompt(pen, Case(item=item)) for item in range(ITEMS)]
    told = write(model, torch.tensor(prompts), 1, longest=4, ends=policy.prompting.end).tokens[:, 0]
    texts = [policy.language.decode([token for token in row if token > 0]) for row in told.tolist()]
    wanted = [f"film{item} {'comedy' if item % 2 else 'horror'}" for item in range(ITEMS)]
    assert np.mean([one == other for one, other in zip(texts, wanted, strict=True)]) > 0.9
    prompts = [TASKS["text-to-item"].prompt(pen, Case(text=text)) for text in wanted]
    best = beam(model, torch.tensor(prompts), policy.trie, 1).items[:, 0].numpy()
    assert (best == np.arange(ITEMS)).mean() > 0.9


def test_the_liked_one_of_the_candidates_is_picked():
    train = planted()
    policy = taught(train, {"pick": 1.0}, epochs=60)
    candidates = np.tile([2, 4, 7, 8, 10], (20, 1))
    told = policy.answer("pick", context(train, np.arange(20)), candidates)
    assert np.allclose(told.sum(axis=1), 1, atol=1e-4)
    assert (told.argmax(axis=1) == 2).mean() > 0.9


def test_users_are_told_by_what_they_like():
    base = planted()
    fans = base.interactions.users % 2 == base.interactions.items % 2
    train = base.only(base.interactions[fans])
    liked = np.full(len(train.interactions), np.nan)
    log, _ = Interactions.sort(
        train.interactions.users, train.interactions.items, liked, np.arange(len(liked), dtype=float),
        order=np.arange(len(liked)),
    )  # fmt: skip
    train = train.only(log)
    weights = {"next": 1.0, "user-to-text": 1.0, "text-to-user": 0.5}
    policy = taught(train, weights, epochs=60, users=True, quantiser="residual", codes=4, levels=2)
    prompts = [TASKS["user-to-text"].prompt(policy.pen, Case(user)) for user in range(60)]
    told = write(policy.model, torch.tensor(prompts), 1, longest=2, ends=policy.prompting.end).tokens[:, 0, 0]
    words = [policy.language.decode([token]) for token in told.tolist()]
    assert np.mean([word == ("comedy" if user % 2 else "horror") for user, word in enumerate(words)]) > 0.9


def test_a_users_tokens_stand_before_the_history_unless_nothing_is_known():
    train = planted()
    train = train.only(train.interactions[train.interactions.users != 3])
    policy = taught(train, {"next": 1.0}, epochs=1, users=True)
    one, other = (policy.pen.history(case_of(user, np.array([5]), None)) for user in (2, 3))
    first = policy.language.number("<u_a_0>")
    assert one[0] == first + policy.user_names.codes[2, 0]
    assert other == policy.pen.item(5)
    told, lengths = policy.prompting.written(np.array([[5], [5], [5]]), users=np.array([2, 3, EMPTY]))
    assert told[0, :3].tolist() == [policy.prompting.begin, *one]
    assert lengths.tolist() == [3, 2, 2]
    assert policy.prompting.written(np.array([[5]]))[1].tolist() == [2]


def test_users_and_items_can_be_named_together(tmp_path, monkeypatch):
    for name in ("align_steps", "code_steps"):
        monkeypatch.setitem(DualTokenizer.__init__.__kwdefaults__, name, 20)
    train = planted()
    policy = Generative(**SMALL, epochs=1, window=5, quantiser="dual", tasks={"next": 1, "text-to-user": 0.2})
    policy.fit(train)
    about = context(train, np.arange(20))
    page = policy.recommend(about, 5)
    assert policy.user_names is policy.tokenizer.users
    assert policy.prompting.users.shape == (60, 2)
    save_policy(policy, tmp_path / "dual")
    again = load_policy(tmp_path / "dual")
    assert np.array_equal(again.recommend(about, 5), page)
    assert np.array_equal(again.prompting.users, policy.prompting.users)


def test_users_of_other_data_are_not_told():
    train = planted()
    policy = taught(train, {"next": 1.0}, epochs=1, users=True)
    assert policy.known_users(context(train, np.arange(4))).tolist() == [0, 1, 2, 3]
    others = replace(train, users=replace(train.users, ids=train.users.ids[::-1]))
    assert policy.known_users(context(others, np.arange(4))).tolist() == [EMPTY] * 4


def test_held_out_rows_never_reach_a_prompt():
    checks = PolicyChecks()
    train = checks.split().train
    whole = checks.world().dataset
    pasts = [train.interactions.items[train.starts[u] : train.starts[u + 1]].tolist() for u in range(len(train.users))]
    assert sum(map(len, pasts)) < len(whole.interactions)
    lore, rng = Lore(train, 5), np.random.default_rng(0)
    told = 0
    for task in TASKS.values():
        for _ in range(300):
            case = task.draw(lore, rng)
            if case is None or case.user == EMPTY:
                continue
            past, length = pasts[case.user], len(case.items)
            assert 0 < length <= 5
            assert any(past[at : at + length] == list(case.items) for at in range(len(past)))
            if task.name == "pick":
                assert not (set(case.candidates) - {case.item}) & set(past)
                assert len(set(case.candidates)) == len(case.candidates) == 20
            if case.item != EMPTY and (task.name == "pick" or case.liked):
                at = past.index(case.item)
                assert past[max(0, at - 5) : at] == list(case.items)
            told += 1
    assert told > 900


def test_profiles_hold_what_was_liked_in_training_rows():
    train = planted()
    lore = Lore(train, 5)
    assert {lore.profile(user) for user in range(60)} == {"comedy"}
    assert Lore(train.only(train.interactions[:0]), 5).profile(0) == ""


def test_only_answers_are_learnt():
    pen = Writing(Prompting(np.arange(5)[:, None] + 20), {"<task_pick>": 3, "<then>": 4}.__getitem__, lambda _: [9])
    case = Case(0, [1, 2], [4, 4], [3, 0, 4], 4)
    assert TASKS["pick"].prompt(pen, case) == [1, 3, 21, 22, 4, 23, 20, 24, 4]
    assert TASKS["pick"].answer(pen, case) == [24]


def test_an_epoch_holds_tasks_by_their_weights():
    assert shares({"next": 2.0, "pick": 1.0, "search": 0.5}, 100) == {"pick": 50, "search": 25}
    assert shares({"pick": 3.0, "search": 1.0}, 100) == {"pick": 75, "search": 25}


def test_the_next_item_alone_needs_no_other_token():
    assert tasks.task_tokens({"next": 1.0}) == []
    assert checked_tasks(None, False) == {"next": 1.0}


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"tasks": {"guess": 1}}, "no task 'guess'; there are next, item-to-text"),
        ({"tasks": {"pick": 0}}, "weight of pick is 0"),
        ({"tasks": {}}, "tasks is empty"),
        ({"tasks": ["next"]}, r"tasks is \['next'\]; it gives each task its weight"),
        ({"tasks": {"text-to-user": 1}}, "users: true"),
        ({"quantiser": "smell"}, "quantiser"),
        ({"quantiser": "titles", "among": "level"}, "among: vocabulary"),
        ({"among": "words"}, "no among 'words'"),
    ],
)
def test_bad_options_are_told(options, wrong):
    with pytest.raises(SimenvError, match=wrong):
        Generative(**options)


def test_what_was_not_taught_is_not_answered():
    train = planted()
    policy = taught(train, {"next": 1.0}, epochs=1)
    about = context(train, np.arange(2))
    with pytest.raises(SimenvError, match="no task 'guess' that judges"):
        policy.answer("guess", about, np.zeros((2, 3), int))
    with pytest.raises(SimenvError, match="pick was not taught, only next"):
        policy.answer("pick", about, np.zeros((2, 3), int))
    with pytest.raises(SimenvError, match="search was not taught"):
        policy.search("film1", 3)

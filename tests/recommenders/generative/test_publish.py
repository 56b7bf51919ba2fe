"""A published policy is an ordinary folder: others load it, and another policy begins from it."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.errors import SimenvError, StoreError  # noqa: E402
from simenv.films import films_world  # noqa: E402
from simenv.recommenders.generative.policy import Generative  # noqa: E402
from simenv.recommenders.generative.prompting import SPECIAL  # noqa: E402
from simenv.recommenders.generative.publish import ITEMS, USERS, publish  # noqa: E402
from simenv.store import load_policy, save_policy  # noqa: E402

SMALL = {"codes": 8, "levels": 2, "dimensions": 16, "heads": 2, "layers": 1}


@pytest.fixture(scope="module")
def dataset():
    return films_world(users=40, items=60).dataset


@pytest.fixture(scope="module")
def policy(dataset):
    policy = Generative(**SMALL, epochs=2)
    policy.fit(dataset)
    return policy


@pytest.fixture(scope="module")
def folder(policy, dataset, tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "published"
    publish(policy, place, dataset)
    return place


def test_transformers_gives_the_same_logits(policy, folder):
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens, _ = policy.prompting.written(np.array([[3, 1, 4, 15, 9], [2, 6, 5, 35, 8]]))
    tokens = torch.from_numpy(tokens)
    with torch.no_grad():
        assert torch.allclose(model(tokens).logits, policy.model.scores(policy.model(tokens)), atol=1e-4)


def test_transformers_reads_items_by_their_tokens(policy, folder):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    about = json.loads((folder / ITEMS).read_text())
    named = about["rows"]
    assert about["among"] == policy.normalise == "level"
    told, _ = policy.prompting.written(np.array([[7, 11]]))
    text = "<begin>" + "".join(name for item in list(named)[7:12:4] for name in named[item])
    assert tokenizer(text)["input_ids"] == told[0].tolist()
    assert len(tokenizer) == len(SPECIAL) + len(policy.tokenizer.names()) == policy.model.vocabulary
    assert tokenizer.eos_token == "<end>"


def test_words_are_read_where_a_task_needs_them(dataset, tmp_path):
    transformers = pytest.importorskip("transformers")
    policy = Generative(**SMALL, epochs=1, tasks={"next": 1, "search": 0.2})
    policy.fit(dataset)
    publish(policy, tmp_path / "words", dataset)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "words")
    title = dataset.catalog.title(0)
    told = tokenizer(f"<task_search> {title} qwertz<then>")["input_ids"]
    number = policy.language.number
    assert told == [number("<task_search>"), *policy.language.encode(title), number("<unknown>"), number("<then>")]


def test_a_policy_begins_from_a_published_folder(policy, dataset, folder, tmp_path):
    begun = Generative(**SMALL, epochs=1, learning_rate=1e-9, dropout=0.0, backbone={"path": folder})
    begun.fit(dataset)
    assert np.array_equal(begun.tokenizer.codes, policy.tokenizer.codes)
    for name, weight in policy.model.state_dict().items():
        assert torch.allclose(weight, begun.model.state_dict()[name], atol=1e-6)
    save_policy(begun, tmp_path / "kept")
    again = load_policy(tmp_path / "kept")
    assert torch.equal(again.model.table.weight, begun.model.table.weight)


def test_users_and_tasks_are_published_too(dataset, tmp_path):
    train = dataset.only(dataset.interactions[dataset.interactions.users != 3])
    how = {**SMALL, "users": True, "tasks": {"next": 1, "pick": 0.2, "search": 0.2}}
    policy = Generative(**how, epochs=1)
    policy.fit(train)
    publish(policy, tmp_path / "both", train)
    users = json.loads((tmp_path / "both" / USERS).read_text())["rows"]
    assert users[str(dataset.users.ids[3])] == []
    assert [name[:4] for name in users[str(dataset.users.ids[2])]] == ["<u_a", "<u_b"]
    begun = Generative(**how, epochs=1, backbone={"path": tmp_path / "both"})
    begun.fit(train)
    assert np.array_equal(begun.prompting.users, policy.prompting.users)
    (tmp_path / "both" / USERS).unlink()
    with pytest.raises(StoreError, match=r"no users\.json"):
        Generative(**how, backbone={"path": tmp_path / "both"}).fit(train)


def test_another_catalogue_is_told(folder):
    with pytest.raises(SimenvError, match="names 60 items"):
        Generative(**SMALL, backbone={"path": folder}).fit(films_world(users=40, items=61).dataset)


def test_a_folder_without_a_tasks_token_is_told(folder, dataset):
    with pytest.raises(SimenvError, match="no token <task_pick>"):
        Generative(**SMALL, backbone={"path": folder}, tasks={"next": 1, "pick": 1}).fit(dataset)


def test_a_folder_that_was_tampered_with_is_told(policy, dataset, tmp_path):
    publish(policy, tmp_path / "one", dataset)
    about = json.loads((tmp_path / "one" / ITEMS).read_text())
    first = next(iter(about["rows"]))
    about["rows"][first] = ["<z_9>"]
    (tmp_path / "one" / ITEMS).write_text(json.dumps(about))
    with pytest.raises(StoreError, match="<z_9>"):
        Generative(**SMALL, backbone={"path": tmp_path / "one"}).fit(dataset)
    (tmp_path / "one" / ITEMS).write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        Generative(**SMALL, backbone={"path": tmp_path / "one"}).fit(dataset)


def changed(about, **changes):
    return json.dumps(about | changes)


def test_items_that_are_not_all_there_or_in_another_order_are_told(policy, dataset, tmp_path):
    publish(policy, tmp_path, dataset)
    about = json.loads((tmp_path / ITEMS).read_text())
    first, *others = about["rows"].items()
    for rows in (dict(others), dict([*others, first])):
        (tmp_path / ITEMS).write_text(changed(about, rows=rows))
        with pytest.raises(StoreError, match="not those of the 60 items; publish it again"):
            Generative(**SMALL, backbone={"path": tmp_path}).fit(dataset)
    for changes, wrong in (({"sizes": "88"}, "its sizes"), ({"rows": {"1": None}}, "its rows")):
        (tmp_path / ITEMS).write_text(changed(about, **changes))
        with pytest.raises(StoreError, match=wrong):
            Generative(**SMALL, backbone={"path": tmp_path}).fit(dataset)


def test_titles_want_a_folder_whose_model_reads_words(folder, dataset):
    with pytest.raises(SimenvError, match="its model reads no words"):
        Generative(**SMALL, quantiser="titles", backbone={"path": folder}).fit(dataset)


def test_a_published_folder_without_its_items_is_told(policy, dataset, tmp_path):
    pytest.importorskip("transformers")
    publish(policy, tmp_path, dataset)
    (tmp_path / ITEMS).unlink()
    with pytest.raises(SimenvError, match=r"<end> already, and no items\.json tells what it names"):
        Generative(**SMALL, backbone={"path": tmp_path}).fit(dataset)


def test_nothing_is_published_over_other_files(policy, dataset, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(StoreError, match="other files"):
        publish(policy, tmp_path, dataset)
    with pytest.raises(SimenvError, match="not been fitted"):
        publish(Generative(**SMALL), tmp_path / "new", dataset)

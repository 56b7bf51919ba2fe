"""The generative policy writes with any checkpoint of transformers, in which it learns its items' tokens."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (the extra hf)")
pytest.importorskip("peft", reason="peft is not installed (the extra hf)")

from simenv.checks import PolicyChecks  # noqa: E402
from simenv.errors import SimenvError, StoreError  # noqa: E402
from simenv.films import films_world  # noqa: E402
from simenv.language.words import learn_words  # noqa: E402
from simenv.pages import EMPTY, Grade  # noqa: E402
from simenv.preferences.pasts import past_of  # noqa: E402
from simenv.preferences.records import Graded, Records, begins, make_records  # noqa: E402
from simenv.recommenders.generative import curriculum  # noqa: E402
from simenv.recommenders.generative.curriculum import Lesson, taught  # noqa: E402
from simenv.recommenders.generative.packing import answer_likelihoods  # noqa: E402
from simenv.recommenders.generative.policy import Generative  # noqa: E402
from simenv.recommenders.generative.prompting import SPECIAL  # noqa: E402
from simenv.recommenders.generative.publish import ITEMS, publish  # noqa: E402
from simenv.recommenders.generative.tasks import TASKS  # noqa: E402
from simenv.splits import leave_one_out  # noqa: E402
from simenv.store import load_policy, save_policy  # noqa: E402

SMALL = {"codes": 8, "levels": 2}


def checkpoint(place, *, tied: bool = True, padded: int = 0):
    """Write a tiny Llama of random weights, with a tokenizer of its own."""
    catalog = films_world(users=60, items=120).dataset.catalog
    tokenizer = learn_words(catalog.titles.tolist(), 300, r"\s")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer) + padded,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def dataset():
    return films_world(users=40, items=60).dataset


class TestCheckpoint(PolicyChecks):
    @pytest.fixture(autouse=True)
    def _folder(self, folder):
        self.folder = folder

    def make(self) -> Generative:
        return Generative(**SMALL, epochs=1, window=5, backbone={"path": str(self.folder), "rank": 2})


@pytest.mark.parametrize(("tied", "padded", "rank"), [(True, 0, 2), (False, 40, 2), (True, 7, 0)])
def test_what_was_learnt_stands_in_an_ordinary_folder(dataset, tmp_path, tied, padded, rank):
    path = checkpoint(tmp_path / "base", tied=tied, padded=padded)
    policy = Generative(**SMALL, epochs=1, window=5, learning_rate=0.01, backbone={"path": path, "rank": rank})
    policy.fit(dataset)
    publish(policy, tmp_path / "merged", dataset)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    tokens = torch.from_numpy(policy.prompting.written(np.array([[3, 1, 4], [2, 6, 5]]))[0])
    with torch.no_grad():
        ours, theirs = policy.model.scores(policy.model(tokens)), model(tokens).logits
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, atol=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    named = list(json.loads((tmp_path / "merged" / ITEMS).read_text())["rows"].values())
    text = "<begin>" + "".join(name for item in (3, 1, 4) for name in named[item])
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == tokens[0].tolist()

    again = Generative(**SMALL, epochs=1, window=5, learning_rate=1e-9, backbone={"path": tmp_path / "merged"})
    again.fit(dataset)
    assert np.array_equal(again.prompting.rows, policy.prompting.rows)
    with torch.no_grad():
        assert torch.allclose(again.model.scores(again.model(tokens)), ours, atol=1e-4)


def test_only_new_rows_and_what_lies_beside_the_layers_is_learnt_and_kept(dataset, folder, tmp_path):
    before = transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()
    policy = Generative(**SMALL, epochs=1, window=5, learning_rate=0.05, backbone={"path": folder, "rank": 2})
    policy.fit(dataset)
    for weight in policy.model.parameters():
        weight.requires_grad_(True)  # as a curriculum does
    base = policy.model.model.model
    assert torch.equal(base.embed_tokens.old.weight, before["model.embed_tokens.weight"])
    attend = base.layers[0].self_attn.q_proj
    assert torch.equal(attend.base_layer.weight, before["model.layers.0.self_attn.q_proj.weight"])
    assert attend.lora_B["default"].weight.abs().max() > 0
    assert not attend.base_layer.weight.requires_grad
    names = [name for name in policy.state() if name.startswith("model.")]
    assert all("lora" in name or name.endswith("rows") for name in names)
    save_policy(policy, tmp_path / "kept")
    assert (tmp_path / "kept" / "arrays.safetensors").stat().st_size < 40_000
    again = load_policy(tmp_path / "kept")
    tokens = torch.from_numpy(policy.prompting.written(np.array([[3, 1, 4]]))[0])
    with torch.no_grad():
        assert torch.equal(again.model(tokens), policy.model(tokens))


def test_learning_goes_on_as_if_it_had_never_stopped(dataset, folder):
    options = {**SMALL, "window": 5, "epochs": 2, "backbone": {"path": folder, "rank": 2}}
    one, other = Generative(**options), Generative(**options)
    one.begin(dataset)
    other.begin(dataset)
    one.epoch(0)
    other.resume({name: array.copy() for name, array in one.progress().items()})
    assert one.epoch(1) == other.epoch(1)


def test_a_planted_sequence_is_learnt(tmp_path):
    """Each film is followed by the next in the catalogue."""
    from simenv.context import Context
    from simenv.interactions import Interactions

    path = checkpoint(tmp_path / "base")
    dataset = films_world(users=60, items=30).dataset
    people = np.repeat(np.arange(60), 6)
    items = (people * 7 + np.tile(np.arange(6), 60)) % 30
    nothing, order = np.full(len(people), np.nan), np.arange(len(people))
    log, _ = Interactions.sort(people, items, nothing, order.astype(float), order=order)
    train = dataset.only(log)
    for among in ("vocabulary", "level"):
        how = {"backbone": {"path": path, "rank": 8}, "among": among}
        policy = Generative(quantiser="atomic", epochs=60, learning_rate=0.02, batch_size=128, **how)
        policy.fit(train)
        some, none = np.arange(20), np.empty((20, 0), dtype=np.int32)
        context = Context(train, some, np.zeros(20, np.int32), none, none.astype(np.int8), some.astype(np.uint64))
        assert (policy.recommend(context, 1)[:, 0] == (some * 7 + 6) % 30).mean() >= 0.8


def test_other_tasks_are_read_by_the_checkpoints_own_tokenizer(dataset, folder, tmp_path):
    how = {**SMALL, "window": 5, "users": True, "tasks": {"next": 1} | dict.fromkeys(TASKS, 0.2)}
    policy = Generative(**how, epochs=1, backbone={"path": folder, "rank": 2})
    policy.fit(dataset)
    title = dataset.catalog.title(7)
    text = policy.pen.text(title)
    assert policy.language.decode(text) == title
    assert max(text) < policy.prompting.first
    assert len(set(policy.search(title, 5).tolist())) == 5
    publish(policy, tmp_path / "merged", dataset)
    again = Generative(**how, epochs=1, learning_rate=1e-9, backbone={"path": tmp_path / "merged", "rank": 2})
    again.fit(dataset)
    assert np.array_equal(again.search(title, 5), policy.search(title, 5))


def test_items_can_be_named_by_titles_as_the_checkpoint_reads_them(dataset, folder, tmp_path):
    how = {"quantiser": "titles", "window": 5, "users": True}
    policy = Generative(**how, epochs=1, backbone={"path": folder, "rank": 2})
    policy.fit(dataset)
    for item, row in enumerate(policy.prompting.rows.tolist()):
        told = [token for token in row if token != EMPTY]
        assert policy.language.decode(told[:-1]) == policy.tokenizer.texts[item]
        assert told[-1] == policy.prompting.end
    publish(policy, tmp_path / "merged", dataset)
    again = Generative(**how, epochs=1, learning_rate=1e-9, backbone={"path": tmp_path / "merged", "rank": 2})
    again.fit(dataset)
    save_policy(again, tmp_path / "kept")
    items = np.array([[3, 1, 4], [1, 5, 9]])
    users = np.array([0, 1])
    page = policy.write(items, None, 5, users=users)
    assert np.array_equal(again.write(items, None, 5, users=users), page)
    assert np.array_equal(load_policy(tmp_path / "kept").write(items, None, 5, users=users), page)


def test_all_of_an_item_is_learnt_and_nothing_else(dataset, folder):
    how = {"quantiser": "titles", "levels": 3, "window": 5, "grades": True, "users": True}
    policy = Generative(**how, epochs=1, backbone={"path": folder})
    policy.fit(dataset)
    pen, one, other = policy.pen, policy.prompting.rows[3], policy.prompting.rows[8]
    tokens, lengths = policy.prompting.written(np.array([[3, 8]]), users=np.array([0]))
    wanted = policy.prompting.names_items(torch.from_numpy(tokens))[:, : lengths[0]]
    assert len(pen.user(0)) == 3
    assert tokens[0, wanted[0].numpy()].tolist() == [t for t in (*one, *other) if t != EMPTY]


def even(dataset, likes: int = 6) -> Records:
    """Everybody was shown six items: those of an even number are liked, the others passed over."""
    users = np.arange(len(dataset.users))
    rng = np.random.default_rng(1)
    items = np.stack([rng.choice(len(dataset.catalog), likes, replace=False) for _ in users])
    grades = np.where(items % 2 == 0, Grade.LIKED, Grade.PASSED).astype(np.int8).reshape(-1)
    nothing = np.full(items.size, np.nan, dtype=np.float32)
    shown = Graded(begins(np.full(len(users), likes)), items.reshape(-1), grades, nothing)
    return make_records(users, past_of(dataset, users, 5), shown, "simulated")


@pytest.mark.parametrize(("rank", "among"), [(2, "vocabulary"), (2, "level"), (0, "vocabulary")])
def test_preferences_teach_a_checkpoint_too(folder, tmp_path, monkeypatch, rank, among):
    split = leave_one_out(films_world(users=40, items=60).dataset)
    split = replace(split, valid=split.valid[:0])
    records = even(split.train)
    monkeypatch.setattr(curriculum, "records_of", lambda *_: records)
    backbone = {"path": str(folder), "rank": rank}
    policy = Generative(**SMALL, epochs=1, window=5, beams=10, among=among, backbone=backbone)
    policy.fit(split.train)
    save_policy(policy, tmp_path / "before")
    log = split.train.interactions
    items = np.stack([log.items[begin : begin + 3] for begin in split.train.starts[:-1]])[:32]
    before = (policy.write(items, None, 10) % 2 == 0).mean()
    lesson = Lesson("simulated", "listwise", {"beta": 1.0}, epochs=4, learning_rate=5e-3, batch_size=16, most_lost=1.0)
    told = taught(policy, lesson, split)
    assert told.kept == 4
    assert (policy.write(items, None, 10) % 2 == 0).mean() > before + 0.1

    # What is learnt is kept, and a stage that broke off after half its epochs comes to the same.
    save_policy(policy, tmp_path / "after")
    page = policy.write(items, None, 10)
    assert np.array_equal(load_policy(tmp_path / "after").write(items, None, 10), page)
    again = load_policy(tmp_path / "before")

    def stop(epoch) -> None:
        if epoch.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught(again, lesson, split, folder=tmp_path / "progress", watch=stop)
    again = load_policy(tmp_path / "before")
    taught(again, lesson, split, folder=tmp_path / "progress")
    assert np.array_equal(again.write(items, None, 10), page)


def test_a_checkpoint_finds_answers_as_likely_as_transformers_does(dataset, folder, tmp_path):
    for among in ("vocabulary", "level"):
        how = {"backbone": {"path": folder, "rank": 2}, "among": among}
        policy = Generative(**SMALL, epochs=1, window=5, learning_rate=0.02, **how)
        policy.fit(dataset)
        prompts, lengths = policy.prompting.written(np.array([[EMPTY, 3, 1], [2, 6, 5]]))
        answers = policy.prompting.rows[np.array([[7, 9, 11], [4, 0, 8]])]
        with torch.no_grad():
            given = map(torch.from_numpy, (prompts, lengths, answers))
            found = answer_likelihoods(policy.model, *given, policy.spans)
        publish(policy, tmp_path / among, dataset)
        plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / among).eval()
        levels = policy.spans or ((0, None),) * answers.shape[2]
        for row, some in enumerate(answers):
            for place, answer in enumerate(some):
                told = [token for token in answer.tolist() if token != EMPTY]
                begun = prompts[row, : lengths[row]].tolist()
                with torch.no_grad():
                    logits = plain(torch.tensor([begun + told])).logits[0, len(begun) - 1 : -1]
                wanted = sum(
                    torch.log_softmax(one[first:end], dim=-1)[token - first].item()
                    for one, token, (first, end) in zip(logits, told, levels, strict=False)
                )
                assert found[row, place].item() == pytest.approx(wanted, abs=1e-4)


def test_a_checkpoint_without_the_new_tokens_is_told(dataset, folder, tmp_path):
    policy = Generative(**SMALL, epochs=1, window=5, backbone={"path": folder, "rank": 2})
    policy.fit(dataset)
    publish(policy, tmp_path / "merged", dataset)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "merged" / name).write_bytes((folder / name).read_bytes())
    count = len(SPECIAL) + sum(policy.tokenizer.sizes)
    with pytest.raises(SimenvError, match=f"lacks {count} of {count} tokens, <end> first; a checkpoint without them"):
        Generative(**SMALL, backbone={"path": tmp_path / "merged"}).fit(dataset)


def test_another_checkpoint_in_the_folder_is_told(dataset, tmp_path):
    path = checkpoint(tmp_path / "base")
    policy = Generative(**SMALL, epochs=1, window=5, backbone={"path": path, "rank": 2})
    policy.fit(dataset)
    save_policy(policy, tmp_path / "kept")
    checkpoint(path, padded=3)
    with pytest.raises(StoreError, match="holds another checkpoint"):
        load_policy(tmp_path / "kept")


def test_a_window_that_the_context_cannot_hold_is_told(dataset, folder):
    with pytest.raises(SimenvError, match=r"context holds 256 tokens.*shorter window"):
        Generative(**SMALL, window=200, backbone={"path": folder}).fit(dataset)


@pytest.mark.parametrize(
    ("backbone", "wrong"),
    [
        ({"rank": 8}, "must name a path"),
        ("tiny", "must name a path"),
        ({"path": "x", "rang": 8}, "no part of a backbone 'rang'"),
        ({"path": "x", "rank": -1}, "rank is -1"),
    ],
)
def test_bad_options_are_told(backbone, wrong):
    with pytest.raises(SimenvError, match=wrong):
        Generative(backbone=backbone)


def test_a_folder_without_a_model_is_told(dataset, tmp_path):
    with pytest.raises(SimenvError, match=r"config\.json"):
        Generative(backbone={"path": tmp_path}).fit(dataset)

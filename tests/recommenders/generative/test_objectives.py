"""The losses are those of their papers, and none depends on the order of what was rejected."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from simenv.errors import SimenvError  # noqa: E402
from simenv.language.llama import Llama, Shape  # noqa: E402
from simenv.pages import EMPTY  # noqa: E402
from simenv.recommenders.generative.objectives import (  # noqa: E402
    CrossEntropy,
    GroupPolicyGradient,
    ListwisePreference,
    Told,
    advantages,
    rule_and_rank,
)
from simenv.recommenders.generative.packing import answer_likelihoods  # noqa: E402


def told(policy: list[list[float]], reference: list[list[float]], chosen: int = 1, gaps: float = 0.0) -> Told:
    one, other = torch.tensor(policy, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)
    worth = torch.zeros_like(one)
    worth[:, :chosen] = 1
    return Told(one, other, torch.isfinite(one), worth, torch.where(worth > 0, 0.0, gaps))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-30, 0), min_size=4, max_size=4), st.floats(0.05, 3))
def test_with_one_rejected_it_is_dpo(values, beta):
    won, lost, won_before, lost_before = values
    found = ListwisePreference(beta).loss(told([[won, lost]], [[won_before, lost_before]]))
    dpo = -F.logsigmoid(torch.tensor(beta * ((won - won_before) - (lost - lost_before)), dtype=torch.float64))
    assert float(found) == pytest.approx(float(dpo), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-20, 0), min_size=6, max_size=6), st.floats(0.05, 2))
def test_with_several_it_is_the_formula_of_s_dpo(values, beta):
    policy, before = values[:3], values[3:]
    found = ListwisePreference(beta).loss(told([policy], [before]))
    gained = [one - other for one, other in zip(policy, before, strict=True)]
    worse = sum(np.exp(beta * (gained[place] - gained[0])) for place in (1, 2))
    formula = -F.logsigmoid(-torch.log(torch.tensor(worse, dtype=torch.float64)))
    assert float(found) == pytest.approx(float(formula), abs=1e-6)


def test_what_overflows_in_the_formula_is_finite_here():
    assert torch.isfinite(ListwisePreference(1.0).loss(told([[-900.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]])))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-10, 0), min_size=5, max_size=5), st.randoms())
def test_the_order_of_the_rejected_changes_nothing(values, random):
    order = [1, 2, 3, 4]
    random.shuffle(order)
    before = [0.0] * 5
    one = ListwisePreference(0.7).loss(told([values], [before]))
    other = ListwisePreference(0.7).loss(told([[values[0], *(values[place] for place in order)]], [before]))
    assert float(one) == pytest.approx(float(other), abs=1e-9)


def test_what_is_not_there_counts_for_nothing():
    whole = told([[-1.0, -2.0]], [[-1.5, -1.5]])
    more = told([[-1.0, -2.0, -torch.inf]], [[-1.5, -1.5, 0.0]])
    for objective in (ListwisePreference(), CrossEntropy(), GroupPolicyGradient()):
        assert float(objective.loss(whole)) == pytest.approx(float(objective.loss(more)))


def test_a_margin_wants_more_of_what_is_worse():
    near, far = (
        ListwisePreference(1.0, margin=0.5).loss(told([[-1.0, -2.0]], [[-1.0, -2.0]], gaps=gap)) for gap in (1, 3)
    )
    assert far > near > ListwisePreference(1.0).loss(told([[-1.0, -2.0]], [[-1.0, -2.0]]))


def test_several_positives_share_the_mass():
    even = ListwisePreference().loss(told([[-1.0, -1.0, -4.0]], [[0.0, 0.0, 0.0]], chosen=2))
    odd = ListwisePreference().loss(told([[0.0, -2.0, -4.0]], [[0.0, 0.0, 0.0]], chosen=2))
    assert even < odd


def test_a_group_rewarded_alike_moves_nothing():
    policy = torch.zeros(2, 3, requires_grad=True)
    rewards = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    there = torch.ones_like(rewards, dtype=torch.bool)
    GroupPolicyGradient(kl=0.0).loss(Told(policy, policy.detach(), there, rewards, rewards * 0)).backward()
    assert not policy.grad.any()


def test_advantages_are_those_of_grpo():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    found = advantages(rewards, torch.ones_like(rewards, dtype=torch.bool))
    assert found[0].tolist() == pytest.approx([0.75 / 0.5001, *[-0.25 / 0.5001] * 3], rel=1e-4)


def test_the_reward_of_rank_is_reres():
    found = rule_and_rank(torch.tensor([[5, 7, 9], [1, 2, 3]]), torch.tensor([7, 8]))
    shares = [1 / np.log2(place + 2) for place in range(3)]
    assert found[0].tolist() == pytest.approx([-shares[0] / sum(shares), 1.0, -shares[2] / sum(shares)])
    assert found[1].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("wrong", [{"beta": 0}, {"margin": -1}, {"reference": "mine"}])
def test_bad_settings_are_told(wrong):
    with pytest.raises(SimenvError, match=next(iter(wrong))):
        ListwisePreference(**wrong)


@pytest.fixture(scope="module")
def model() -> Llama:
    torch.manual_seed(0)
    return Llama(Shape(40, dimensions=32, layers=2, heads=4, context=32)).eval()


def alone(model: Llama, prompt: list[int], answer: list[int]) -> float:
    """How likely an answer is, read as one plain row."""
    with torch.no_grad():
        scores = F.log_softmax(model.scores(model(torch.tensor([prompt + answer])))[0], dim=-1)
    return sum(float(scores[len(prompt) + place - 1, token]) for place, token in enumerate(answer))


@pytest.mark.parametrize("longest", [1, 2, 4])
def test_answers_beside_each_other_are_as_likely_as_alone(model, longest):
    rng = np.random.default_rng(longest)
    lengths = np.array([3, 9, 6])
    prompts = rng.integers(1, 40, size=(3, 9))
    answers = rng.integers(0, 40, size=(3, 5, longest))
    answers[0, 1, 1:] = EMPTY
    answers[2, 4] = EMPTY
    with torch.no_grad():
        found = answer_likelihoods(model, *map(torch.from_numpy, (prompts, lengths, answers)))
    for row in range(3):
        for place in range(5):
            answer = [token for token in answers[row, place].tolist() if token != EMPTY]
            wanted = alone(model, prompts[row, : lengths[row]].tolist(), answer)
            assert float(found[row, place]) == pytest.approx(wanted, abs=1e-4)


def test_the_gradient_is_that_of_plain_rows(model):
    prompts, lengths = torch.tensor([[1, 2, 3, 4]]), torch.tensor([4])
    answers = torch.tensor([[[5, 6], [7, 8]]])
    model.zero_grad()
    (answer_likelihoods(model, prompts, lengths, answers) * torch.tensor([1.0, -0.5])).sum().backward()
    packed = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    for answer, share in (([5, 6], 1.0), ([7, 8], -0.5)):
        scores = F.log_softmax(model.scores(model(torch.tensor([[1, 2, 3, 4, *answer]])))[0], dim=-1)
        (share * (scores[3, answer[0]] + scores[4, answer[1]])).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(packed[name], weight.grad, atol=1e-5, rtol=1e-4)

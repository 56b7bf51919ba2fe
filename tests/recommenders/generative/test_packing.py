"""A prompt that is read once for many answers teaches what reading it once for each would teach."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from torch import Tensor  # noqa: E402

from simenv.language.llama import Llama, Shape  # noqa: E402
from simenv.pages import EMPTY  # noqa: E402
from simenv.recommenders.generative.objectives import ListwisePreference, Told  # noqa: E402
from simenv.recommenders.generative.packing import answer_likelihoods  # noqa: E402

REJECTED = 20


@pytest.fixture
def model() -> Llama:
    torch.manual_seed(0)
    return Llama(Shape(40, dimensions=32, layers=2, heads=4, context=32)).double()


def gradients(model: Llama, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def preferred(policy: Tensor) -> Tensor:
    """The summed loss of lists whose first answer was chosen, against a reference that is not even."""
    there = torch.ones_like(policy, dtype=torch.bool)
    worth = torch.zeros_like(policy)
    worth[:, 0] = 1
    reference = -torch.arange(policy.numel(), dtype=policy.dtype).reshape(policy.shape) % 3
    reference[:, 0] = -1
    told = Told(policy, reference, there, worth, torch.zeros_like(policy))
    return ListwisePreference(0.5).loss(told) * len(policy)


def a_list() -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(0)
    prompt = torch.from_numpy(rng.integers(1, 40, (1, 9)))
    answers = torch.from_numpy(rng.integers(0, 40, (1, 1 + REJECTED, 4)))
    answers[0, 3, 2:] = EMPTY
    return prompt, torch.tensor([9]), answers


def as_pairs(prompt: Tensor, lengths: Tensor, answers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    pairs = torch.stack([answers[0, :1].expand(REJECTED, -1), answers[0, 1:]], dim=1)
    return prompt.expand(REJECTED, -1), lengths.expand(REJECTED), pairs


def test_a_list_teaches_what_its_pairs_teach_one_by_one(model):
    packed = answer_likelihoods(model, *a_list())
    pairs = torch.stack([packed[0, :1].expand(REJECTED), packed[0, 1:]], dim=1)
    found = gradients(model, preferred(pairs))

    wanted = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    prompts, lengths, answers = as_pairs(*a_list())
    total = preferred(answer_likelihoods(model, prompts, lengths, answers))
    torch.testing.assert_close(total, preferred(pairs), atol=1e-9, rtol=0)
    for row, share in enumerate(torch.autograd.grad(preferred(pairs), pairs)[0]):
        one = slice(row, row + 1)
        alone = (answer_likelihoods(model, prompts[one], lengths[one], answers[one]) * share).sum()
        for name, gradient in gradients(model, alone).items():
            wanted[name] += gradient
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], atol=1e-10, rtol=1e-7)


def test_the_loss_of_a_list_is_the_same_from_a_row_for_each_rejected(model):
    found = gradients(model, preferred(answer_likelihoods(model, *a_list())))
    rows = answer_likelihoods(model, *as_pairs(*a_list()))
    wanted = gradients(model, preferred(torch.cat([rows[:1, 0], rows[:, 1]])[None]))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], atol=1e-10, rtol=1e-7)
        assert gradient.any()


@pytest.mark.parametrize("longest", [1, 4])
def test_a_prompt_of_one_token_beside_a_long_one_teaches_as_it_does_alone(model, longest):
    prompts = torch.zeros(2, 12, dtype=torch.long)
    prompts[0, 0], prompts[1] = 5, torch.arange(1, 13)
    lengths = torch.tensor([1, 12])
    answers = torch.randint(0, 40, (2, 3, longest), generator=torch.Generator().manual_seed(0))
    answers[0, 2] = EMPTY
    shares = torch.tensor([[1.0, -0.5, 0.0], [0.25, -1.0, 0.75]])
    found = gradients(model, (answer_likelihoods(model, prompts, lengths, answers) * shares).sum())

    wanted = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = answer_likelihoods(model, prompts[one, :length], lengths[one], answers[one])
        for name, gradient in gradients(model, (alone * shares[one]).sum()).items():
            wanted[name] += gradient
    for name, gradient in found.items():
        assert torch.isfinite(gradient).all()
        torch.testing.assert_close(gradient, wanted[name], atol=1e-10, rtol=1e-7)


def test_what_fills_a_prompt_up_changes_nothing(model):
    prompts = torch.tensor([[1, 0, 0, 0], [1, 2, 3, 4]])
    others = torch.tensor([[1, 7, 8, 9], [1, 2, 3, 4]])
    lengths, answers = torch.tensor([1, 4]), torch.tensor([[[5, 6], [7, 8]]]).expand(2, -1, -1)
    one, other = (preferred(answer_likelihoods(model, some, lengths, answers)) for some in (prompts, others))
    torch.testing.assert_close(one, other, atol=1e-12, rtol=0)
    gradient = gradients(model, one)["table.weight"]
    torch.testing.assert_close(gradient, gradients(model, other)["table.weight"], atol=1e-12, rtol=1e-9)


def test_no_answer_hears_of_another(model):
    prompts, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    told = [
        answer_likelihoods(model, prompts, lengths, torch.tensor([[[5, 6, 7], [8, second, 10]]]))[0, 0]
        for second in (9, 30)
    ]
    torch.testing.assert_close(told[0], told[1], atol=1e-12, rtol=0)

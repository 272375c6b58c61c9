"""Linear layers by oneDNN are the same layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.onednn import OneDnnLinear, use_onednn


@pytest.mark.parametrize("shape", [(1, 7), (5, 7), (2, 3, 7), (0, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_same_products(shape: tuple[int, ...], *, bias: bool) -> None:
    torch.manual_seed(1)
    linear = nn.Linear(7, 11, bias=bias)
    x = torch.randn(shape)
    with torch.inference_mode():
        found, expected = OneDnnLinear(linear)(x), linear(x)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-6)


def test_tensors_are_shared_and_every_linear_layer_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(7, 5), nn.GELU(), nn.ModuleList([nn.Linear(5, 3, bias=False)]))
    before = dict(model.named_parameters())
    use_onednn(model)
    assert {name: id(tensor) for name, tensor in model.named_parameters()} == {
        name: id(tensor) for name, tensor in before.items()
    }
    kinds = [type(module) for module in model.modules() if isinstance(module, nn.Linear)]
    assert kinds == [OneDnnLinear, OneDnnLinear]


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    use_onednn(model)
    assert type(model[0]) is nn.Linear


def test_a_gradient_is_pytorch_s() -> None:
    linear = nn.Linear(3, 2)
    x = torch.randn(4, 3, requires_grad=True)
    OneDnnLinear(linear)(x).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, linear.weight.detach().sum(0).expand(4, 3))

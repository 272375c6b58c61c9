"""Linear layers by oneDNN are the same layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model import onednn
from model.onednn import BLOCKS, OneDnnLinear, blocks_of, make_programs, use_onednn


@pytest.mark.parametrize("shape", [(1, 7), (5, 7), (2, 3, 7), (0, 7), (17, 31, 7)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_same_products(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    off: float,
    monkeypatch: pytest.MonkeyPatch,
    *,
    bias: bool,
) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no products of bfloat16")
    monkeypatch.setattr(onednn, "LEAST_PRODUCTS", 1)
    torch.manual_seed(1)
    linear = nn.Linear(7, 11, bias=bias)
    x = torch.randn(shape)
    with torch.inference_mode():
        expected = linear(x)
        found = OneDnnLinear(linear.to(dtype))(x if dtype == torch.float32 else x.to(dtype))
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert torch.allclose(found.float(), expected, atol=off)


@pytest.mark.parametrize(
    ("rows", "blocks"),
    [
        (1, [16]),
        (16, [16]),
        (17, [32]),
        (33, [48]),
        (63, [64]),
        (65, [64, 16]),
        (511, [256, 128, 64, 64]),
        (512, [256, 256]),
    ],
)
def test_rows_go_in_few_sizes(rows: int, blocks: list[int]) -> None:
    assert blocks_of(rows) == blocks


@given(st.integers(1, 5000))
def test_blocks_hold_all_rows_and_fill_up_less_than_16(rows: int) -> None:
    blocks = blocks_of(rows)
    assert set(blocks) <= set(BLOCKS)
    assert 0 <= sum(blocks) - rows < 16


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that names the processor; an AMD until a test writes another."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\n")
    monkeypatch.setattr(onednn, "PROCESSOR", path)
    return path


@pytest.mark.usefixtures("processor")
def test_tensors_are_shared_and_every_linear_layer_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(7, 5), nn.GELU(), nn.ModuleList([nn.Linear(5, 3, bias=False)]))
    before = dict(model.named_parameters())
    use_onednn(model)
    assert {name: id(tensor) for name, tensor in model.named_parameters()} == {
        name: id(tensor) for name, tensor in before.items()
    }
    kinds = [type(module) for module in model.modules() if isinstance(module, nn.Linear)]
    assert kinds == [OneDnnLinear, OneDnnLinear]


def test_float32_stays_with_mkl_on_an_intel(processor: Path) -> None:
    processor.write_text("processor\t: 0\nvendor_id\t: GenuineIntel\n")
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3, dtype=torch.bfloat16))
    use_onednn(model)
    halves = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert [type(layer) for layer in model] == [nn.Linear, OneDnnLinear if halves else nn.Linear]


def test_float32_goes_by_onednn_where_nothing_names_the_processor(processor: Path) -> None:
    processor.unlink()
    model = nn.Sequential(nn.Linear(2, 3))
    use_onednn(model)
    assert type(model[0]) is OneDnnLinear


@pytest.mark.usefixtures("processor")
def test_programs_are_made_for_layers_that_can_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    product = onednn.product

    def noted(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        asked.append((len(rows), *weight.shape))
        return product(rows, weight, bias)

    monkeypatch.setattr(onednn, "product", noted)
    model = nn.Sequential(nn.Linear(90, 90), nn.Linear(90, 90), nn.Linear(90, 8))
    use_onednn(model)
    make_programs(model)
    assert asked == [(rows, 90, 90) for rows in BLOCKS]


@pytest.mark.usefixtures("processor")
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    use_onednn(model)
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("shape", [(4, 3), (7, 11, 3), (70, 3)])
def test_the_gradient_is_pytorch_s(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "LEAST_PRODUCTS", 1)
    torch.manual_seed(1)
    linear = nn.Linear(3, 2).requires_grad_(requires_grad=False)
    x = torch.randn(shape, requires_grad=True)
    weights = torch.randn(*shape[:-1], 2)
    (OneDnnLinear(linear)(x) * weights).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, weights @ linear.weight, atol=1e-6)

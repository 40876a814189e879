"""Folding batch norms: same vectors, fewer modules, and no wrong fold."""

from __future__ import annotations

import pytest
from winnow.models.torchvision_ops import ensure_torchvision

torch = pytest.importorskip("torch")
ensure_torchvision()

from winnow.models.folding import fold_batch_norms  # noqa: E402

nn = torch.nn
SIDE = 16


def trained(module: torch.nn.Module) -> torch.nn.Module:
    """Give batch norms statistics that matter."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_mean, part.running_var):
                nn.init.uniform_(tensor, 0.5, 2.0)
    return module.eval()


def norms(module: torch.nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


class Head(nn.Sequential):
    def __init__(self, *body: torch.nn.Module) -> None:
        super().__init__(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten())


class Reversed(nn.Module):
    """Runs its norm before its convolution although registered after it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.norm(x)).mean(dim=(2, 3))


def test_norms_after_convolutions_disappear() -> None:
    tower = trained(
        Head(
            nn.Conv2d(3, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8)),
        )
    )
    folded = fold_batch_norms(tower, SIDE, SIDE)
    x = torch.randn(3, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.allclose(folded(x), tower(x), atol=1e-5)
    assert (norms(tower), norms(folded)) == (2, 0)


def test_timms_norms_keep_their_activation() -> None:
    from timm.layers import BatchNormAct2d

    tower = trained(Head(nn.Conv2d(3, 8, 3), BatchNormAct2d(8, act_layer=nn.ReLU6)))
    folded = fold_batch_norms(tower, SIDE, SIDE)
    x = torch.randn(3, 3, SIDE, SIDE) * 5
    with torch.inference_mode():
        assert torch.allclose(folded(x), tower(x), atol=1e-5)
    assert norms(folded) == 0


def test_a_fold_that_would_change_vectors_is_not_made() -> None:
    tower = trained(Reversed())
    assert fold_batch_norms(tower, SIDE, SIDE) is tower


def test_norms_without_a_convolution_stay() -> None:
    tower = trained(Head(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))
    assert norms(fold_batch_norms(tower, SIDE, SIDE)) == 1


def test_towers_without_norms_are_left_alone() -> None:
    tower = Head(nn.Conv2d(3, 4, 3)).eval()
    assert fold_batch_norms(tower, SIDE, SIDE) is tower

"""Losses against their golden values, and gradients in pieces against whole ones."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch

from pipeline.models.training.loss import backward, make_loss
from pipeline.models.training.world import World


def test_clip_loss_of_matching_unit_vectors():
    # ln(e + 3) − 1 for four orthogonal pairs at scale 1; nothing left at scale 100.
    loss = make_loss("clip", World())
    eye = torch.eye(4)
    assert float(loss(eye, eye, torch.tensor(1.0), None)) == pytest.approx(
        math.log(math.e + 3) - 1, abs=1e-6
    )
    assert float(loss(eye, eye, torch.tensor(1.0), None)) == pytest.approx(
        0.743668, abs=1e-6
    )
    assert float(loss(eye, eye, torch.tensor(100.0), None)) == pytest.approx(
        0, abs=1e-6
    )


def test_siglip_loss_of_matching_unit_vectors():
    loss = make_loss("siglip", World())
    eye = torch.eye(4)
    found = loss(eye, eye, torch.tensor(10.0), torch.tensor(-10.0))
    # −ln σ(0) of the pair itself, and −ln σ(10) of three others.
    exact = math.log(2) + 3 * math.log1p(math.exp(-10))
    assert float(found) == pytest.approx(exact, abs=1e-6)
    assert float(found) == pytest.approx(0.693283, abs=1e-6)


class Small(torch.nn.Module):
    def __init__(self, bias):
        super().__init__()
        torch.manual_seed(0)
        self.image = torch.nn.Linear(5, 4).double()
        self.text = torch.nn.Linear(6, 4).double()
        self.scale = torch.nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.bias = bias and torch.nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))

    def forward(self, images, tokens):
        unit = torch.nn.functional.normalize
        bias = None if self.bias is None else self.bias * 1.0
        return (
            unit(self.image(images), dim=-1),
            unit(self.text(tokens), dim=-1),
            self.scale.exp(),
            bias,
        )


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_gradients_in_pieces_are_those_of_the_whole_batch(kind, pieces):
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    tokens = torch.randn(7, 6, generator=draw, dtype=torch.float64)
    found = []
    for parts in (1, pieces):
        towers = Small(bias=True if kind == "siglip" else None)
        loss = backward(
            towers,
            make_loss(kind, World()),
            (images, tokens),
            parts,
            contextlib.nullcontext,
        )
        found.append([loss, *(p.grad for p in towers.parameters())])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)

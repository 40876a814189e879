"""Losses against their golden values, and gradients in pieces against whole ones."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch
from winnow.filters.train.loss import backward, make_loss, of_two_views
from winnow.filters.train.world import World


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
    value = loss(eye, eye, torch.tensor(10.0), torch.tensor(-10.0))
    # −ln σ(0) of the pair itself, and −ln σ(10) of three others.
    exact = math.log(2) + 3 * math.log1p(math.exp(-10))
    assert float(value) == pytest.approx(exact, abs=1e-6)
    assert float(value) == pytest.approx(0.693283, abs=1e-6)


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
    by_pieces = []
    for parts in (1, pieces):
        towers = Small(bias=True if kind == "siglip" else None)
        loss = backward(
            towers,
            make_loss(kind, World()),
            (images, tokens),
            parts,
            contextlib.nullcontext,
        )
        by_pieces.append([loss, *(p.grad for p in towers.parameters())])
    for one, other in zip(*by_pieces, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_two_views_of_matching_unit_vectors():
    clip = make_loss("clip", World())
    loss = of_two_views(clip, clip, 0.3, 0.1)
    eye = torch.eye(4)
    value = loss(torch.stack([eye, eye], 1), eye, torch.tensor(1.0), None)
    # Both views fit the text at scale 1, and each other at scale 1 / 0.1.
    told = math.log(math.e + 3) - 1
    alike = math.log(math.e**10 + 3) - 10
    assert float(value) == pytest.approx(told + 0.3 * alike, abs=1e-6)
    # A view that is another image's fits neither the text nor the first view.
    swapped = torch.stack([eye, eye.flip(0)], 1)
    apart = loss(swapped, eye, torch.tensor(1.0), None)
    wrong = math.log(math.e + 3)
    assert float(apart) == pytest.approx(
        (told + wrong) / 2 + 0.3 * math.log(math.e**10 + 3), abs=1e-5
    )


class TwoViews(Small):
    def forward(self, images, tokens):
        image, *rest = super().forward(images.flatten(0, 1), tokens)
        return image.unflatten(0, (-1, 2)), *rest


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_gradients_of_two_views_in_pieces_are_those_of_the_whole_batch(kind):
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(7, 2, 5, generator=draw, dtype=torch.float64)
    tokens = torch.randn(7, 6, generator=draw, dtype=torch.float64)
    loss = of_two_views(make_loss(kind, World()), make_loss("clip", World()), 0.3, 0.1)
    by_pieces = []
    for pieces in (1, 3):
        towers = TwoViews(bias=True if kind == "siglip" else None)
        value = backward(towers, loss, (images, tokens), pieces, contextlib.nullcontext)
        by_pieces.append([value, *(p.grad for p in towers.parameters())])
    for one, other in zip(*by_pieces, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)

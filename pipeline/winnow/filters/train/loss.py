"""open_clip's losses over all processes, and exact gradients in pieces."""

from __future__ import annotations

import math
from typing import Any

from winnow.filters.train.world import World
from winnow.models.torchvision_ops import ensure_torchvision


def make_loss(kind: str, world: World) -> Any:
    """Return (image, text, scale, bias) → loss over the batches of all processes.

    `clip`: Radford et al. 2021, arXiv 2103.00020, figure 3, on gathered features; every
    process computes the whole loss, whose gradients DistributedDataParallel then
    averages to exactly those of one process. `siglip`: Zhai et al. 2023, arXiv
    2303.15343, algorithm 1; the mean over processes is the whole loss.
    """
    ensure_torchvision()
    from open_clip.loss import ClipLoss, SigLipLoss

    if kind == "siglip":
        sigmoid = SigLipLoss(rank=world.rank, world_size=world.size)
        return lambda image, text, scale, bias: sigmoid(
            image, text, logit_scale=scale, logit_bias=bias
        )
    clip = ClipLoss(gather_with_grad=True, rank=world.rank, world_size=world.size)
    return lambda image, text, scale, bias: clip(image, text, scale, logit_bias=bias)


def of_two_views(aligned: Any, alike: Any, weight: float, temperature: float) -> Any:
    """Return a loss of (b, 2, dim) image vectors: each view to the text, and the two.

    The mean of `aligned` over both views, plus `weight` times the contrastive loss
    `alike` between them at a fixed temperature (SLIP, Mu et al. 2021, arXiv 2112.12750,
    section 3): copies of an image come to lie closer than images that look like it.
    """

    def both(image: Any, text: Any, scale: Any, bias: Any) -> Any:
        one, other = (view.contiguous() for view in image.unbind(1))
        told = (aligned(one, text, scale, bias) + aligned(other, text, scale, bias)) / 2
        return told + weight * alike(one, other, 1 / temperature, None)

    return both


def backward(
    towers: Any, loss: Any, given: tuple[Any, Any], pieces: int, cast: Any
) -> Any:
    """Return the loss of a batch, detached, after adding its gradients.

    With several pieces, features are first computed without activations; the loss's
    gradients at the features are then carried through one piece at a time (Gao et al.
    2021, arXiv 2101.06983). The loss is that of the whole batch, not of the pieces.
    """
    import contextlib

    import torch

    images, tokens = given
    if pieces == 1:
        with cast():
            features = towers(images, tokens)
        value = loss(*features)
        value.backward()
        return value.detach()
    parts = list(zip(images.chunk(pieces), tokens.chunk(pieces), strict=True))
    with torch.no_grad(), cast():
        seen = [towers(*part) for part in parts]
    joined = [torch.cat([features[tower] for features in seen]) for tower in (0, 1)]
    leaves: list[Any] = [
        None if value is None else value.detach().requires_grad_()
        for value in (*joined, *seen[0][2:])
    ]
    value = loss(*leaves)
    value.backward()
    size = math.ceil(len(images) / pieces)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        waits = getattr(towers, "no_sync", None)
        with contextlib.nullcontext() if last or waits is None else waits():
            with cast():
                features = towers(*part)
            rows = slice(number * size, number * size + len(part[0]))
            carried: Any = sum(
                (value * leaf.grad[rows]).sum()
                for value, leaf in zip(features[:2], leaves[:2], strict=True)
            )
            # The scalars belong to the batch: once is enough.
            scalars = zip(features[2:], leaves[2:], strict=True)
            for scalar, leaf in scalars:
                if scalar is not None:
                    carried = carried + (scalar * leaf.grad * float(last)).sum()
            carried.backward()
    return value.detach()

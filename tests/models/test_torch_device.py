"""Products on a device of torch: the processor stands in for a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from winnow.core.errors import ConfigError
from winnow.models import torch_device
from winnow.models.kmeans import train_kmeans
from winnow.models.torch_device import STAND_IN, TorchDevice, device_of
from winnow.numeric.device import Nominated, uncertainty


def unit(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pairs(told: Iterator[Nominated]) -> set[tuple[int, int]]:
    return {
        pair
        for some in told
        for pair in zip(some.rows.tolist(), some.candidates.tolist(), strict=True)
    }


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Whatever this process has opened is forgotten, before and after."""
    torch_device._opened.cache_clear()
    monkeypatch.delenv(STAND_IN, raising=False)
    yield monkeypatch
    torch_device._opened.cache_clear()


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_what_is_nominated_holds_the_nearest_in_float64(size: int) -> None:
    device = TorchDevice("cpu")
    device._size = size
    rows, candidates = unit(60, 48), unit(40, 48, seed=1)
    candidates[20:] = candidates[:20] + np.float32(1e-7)
    first = np.random.default_rng(2).integers(0, 61, 40)
    least = np.full(60, -np.inf, np.float32)
    products = rows.astype(np.float64) @ candidates.T.astype(np.float64)
    products[np.arange(60)[:, None] < first[None, :]] = -np.inf
    largest = products.max(axis=1, keepdims=True)
    sees = np.isfinite(largest)
    surely, perhaps = products == largest, products >= largest - 1e-5
    told = list(device.nominated(rows, candidates, first, least))
    nominated = pairs(iter(told))
    assert set(zip(*np.nonzero(surely & sees), strict=True)) <= nominated
    assert nominated <= set(zip(*np.nonzero(perhaps & sees), strict=True))
    assert [some.start for some in told] == sorted(some.start for some in told)
    float32 = np.concatenate([some.largest for some in told])
    np.testing.assert_allclose(float32, largest[:, 0], atol=1e-6)
    # A row that is done sees nothing any more.
    least[:] = np.inf
    assert pairs(device.nominated(rows, candidates, first, least)) == set()


def test_no_order_of_addition_errs_by_more_than_is_allowed_for() -> None:
    # Equal numbers are rounded alike: the error grows as fast as it can.
    for dim in (3, 512, 769):
        row = np.full((1, dim), 1 / np.sqrt(dim)).astype(np.float32)
        total = np.float32(0)
        for number in row[0]:
            total += number * number
        assert abs(float(total) - 1) <= uncertainty(dim) / 2
    assert TorchDevice("cpu").error() < uncertainty(256) / 2


@pytest.mark.parametrize("bits", [10, 7])
def test_products_of_fewer_bits_are_told(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = TorchDevice("cpu")
    whole = device.placed

    def rounded(rows: np.ndarray) -> Any:
        # What TensorFloat-32 and bfloat16 keep of a number.
        step = np.float32(2.0 ** (24 - bits - 1) + 1)
        kept = rows * step
        return whole(kept - (kept - rows))

    monkeypatch.setattr(device, "placed", rounded)
    assert device.error() > 10 * uncertainty(256)


@pytest.mark.parametrize("failures", [1, 3, 30])
def test_too_little_memory_means_smaller_tiles_and_then_the_processor(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, rows, candidates = TorchDevice("cpu"), unit(80, 16), unit(30, 16, seed=1)
    least = np.full(80, -np.inf, np.float32)
    expected = pairs(device.nominated(rows, candidates, None, least))
    whole, heights, left = device._tile, [], [failures]

    def tile(rows: Any, candidates: Any, limits: Any, part: slice) -> Any:
        heights.append(part.stop - part.start)
        left[0] -= 1
        # The processor's try, after the device's last, has memory enough.
        if left[0] >= 0 and sys._getframe(1).f_code.co_name == "_tried":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(rows, candidates, limits, part)

    monkeypatch.setattr(device, "_tile", tile)
    monkeypatch.setattr(torch_device, "_FEWEST", 200)
    device._size = 2_000
    assert pairs(device.nominated(rows, candidates, None, least)) == expected
    assert heights[1] == heights[0] // 2
    assert device._size > 90


def test_other_faults_of_a_device_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    device = TorchDevice("cpu")

    def tile(*given: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(device, "_tile", tile)
    told = device.nominated(unit(2, 4), unit(2, 4), None, np.zeros(2, np.float32))
    with pytest.raises(RuntimeError, match="illegal memory"):
        next(told)


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_what_a_user_chose_for_products_stays(precision: str) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        assert TorchDevice("cpu").error() < uncertainty(256) / 2
        assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cuda.matmul.allow_tf32 == (precision == "high")
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_machine_without_a_gpu_goes_on_or_says_so(opening: Any) -> None:
    opening.setattr(torch_device, "_may_have_gpu", lambda: False)
    assert device_of("cpu") is device_of("auto") is None
    with pytest.raises(ConfigError, match=r"engine\.device: cuda, but .*NVIDIA driver"):
        device_of("cuda")


def test_a_driver_without_a_gpu_says_so(opening: Any) -> None:
    opening.setattr(torch_device, "_may_have_gpu", lambda: True)
    opening.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") is None
    with pytest.raises(ConfigError, match=r"torch .* sees no GPU"):
        device_of("cuda")


@pytest.mark.parametrize(
    ("error", "told"), [(1e-3, r"no float32: 1.0e-03 off"), (None, "no kernel image")]
)
def test_a_gpu_that_does_not_make_float32_products_is_not_used(
    error: float | None, told: str, opening: Any
) -> None:
    def products(self: TorchDevice) -> float:
        if error is None:
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with")
        return error

    opening.setattr(TorchDevice, "error", products)
    opening.setenv(STAND_IN, "cpu")
    assert device_of("auto") is None
    with pytest.raises(ConfigError, match=told):
        device_of("cuda")


def test_hidden_gpus_are_no_reason_to_import_torch(opening: Any) -> None:
    opening.setattr(torch_device, "_exists", lambda path: True)
    opening.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert torch_device._may_have_gpu()
    for hidden in ("", "-1"):
        opening.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert not torch_device._may_have_gpu()


@pytest.mark.parametrize("copies", [False, True])
def test_centroids_are_those_without_a_device(copies: bool) -> None:
    random = np.random.default_rng(5)
    centres = unit(12, 24)
    rows = centres.repeat(200, 0) + 0.05 * random.standard_normal((2400, 24))
    rows = random.permutation(rows).astype(np.float32)
    if copies:
        # Halfway between two centres, and of no direction.
        rows[:300] = centres[0] + centres[1]
        rows[300:303] = 0
    train: Callable[..., np.ndarray] = train_kmeans
    for coarse in (0, 600):
        expected = train(rows, 12, seed=3, coarse_rows=coarse)
        centroids = train(
            rows, 12, seed=3, coarse_rows=coarse, device=TorchDevice("cpu")
        )
        np.testing.assert_allclose(centroids, expected, atol=1e-6)
        nearest = [(rows[303:] @ c.T).argmax(axis=1) for c in (centroids, expected)]
        assert np.array_equal(*nearest)


def test_centroids_that_are_not_spherical_are_no_matter_of_a_device() -> None:
    rows = np.random.default_rng(0).normal(3, 1, (900, 4)).astype(np.float32)
    expected = train_kmeans(rows, 5, seed=0, spherical=False)
    device: Any = object()
    again = train_kmeans(rows, 5, seed=0, spherical=False, device=device)
    assert np.array_equal(again, expected)

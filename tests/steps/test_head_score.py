"""Heads on vectors: torch's own Sequential with the same weights is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file
from winnow import api
from winnow.algorithms.filter.heads import Head, Layer, head_scores
from winnow.core.errors import ConfigError, InputError
from winnow.flows.what_if import what_if

Winnow = Callable[..., Any]
ALL = {"keep_fraction": 1.0}
#: What is not embedded has no column of vectors.
NONE = {"image": {"text_column": None}, "text": {"image_column": None}}
ACTIVATIONS = {
    "none": torch.nn.Identity,
    "relu": torch.nn.ReLU,
    "gelu": torch.nn.GELU,
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
}


def sequential(*widths: int, activation: str = "none") -> torch.nn.Sequential:
    torch.manual_seed(len(widths))
    parts: list[torch.nn.Module] = []
    for before, after in pairwise(widths):
        parts += [torch.nn.Linear(before, after), ACTIVATIONS[activation]()]
    return torch.nn.Sequential(*parts[:-1])


def saved(model: torch.nn.Module, file: Path) -> str:
    save_file(model.state_dict(), file)
    return str(file)


def asked(model: torch.nn.Sequential, vectors: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.double()(torch.from_numpy(vectors.astype(np.float64))).numpy()


def of_run(run: Any, modality: str = "image") -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and, in the same order, the vectors that were scored."""
    scores = run.artifact("score", "scores").sort_by("uid")["score"].to_numpy()
    rows = run.artifact("embed", "vectors").sort_by("uid").to_pylist()
    return scores, np.array([r[f"{modality}_vector"] for r in rows], np.float64)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layers_are_torchs(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, activation: str
):
    """LAION's shape in small: a dozen named layers, 10 after 2."""
    model = sequential(16, 24, 20, 12, 8, 4, 1, activation=activation)
    given = {
        "method": "head",
        "weights": saved(model, tmp_path / "head.safetensors"),
        "options": {"activation": activation},
    }
    run = winnow(
        planted_pool, tmp_path / "r", ["embed", "score"], score={**given, **ALL}
    )
    scores, vectors = of_run(run)
    np.testing.assert_allclose(scores, asked(model, vectors)[:, 0], rtol=1e-10)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_class_of_several_on_one_modality_alone(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, modality: str
):
    model = sequential(16, 8, 3)
    options = {"on": modality, "output": "softmax", "index": 2}
    weights = saved(model, tmp_path / "head.safetensors")
    run = winnow(
        planted_pool,
        tmp_path / "r",
        ["embed", "score"],
        embed={"modalities": [modality], **NONE[modality]},
        score={"method": "head", "weights": weights, "options": options}
        | {"threshold": 0.4},
    )
    scores, vectors = of_run(run, modality)
    expected = torch.softmax(torch.from_numpy(asked(model, vectors)), 1)[:, 2].numpy()
    np.testing.assert_allclose(scores, expected, rtol=1e-10)
    assert 0 < len(run.kept("score")) == (expected >= 0.4).sum() < 200


def test_a_score_is_the_same_in_any_batch():
    rng = np.random.default_rng(0)
    layers = [
        Layer(str(n), rng.normal(size=shape), rng.normal(size=shape[0]))
        for n, shape in enumerate([(37, 50), (3, 37)])
    ]
    vectors = rng.normal(size=(600, 50)).astype(np.float16)
    for output in ("number", "sigmoid", "softmax"):
        head = Head(layers, "gelu", output, 1)
        whole = head_scores(vectors, head)
        alone = np.concatenate(
            [head_scores(vectors[i : i + 7], head) for i in range(0, 600, 7)]
        )
        np.testing.assert_array_equal(whole, alone)
    assert np.isnan(head_scores(np.full((1, 50), np.inf), head)).all()


def test_other_weights_score_again_and_a_threshold_does_not_embed(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    file = tmp_path / "head.safetensors"
    given = {"method": "head", "weights": saved(sequential(16, 1), file), **ALL}
    first = winnow(planted_pool, tmp_path / "r", ["embed", "score"], score=given)
    median = float(np.median(of_run(first)[0]))
    other = what_if(
        tmp_path / "r",
        ["score.keep_fraction=null", f"score.threshold={median}"],
        api.make_engine,
    )
    assert (other["ran"], other["kept"]["b"]) == (["score"], 100)
    again = {"score": given}
    assert (
        winnow(planted_pool, tmp_path / "r", ["embed", "score"], **again).result.ran
        == []
    )
    saved(sequential(16, 4, 1), file)
    second = winnow(planted_pool, tmp_path / "r", ["embed", "score"], **again)
    assert second.result.ran == ["score"]


@pytest.mark.parametrize(
    ("write", "options", "error", "says"),
    [
        (lambda f: None, {}, InputError, "no such file"),
        (lambda f: f.write_bytes(b"x" * 20), {}, InputError, "no whole .safetensors"),
        (lambda f: save_file({}, f), {}, ConfigError, "no layer"),
        (lambda f: saved(sequential(12, 1), f), {}, ConfigError, "takes 12 numbers"),
        (lambda f: saved(sequential(16, 3), f), {"index": 3}, ConfigError, "no output"),
        (
            lambda f: saved(sequential(16, 4, 1), f),
            {"layers": ["1", "0"]},
            ConfigError,
            "no layer '1'; it has 0, 2",
        ),
        (
            lambda f: saved(sequential(16, 4, 1), f),
            {"layers": ["2", "0"]},
            ConfigError,
            "'0' takes 16 numbers, but '2' gives 1",
        ),
        (
            lambda f: saved(torch.nn.BatchNorm1d(16), f),
            {},
            ConfigError,
            "part of no linear layer",
        ),
        (
            lambda f: save_file({"a.weight": torch.ones(1, 16).bfloat16()}, f),
            {},
            InputError,
            "float16, float32 or float64",
        ),
        (
            lambda f: save_file({"a.weight": torch.full((1, 16), torch.nan)}, f),
            {},
            ConfigError,
            "NaN",
        ),
    ],
)
def test_weights_that_are_no_head_say_why(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    write: Any,
    options: dict[str, Any],
    error: type[Exception],
    says: str,
):
    file = tmp_path / "head.safetensors"
    write(file)
    given = {"method": "head", "weights": str(file), "options": options, **ALL}
    with pytest.raises(error, match=says):
        winnow(planted_pool, tmp_path / "run", ["embed", "score"], score=given)


@pytest.mark.parametrize(
    "given", [{"method": "head"}, {"weights": "f.safetensors"}], ids=["none", "vain"]
)
def test_weights_go_with_heads(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, given: dict[str, Any]
):
    with pytest.raises(ConfigError, match="weights goes with head"):
        winnow(planted_pool, tmp_path / "r", ["embed", "score"], score={**given, **ALL})


def test_a_head_mixes_with_alignment(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    weights = saved(sequential(16, 1), tmp_path / "head.safetensors")
    terms = [{"method": "head", "weights": weights, "weight": -1.0}, {}]
    run = winnow(
        planted_pool,
        tmp_path / "r",
        ["embed", "score"],
        score={"terms": terms, "normalise": "none", **ALL},
    )
    table: pa.Table = run.artifact("score", "scores")
    expected = table["alignment"].to_numpy() - table["head"].to_numpy()
    np.testing.assert_allclose(table["score"].to_numpy(), expected)

"""Scenes and captions: the same from the same seed, varied, and true to each other."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from winnow.demo.captions import WORDS, describe, plain_name, reword
from winnow.demo.copies import CHANGES, copy, decode
from winnow.demo.drawing import jpeg, render
from winnow.demo.scenes import (
    KINDS,
    PALETTE,
    PATTERNS,
    SIZE,
    Shape,
    compose,
    generator,
    jitter,
)

_IN_ANOTHER_PROCESS = """
import hashlib
from winnow.demo.captions import describe
from winnow.demo.drawing import jpeg, render
from winnow.demo.scenes import compose, generator
state = hashlib.sha256()
for i in range(20):
    scene = compose(7, i)
    state.update(jpeg(render(scene)) + describe(scene, generator("t", i)).encode())
print(state.hexdigest())
"""


def test_another_process_draws_the_same_scenes():
    digests = {
        subprocess.run(
            [sys.executable, "-c", _IN_ANOTHER_PROCESS],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def test_seeds_and_indices_draw_different_scenes():
    files = [jpeg(render(compose(seed, i))) for seed in (0, 1) for i in range(100)]
    assert len(set(files)) == len(files)


def test_every_kind_colour_pattern_and_number_occurs():
    scenes = [compose(0, i) for i in range(600)]
    shapes = [shape for scene in scenes for shape in scene.shapes]
    assert {shape.kind for shape in shapes} == set(KINDS)
    assert {shape.colour for shape in shapes} == set(PALETTE)
    assert {scene.ground.pattern for scene in scenes} == set(PATTERNS)
    counts = Counter(len(scene.shapes) for scene in scenes)
    assert set(counts) == {1, 2, 3, 4, 5}
    assert counts[1] > counts[5]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_shapes_lie_in_the_image_and_differ_from_the_ground(count: int):
    for index in range(50):
        scene = compose(3, index, shapes=count)
        assert len(scene.shapes) == count
        for shape in scene.shapes:
            assert shape.colour != scene.ground.colour
            assert all(shape.radius <= c <= SIZE - shape.radius for c in shape.centre)


def test_a_shape_is_painted_in_its_colour_where_the_scene_says():
    solid = set(KINDS) - {"ring"}
    checked = 0
    for index in range(80):
        scene = compose(4, index, shapes=1)
        (shape,) = scene.shapes
        if shape.kind in solid:
            x, y = map(round, shape.centre)
            assert render(scene).getpixel((x, y)) == shape.rgb
            checked += 1
    assert checked > 40


def _names(shape: Shape, text: str) -> bool:
    return any(word in text for word in WORDS[shape.colour]) and any(
        word in text for word in WORDS[shape.kind]
    )


def test_captions_name_every_shape_and_only_shown_kinds():
    for index in range(300):
        scene = compose(5, index)
        text = describe(scene, generator("caption", index))
        assert all(_names(shape, text) for shape in scene.shapes)
        shown = {shape.kind for shape in scene.shapes}
        for kind in ("triangle", "heart"):
            assert (kind in text) == (kind in shown)


def test_sides_and_places_in_captions_agree_with_the_picture():
    sides = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}
    checked = 0
    for index in range(400):
        scene = compose(6, index, shapes=2)
        first, second = scene.shapes
        if (first.colour, first.kind) == (second.colour, second.kind):
            continue
        text = describe(scene, generator("caption", index))
        for words, (axis, sign) in sides.items():
            if f" {words} " not in text or f"the {words}" in text:
                continue
            before, after = text.split(f" {words} ")
            mentioned = first, second
            if not (_names(first, before) and _names(second, after)):
                mentioned = second, first
            gap = mentioned[1].centre[axis] - mentioned[0].centre[axis]
            assert gap * sign > 0, text
            checked += 1
    assert checked > 50


def test_captions_vary():
    scene = compose(0, 0, shapes=3)
    texts = {describe(scene, generator("c", k)) for k in range(40)}
    assert len(texts) > 20


def test_the_plain_name_of_one_shape():
    scene = compose(0, 0, shapes=1)
    article, colour, kind = plain_name(scene).split()
    assert article in ("a", "an")
    assert f"{colour} {kind}" == scene.concept


def test_reword_changes_the_caption_and_keeps_most_of_it():
    for index in range(100):
        text = describe(compose(8, index), generator("c", index))
        other = reword(text, generator("r", index))
        assert other != text
        shared = Counter(text.split()) & Counter(other.split())
        assert shared.total() >= len(text.split()) - 1


def test_jitter_moves_shapes_a_little():
    scene = compose(0, 3)
    moved = jitter(scene, generator("j"))
    assert moved != scene
    assert moved.ground == scene.ground
    for before, after in zip(scene.shapes, moved.shapes, strict=True):
        assert (before.kind, before.colour) == (after.kind, after.colour)
        distances = [
            abs(a - b) for a, b in zip(before.centre, after.centre, strict=True)
        ]
        assert max(distances) <= 2


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_another_file_of_the_same_picture(change):
    for index in range(20):
        original = jpeg(render(compose(0, index)))
        again = copy(original, change, generator("copy", index))
        assert again != original
        before, after = decode(original), decode(again)
        assert (before.size == after.size) == (change == "reencoded")
        small = (16, 16)
        pairs = zip(
            before.resize(small).tobytes(), after.resize(small).tobytes(), strict=True
        )
        gap = sum(abs(a - b) for a, b in pairs) / (16 * 16 * 3)
        assert gap < 30
        if change == "cropped":
            assert 0.89 <= after.width / before.width <= 0.96

"""What people would write under a scene: several words and phrasings for one thing."""

from __future__ import annotations

import random

from winnow.demo.scenes import SIZE, Ground, Scene, Shape

WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "crimson", "scarlet"),
    "orange": ("orange", "orange", "amber"),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green", "green", "emerald"),
    "teal": ("teal", "teal", "turquoise"),
    "blue": ("blue", "blue", "royal blue"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rose"),
    "brown": ("brown", "brown", "chestnut"),
    "white": ("white",),
    "gray": ("gray", "grey"),
    "black": ("black",),
    "circle": ("circle", "circle", "disc"),
    "square": ("square", "square", "box"),
    "triangle": ("triangle",),
    "star": ("star", "star", "five-pointed star"),
    "ring": ("ring", "ring", "hoop"),
    "cross": ("cross", "cross", "plus sign"),
    "heart": ("heart",),
    "hexagon": ("hexagon", "hexagon", "six-sided shape"),
    "diamond": ("diamond", "diamond", "rhombus"),
    "small": ("small", "small", "little", "tiny"),
    "large": ("large", "large", "big", "huge"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted", "polka dot"),
    "gradient": ("gradient", "fading", "shaded"),
    "plain": ("", "", "plain", "solid"),
    "background": ("background", "background", "backdrop", "ground"),
    "left": ("left of", "to the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right side of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "beneath"),
}
#: Shapes up to the first radius are called small, from the second on large (pixels).
SMALL, LARGE = 16.0, 27.0
_PLACES = (
    ("top left corner", "top", "top right corner"),
    ("left", "centre", "right"),
    ("bottom left corner", "bottom", "bottom right corner"),
)


def describe(scene: Scene, rng: random.Random) -> str:
    """Return a caption that holds true of the scene; another draw, another caption."""
    things = [_noun_phrase(shape, rng) for shape in scene.shapes]
    ground = _ground_phrase(scene.ground, rng)
    if len(things) == 1:
        return _describe_one(scene.shapes[0], things[0], ground, rng)
    if len(things) == 2:
        text = _pair(scene.shapes[0], scene.shapes[1], things, rng)
    else:
        text = _many(scene, things, rng)
    template = rng.choices(
        ("{text} on {ground}", "{text}", "{ground} with {text}"), (60, 20, 20)
    )[0]
    return template.format(text=text, ground=ground)


def plain_name(scene: Scene) -> str:
    """Return the shortest true caption of a scene of one shape: `a red circle`."""
    shape = scene.shapes[0]
    return _with_article(f"{shape.colour} {shape.kind}")


def reword(text: str, rng: random.Random) -> str:
    """Return the caption with one word exchanged, added or taken away."""
    words = text.split()
    swaps = [
        (word_index, other)
        for word_index, word in enumerate(words)
        for group in WORDS.values()
        if word in group
        for other in group
        if other not in ("", word)
    ]
    if swaps:
        word_index, other = rng.choice(swaps)
        words[word_index] = other
        return " ".join(words)
    return f"{text} {rng.choice(('drawing', 'picture', 'illustration'))}"


def _describe_one(shape: Shape, thing: str, ground: str, rng: random.Random) -> str:
    template = rng.choice(
        (
            "{thing}",
            "{thing} {place}",
            "{thing} on {ground}",
            "{thing} {place} on {ground}",
            "{ground} with {thing} {place}",
            "{ground} with {thing}",
            "a picture of {thing} on {ground}",
            "{thing} {place} of {ground}",
        )
    )
    return template.format(thing=thing, ground=ground, place=_place(shape, rng))


def _noun_phrase(shape: Shape, rng: random.Random) -> str:
    parts = [rng.choice(WORDS[shape.colour]), rng.choice(WORDS[shape.kind])]
    size = _size(shape)
    if size and rng.random() < 0.8:
        parts.insert(0, rng.choice(WORDS[size]))
    if shape.outlined and rng.random() < 0.6:
        if rng.random() < 0.5:
            parts.insert(-2, "outlined")
        else:
            parts.append("with an outline")
    return _with_article(" ".join(parts))


def _size(shape: Shape) -> str:
    if shape.radius <= SMALL:
        return "small"
    return "large" if shape.radius >= LARGE else ""


def _ground_phrase(ground: Ground, rng: random.Random) -> str:
    words = (
        rng.choice(WORDS[ground.pattern]),
        rng.choice(WORDS[ground.colour]),
        rng.choice(WORDS["background"]),
    )
    return _with_article(" ".join(word for word in words if word))


def _place(shape: Shape, rng: random.Random) -> str:
    row, column = (min(2, int(3 * value / SIZE)) for value in shape.centre[::-1])
    region = _PLACES[row][column]
    if region == "centre":
        return rng.choice(("in the centre", "in the middle"))
    if region.endswith("corner"):
        return rng.choice(
            (f"in the {region}", f"at the {region.removesuffix(' corner')}")
        )
    side = "on" if region in ("left", "right") else "at"
    return f"{side} the {region}"


def _relation(first: Shape, second: Shape, rng: random.Random) -> str:
    dx = second.centre[0] - first.centre[0]
    dy = second.centre[1] - first.centre[1]
    if abs(dx) >= abs(dy):
        return rng.choice(WORDS["left" if dx > 0 else "right"])
    return rng.choice(WORDS["above" if dy > 0 else "below"])


def _pair(first: Shape, second: Shape, things: list[str], rng: random.Random) -> str:
    if rng.random() < 0.25:
        return f"{things[0]} and {things[1]}"
    if rng.random() < 0.5:
        return f"{things[0]} {_relation(first, second, rng)} {things[1]}"
    return f"{things[1]} {_relation(second, first, rng)} {things[0]}"


def _many(scene: Scene, things: list[str], rng: random.Random) -> str:
    if rng.random() < 0.5:
        order = rng.sample(things, len(things))
        return f"{', '.join(order[:-1])} and {order[-1]}"
    pair = _pair(scene.shapes[0], scene.shapes[1], things, rng)
    rest = things[2:]
    tail = rest[0] if len(rest) == 1 else f"{', '.join(rest[:-1])} and {rest[-1]}"
    return (
        f"{pair}, {rng.choice(('with', 'next to', 'and also', 'together with'))} {tail}"
    )


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeio' else 'a'} {phrase}"

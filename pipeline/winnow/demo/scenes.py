"""Scenes of one to five coloured shapes on a ground, drawn from a seed.

Every draw comes from `random.Random` seeded with a string: the same on every machine
and Python process. Coordinates are pixels of the finished image.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

SIZE = 128

Colour = tuple[int, int, int]
Point = tuple[float, float]

PALETTE: dict[str, Colour] = {
    "red": (214, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (250, 220, 50),
    "green": (40, 150, 60),
    "teal": (30, 170, 170),
    "blue": (40, 80, 210),
    "purple": (125, 50, 165),
    "pink": (250, 150, 190),
    "brown": (125, 80, 40),
    "white": (248, 248, 248),
    "gray": (140, 140, 140),
    "black": (20, 20, 20),
}
PATTERNS = ("plain", "striped", "dotted", "gradient")
#: Largest rotation in degrees at which a kind is still called by its name.
KINDS: dict[str, float] = {
    "circle": 0.0,
    "square": 18.0,
    "triangle": 30.0,
    "star": 36.0,
    "ring": 0.0,
    "cross": 18.0,
    "heart": 25.0,
    "hexagon": 30.0,
    "diamond": 15.0,
}
#: Radii in pixels by number of shapes, so that five still fit beside each other.
RADII: dict[int, tuple[float, float]] = {
    1: (13, 46),
    2: (11, 29),
    3: (11, 23),
    4: (10, 20),
    5: (10, 18),
}
#: How often a scene has 1, 2, … shapes; real pools hold more simple than rich samples.
SHAPE_WEIGHTS = (30, 26, 20, 14, 10)


@dataclass(frozen=True, slots=True)
class Shape:
    """One filled shape; `angle` in degrees, `outlined` with a contrasting edge."""

    kind: str
    colour: str
    rgb: Colour
    centre: Point
    radius: float
    angle: float
    outlined: bool


@dataclass(frozen=True, slots=True)
class Ground:
    """What lies behind the shapes; `period` in pixels, `phase` within 0 to 1."""

    pattern: str
    colour: str
    rgb: Colour
    second: Colour
    period: float
    phase: float
    direction: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Shapes from the largest to the smallest on a ground."""

    shapes: tuple[Shape, ...]
    ground: Ground

    @property
    def concept(self) -> str:
        """Name of what is shown: `red circle`, `circle+star`, …"""
        if len(self.shapes) == 1:
            return f"{self.shapes[0].colour} {self.shapes[0].kind}"
        return "+".join(sorted(shape.kind for shape in self.shapes))

    def parts(self) -> frozenset[tuple[str, str]]:
        """Return the (colour, kind) pairs in it."""
        return frozenset((shape.colour, shape.kind) for shape in self.shapes)


def generator(*key: object) -> random.Random:
    """Return the random stream that belongs to `key`, such as (seed, index)."""
    return random.Random("/".join(map(str, key)))


def compose(seed: int, index: int, shapes: int | None = None) -> Scene:
    """Return scene `index` of `seed`, of that many shapes if a number is given."""
    rng = generator("scene", seed, index)
    count = shapes or rng.choices(range(1, 6), SHAPE_WEIGHTS)[0]
    ground = _ground(rng)
    colours = [name for name in PALETTE if name != ground.colour]
    placed: list[Shape] = []
    radii = sorted((rng.uniform(*RADII[count]) for _ in range(count)), reverse=True)
    for radius in radii:
        kind = rng.choice(list(KINDS))
        colour = rng.choice(colours)
        placed.append(
            Shape(
                kind=kind,
                colour=colour,
                rgb=_shade(PALETTE[colour], rng),
                centre=_free_place(rng, radius, placed),
                radius=radius,
                angle=rng.uniform(-KINDS[kind], KINDS[kind]),
                outlined=rng.random() < 0.25,
            )
        )
    return Scene(tuple(placed), ground)


def jitter(scene: Scene, rng: random.Random) -> Scene:
    """Return the same scene moved by about a pixel: a near copy, not a copy."""

    def nudge(shape: Shape) -> Shape:
        x, y = shape.centre
        return replace(
            shape,
            centre=(x + rng.uniform(-1.2, 1.2), y + rng.uniform(-1.2, 1.2)),
            radius=shape.radius * rng.uniform(0.97, 1.03),
            angle=shape.angle + rng.uniform(-2, 2),
        )

    return replace(scene, shapes=tuple(map(nudge, scene.shapes)))


def _shade(rgb: Colour, rng: random.Random, spread: int = 14) -> Colour:
    r, g, b = (min(255, max(0, c + rng.randint(-spread, spread))) for c in rgb)
    return r, g, b


def mix(rgb: Colour, other: Colour, share: float) -> Colour:
    """Return the colour that lies `share` of the way from one to the other."""
    r, g, b = (round(a + (b - a) * share) for a, b in zip(rgb, other, strict=True))
    return r, g, b


def is_light(rgb: Colour) -> bool:
    """Return whether black shows up better on the colour than white."""
    # Rec. 601 luma.
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140


def _ground(rng: random.Random) -> Ground:
    colour = rng.choice(list(PALETTE))
    rgb = _shade(PALETTE[colour], rng)
    far = (0, 0, 0) if is_light(rgb) else (255, 255, 255)
    return Ground(
        pattern=rng.choices(PATTERNS, (40, 20, 20, 20))[0],
        colour=colour,
        rgb=rgb,
        second=mix(rgb, far, rng.uniform(0.3, 0.45)),
        period=rng.uniform(12, 26),
        phase=rng.random(),
        direction=rng.choice(("across", "down")),
    )


def _free_place(rng: random.Random, radius: float, placed: list[Shape]) -> Point:
    """Return a centre whose shape lies in the image, clear of the others if it can."""
    best, best_gap = (SIZE / 2, SIZE / 2), -math.inf
    low, high = radius + 3, SIZE - radius - 3
    for _ in range(24):
        point = (rng.uniform(low, high), rng.uniform(low, high))
        gap = min(
            (math.dist(point, s.centre) - s.radius - radius for s in placed),
            default=math.inf,
        )
        if gap > best_gap:
            best, best_gap = point, gap
        if gap >= 3:
            break
    return best

"""Scenes of one to five coloured shapes on a ground, drawn from a seed.

Every draw comes from `random.Random` seeded with a string: the same on every machine
and Python process. Coordinates are pixels of the finished image.
"""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

SIZE = 128
#: Scenes are drawn this many times larger and averaged down: PIL draws hard edges.
OVERSAMPLING = 2

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


def render(scene: Scene) -> Image.Image:
    """Return the scene as an RGB image of SIZE × SIZE pixels."""
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (SIZE * OVERSAMPLING,) * 2, scene.ground.rgb)
    _paint_ground(canvas, ImageDraw.Draw(canvas), scene.ground)
    draw = ImageDraw.Draw(canvas)
    for shape in scene.shapes:
        _paint_shape(draw, shape)
    return canvas.reduce(OVERSAMPLING)


def jpeg(image: Image.Image, quality: int = 88) -> bytes:
    """Return the image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _shade(rgb: Colour, rng: random.Random, spread: int = 14) -> Colour:
    r, g, b = (min(255, max(0, c + rng.randint(-spread, spread))) for c in rgb)
    return r, g, b


def _mix(rgb: Colour, other: Colour, share: float) -> Colour:
    r, g, b = (round(a + (b - a) * share) for a, b in zip(rgb, other, strict=True))
    return r, g, b


def _is_light(rgb: Colour) -> bool:
    # Rec. 601 luma.
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140


def _ground(rng: random.Random) -> Ground:
    colour = rng.choice(list(PALETTE))
    rgb = _shade(PALETTE[colour], rng)
    far = (0, 0, 0) if _is_light(rgb) else (255, 255, 255)
    return Ground(
        pattern=rng.choices(PATTERNS, (40, 20, 20, 20))[0],
        colour=colour,
        rgb=rgb,
        second=_mix(rgb, far, rng.uniform(0.3, 0.45)),
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


def _paint_ground(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, ground: Ground
) -> None:
    from PIL import Image

    side = canvas.width
    period = ground.period * OVERSAMPLING
    offsets = [
        (k + ground.phase) * period for k in range(-1, math.ceil(side / period) + 1)
    ]
    if ground.pattern == "striped":
        for start in offsets:
            end = start + period / 2
            across = ground.direction == "across"
            stripe = (start, 0.0, end, side) if across else (0.0, start, side, end)
            draw.rectangle(stripe, fill=ground.second)
    elif ground.pattern == "dotted":
        dot = period * 0.25
        for x in offsets:
            for y in offsets:
                draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=ground.second)
    elif ground.pattern == "gradient":
        mask = Image.linear_gradient("L").resize((side, side))
        if ground.direction == "across":
            mask = mask.transpose(Image.Transpose.ROTATE_90)
        # Stronger than a pattern's second colour: a faint gradient looks plain.
        far = (0, 0, 0) if _is_light(ground.rgb) else (255, 255, 255)
        canvas.paste(_mix(ground.rgb, far, 0.75), (0, 0, side, side), mask)


def _paint_shape(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    x, y = (value * OVERSAMPLING for value in shape.centre)
    radius = shape.radius * OVERSAMPLING
    edge = (15, 15, 15) if _is_light(shape.rgb) else (250, 250, 250)
    width = 3 * OVERSAMPLING
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape.kind == "ring":
        band = round(radius * 0.36)
        if shape.outlined:
            draw.ellipse(box, outline=edge, width=band + width // 2)
            inset = width // 2
            box = (box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset)
            band -= inset
        draw.ellipse(box, outline=shape.rgb, width=max(band, 2))
    elif shape.kind == "circle":
        draw.ellipse(
            box, fill=shape.rgb, outline=edge if shape.outlined else None, width=width
        )
    else:
        points = [(x + radius * u, y + radius * v) for u, v in _corners(shape)]
        draw.polygon(points, fill=shape.rgb)
        if shape.outlined:
            draw.line([*points, points[0], points[1]], edge, width, joint="curve")


def _corners(shape: Shape) -> list[Point]:
    """Return the corners of the turned shape within the unit circle; y points down."""
    turn = math.radians(shape.angle)
    cos, sin = math.cos(turn), math.sin(turn)
    return [(u * cos - v * sin, u * sin + v * cos) for u, v in _OUTLINES[shape.kind]]


def _regular(corners: int, first: float = -90.0, inner: float = 1.0) -> list[Point]:
    """Return a regular polygon, or a star if every other corner is pulled inwards."""
    return [
        (
            (inner if k % 2 else 1.0)
            * math.cos(math.radians(first + 360 * k / corners)),
            (inner if k % 2 else 1.0)
            * math.sin(math.radians(first + 360 * k / corners)),
        )
        for k in range(corners)
    ]


def _heart() -> list[Point]:
    """Return the well-known heart curve (16 sin³t, 13 cos t − 5 cos 2t − …), scaled."""
    points = []
    for k in range(28):
        t = 2 * math.pi * k / 28
        v = (
            13 * math.cos(t)
            - 5 * math.cos(2 * t)
            - 2 * math.cos(3 * t)
            - math.cos(4 * t)
        )
        points.append((16 * math.sin(t) ** 3 / 17, -v / 17))
    return points


def _cross(arm: float = 0.34) -> list[Point]:
    return [
        (-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm),
        (arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm),
    ]  # fmt: skip


_OUTLINES: dict[str, list[Point]] = {
    "square": _regular(4, first=-45.0),
    "triangle": _regular(3),
    "star": _regular(10, inner=0.42),
    "cross": _cross(),
    "heart": _heart(),
    "hexagon": _regular(6, first=0.0),
    "diamond": [(0.0, -1.0), (0.58, 0.0), (0.0, 1.0), (-0.58, 0.0)],
}

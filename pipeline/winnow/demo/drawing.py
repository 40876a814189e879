"""Paints scenes: PIL images and JPEG files of them."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from winnow.demo.scenes import SIZE, Ground, Point, Scene, Shape, is_light, mix

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

#: Scenes are drawn this many times larger and averaged down: PIL draws hard edges.
OVERSAMPLING = 2


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
        far = (0, 0, 0) if is_light(ground.rgb) else (255, 255, 255)
        canvas.paste(mix(ground.rgb, far, 0.75), (0, 0, side, side), mask)


def _paint_shape(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    x, y = (value * OVERSAMPLING for value in shape.centre)
    radius = shape.radius * OVERSAMPLING
    edge = (15, 15, 15) if is_light(shape.rgb) else (250, 250, 250)
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

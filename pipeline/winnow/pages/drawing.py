"""Vega-Lite charts, drawn to SVG here and coloured by the page's style sheet.

Colours are CSS variables, so that one drawing serves light and dark; text is text. A
chart is an image with one description; a table beside it holds its numbers. Only the
marks of a chart with links are named one by one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from markupsafe import Markup

Spec = dict[str, Any]

# What vl-convert makes of a link within the page.
_LINK = re.compile(r'<a xlink:href="https?://[^"#]*(#[^"]+)"')
_NAMED = re.compile(
    r'<(path|rect) aria-label="([^"]*)" role="graphics-symbol"([^>]*)/>'
)
# Roles of WAI-ARIA's graphics module, which few readers know.
_GRAPHICS = re.compile(r' aria-roledescription="[^"]*"| role="graphics-[a-z]+"')
_ID = re.compile(r' id="([^"]+)"')
_ID_USED = re.compile(r'( id="|url\(#)([^")]+)')
_SIZE = re.compile(r' width="[\d.]+" height="[\d.]+" viewBox="0 0 ([\d.]+) ([\d.]+)"')

KEPT, DROPPED, OTHER = "var(--kept)", "var(--dropped)", "var(--quarantined)"
#: Widths of charts, in pixels: beside another one, or across the page.
NARROW, WIDE = 330, 680

_AXIS = {
    "labelColor": "var(--soft)",
    "titleColor": "var(--soft)",
    "titleFontWeight": "normal",
    "titleFontSize": 12,
    "labelFontSize": 11,
    "gridColor": "var(--line)",
    "domainColor": "var(--line)",
    "tickColor": "var(--line)",
    "labelLimit": 150,
    # Labels that all but touch read as one number.
    "labelSeparation": 8,
}
_LEGEND = {
    "labelColor": "var(--soft)",
    "titleColor": "var(--soft)",
    "titleFontWeight": "normal",
    "labelFontSize": 11,
    "titleFontSize": 12,
    "columnPadding": 18,
    "orient": "top",
}
_CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": _AXIS,
    "legend": _LEGEND,
    "text": {"color": "var(--ink)", "fontSize": 11},
    "rule": {"color": "var(--ink)"},
}


def start() -> None:
    """Start the drawing engine, in a thread of its own: the first chart waits for it.

    A page that fetches its scripts needs no engine and comes at once, but the library
    makes the one that draws. A drawing would do so, too, and let no other Python run.
    """
    import vl_convert

    vl_convert.vega_to_html({}, bundle=False)


def draw(spec: Spec, label: str) -> Markup:
    """Return a chart as an image that `label` describes."""
    svg = _svg(spec, named=False)
    return _opened(svg, 'role="img"', label)


def draw_links(spec: Spec, label: str) -> Markup:
    """Return a chart whose marks are links within the page.

    Each mark's `description` is its name, and its `href` a fragment (`#…`).
    """
    svg = _LINK.sub(r'<a href="\1"', _svg(spec, named=True))
    svg = _NAMED.sub(r'<\1 role="img" aria-label="\2"\3><title>\2</title></\1>', svg)
    return _opened(svg, 'role="group"', label)


def _svg(spec: Spec, *, named: bool) -> str:
    import vl_convert

    config = _CONFIG if named else {**_CONFIG, "aria": False}
    silent = {"aria": False}
    if named:
        config = {**config, "axis": {**_AXIS, **silent}}
        config["legend"] = {**_LEGEND, **silent}
    whole = {"config": config, **spec}
    drawn: str = vl_convert.vegalite_to_svg(whole, allowed_base_urls=[])
    return drawn


def _opened(svg: str, role: str, label: str) -> Markup:
    """Return the drawing as it stands in the page: as wide as there is room.

    Its ids (of gradients, clips) are numbered anew and named by what the drawing holds,
    since vl-convert counts on from chart to chart.
    """
    ids = list(dict.fromkeys(_ID.findall(svg)))
    plain = _ID_USED.sub(
        lambda m: f"{m[1]}{ids.index(m[2]) if m[2] in ids else ''}", svg
    )
    prefix = "c" + hashlib.sha256(plain.encode()).hexdigest()[:10]
    svg = _ID_USED.sub(
        lambda m: f"{m[1]}{prefix}-{ids.index(m[2])}" if m[2] in ids else m[0], svg
    )
    body = svg[svg.index(">") + 1 :]
    sizes = _SIZE.search(svg[: svg.index(">")])
    width, height = sizes.groups() if sizes else ("0", "0")
    body = _GRAPHICS.sub("", body)
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="{}" height="{}" '
        'viewBox="0 0 {} {}" {} aria-label="{}">'
    ).format(width, height, width, height, Markup(role), label)
    return head + Markup(body)

"""The addresses of the map."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from winnow.app.filters import AskedPage, ColumnFilter, Fields, asked
from winnow.app.map_page import Coloured
from winnow.app.pages import fields_of, form_of, page_of
from winnow.app.selections import read_polygon
from winnow.app.site import Shown, Site
from winnow.core.errors import QueryError

_KEEP = {"Cache-Control": "private, max-age=3600"}
_BYTES = "application/octet-stream"
#: Rows that are told of at once; clusters that are listed.
_BRIEF, _CLUSTERS = 64, 100


def map_routes(site: Site) -> list[Route]:
    """Return what answers about the map of a run."""

    def whole(request: Request) -> Response:
        fields = fields_of(request.url.query)
        return page_of(site, "map.html.j2", tab="/map", **_shown(site, fields))

    def points(request: Request) -> Response:
        return Response(site.map().points(), media_type=_BYTES, headers=_KEEP)

    def codes(request: Request) -> Response:
        coloured = _coloured(site, fields_of(request.url.query))
        return Response(coloured.codes.tobytes(), media_type=_BYTES)

    def picture(request: Request) -> Response:
        coloured = _coloured(site, fields_of(request.url.query))
        return Response(site.map().picture(coloured), media_type="image/png")

    def brief(request: Request) -> Response:
        numbers = [v for k, v in fields_of(request.url.query) if k == "n"]
        if not all(n.isascii() and n.isdigit() and len(n) <= 18 for n in numbers):
            raise QueryError("that is no row's number")
        return JSONResponse(site.brief([int(n) for n in numbers[:_BRIEF]]))

    async def choose(request: Request) -> Response:
        fields = dict(fields_of(await form_of(request)))
        return await run_in_threadpool(_choose, site, fields)

    return [
        Route("/map", whole),
        Route("/map/points", points),
        Route("/map/codes", codes),
        Route("/map.png", picture),
        Route("/brief", brief),
        Route("/selections", choose, methods=["POST"]),
    ]


def _choose(site: Site, fields: dict[str, str]) -> Response:
    """Keep a polygon, and lead to the rows inside that the list asks for."""
    name = site.map().keep(read_polygon(fields.get("points", "")))
    wanted = asked(fields_of(fields.get("list", "")), site.index)
    address = wanted.address(selection=name, after=None, before=None)
    return RedirectResponse(f"/?{address}", 303)


def _coloured(site: Site, fields: Fields) -> Coloured:
    return site.map().coloured(_by(fields), _list(site, fields), site.marks.actions())


def _by(fields: Fields) -> str:
    return dict(fields).get("by") or "fate"


def _list(site: Site, fields: Fields) -> AskedPage:
    return asked([f for f in fields if f[0] not in ("by", "v")], site.index)


def _shown(site: Site, fields: Fields) -> Shown:
    """Return what the page of the map shows."""
    drawn, by, wanted = site.map(), _by(fields), _list(site, fields)
    coloured = _coloured(site, fields)
    if wanted.by_similarity:
        raise QueryError("the map colours lists of conditions, not of likeness")
    address = wanted.address(after=None, before=None)
    hidden = {"uid", "row", "kept_twin", "caption"}
    columns = [
        c for c in site.index.columns if c.name not in hidden and c.kind != "time"
    ]
    return {
        "by": by,
        "label": next((c.label for c in columns if c.name == by), by),
        "columns": columns,
        "list": address,
        "list_fields": fields_of(address),
        "query": urlencode([("by", by), *fields_of(address)]),
        "version": f"{drawn.facts.of[:16]}-{drawn.facts.seed}-{drawn.facts.sampled}",
        "legend": coloured.legend,
        "placed": drawn.placed,
        "facts": drawn.facts,
        "clusters": _clusters(site),
    }


def _clusters(site: Site) -> list[tuple[str, int, str]]:
    """Return the largest clusters with the lists of their rows."""
    column = next((c for c in site.index.columns if c.role == "cluster"), None)
    if column is None:
        return []
    coded = site.arrays.coded(column)
    return [
        (
            f"cluster {value}",
            rows,
            AskedPage(
                conditions=(ColumnFilter(column.name, "is", str(value)),)
            ).address(),
        )
        for value, rows in list(zip(coded.values, coded.counts, strict=True))[
            :_CLUSTERS
        ]
    ]

"""The app's addresses: which page answers what, and how it is drawn.

/                    a page of rows (or of a lake's tables)
/row/N               a row's story
/picture/N           its picture; ?large=1 for the one of the story
/marks               POST: mark rows to rescue or drop, or take marks away
/overrides.csv       the marks, as `winnow run` reads them (also .yaml)
/rows.KIND           a list's rows as csv, json, parquet or tar (WebDataset)
/tags, /views, /undo POST: tag a list's rows, keep the list by a name, undo marks
/uids.txt            the uids of the rows that a list shows, all its pages
/beside              this run and another one, side by side
/groups              rows that others went for, most first
/view/NAME           a view of a lake
/map                 all rows as dots; /map/points, /map/codes its bytes, /map.png
/selections          POST: keep rows that were chosen on the map
/cuts                thresholds to try; /cuts/answer a part, /cuts/recipe.yaml
/brief               JSON: what a row is that is pointed at
/static/NAME         style and script
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from winnow.app.cuts_routes import cuts_routes
from winnow.app.gate import App, Gate
from winnow.app.lake import LakeSite, open_lake
from winnow.app.list_routes import list_routes
from winnow.app.map_routes import map_routes
from winnow.app.pages import fields_of, form_of, page_of, templates
from winnow.app.site import Site
from winnow.config.overrides import as_csv, as_yaml
from winnow.core.errors import QueryError, WinnowError
from winnow.core.other_kind import is_scan

_LOG = logging.getLogger(__name__)
_KEEP_PICTURE = {"Cache-Control": "private, max-age=600"}
_STATIC = {
    "style.css": ("text/css", ("pages/templates/page.css", "app/static/app.css")),
    "app.js": ("text/javascript", ("app/static/app.js",)),
    "cuts.js": ("text/javascript", ("app/static/cuts.js",)),
    "map.js": ("text/javascript", ("app/static/map.js",)),
    "icon.svg": ("image/svg+xml", ("app/static/icon.svg",)),
}


@dataclass(frozen=True)
class Opening:
    """What belongs to an opened run beside its folder.

    marked: told of the file of marks whenever it has changed. beside: another run that
    it is compared with.
    """

    marked: Callable[[Path], None] | None = None
    beside: str | Path | None = None


#: A run alone, whose marks nobody is told of.
ALONE = Opening()


def open_site(run: str | Path, opening: Opening = ALONE) -> Site | LakeSite:
    """Return the pages of a run; raises RunError if the folder holds none."""
    if is_scan(run):
        return open_lake(run)
    return Site(run, opening.marked, opening.beside)


def make_app(
    site: Site | LakeSite, port: int, token: str, *, framed: bool = False
) -> App:
    """Return the app behind its gate; framed: see `Gate`."""
    routes = _lake_routes(site) if isinstance(site, LakeSite) else _routes(site)
    routes.append(Route("/static/{name}", _static))
    handlers: dict[Any, Any] = {
        WinnowError: _wrong,
        HTTPException: _missing,
        Exception: _broken,
    }
    app: Any = Starlette(routes=routes, exception_handlers=handlers)
    app.state.site = site
    templates().get_template("rows.html.j2")
    app.router.redirect_slashes = False
    return Gate(app, port, token, framed=framed)


def _routes(site: Site) -> list[Route]:
    def listing(request: Request) -> Response:
        shown = site.listing(fields_of(request.url.query))
        told = _told(request)
        return page_of(
            site, "rows.html.j2", tab="/", told=told, form=site.form(), **shown
        )

    def story(request: Request) -> Response:
        fields = [f for f in fields_of(request.url.query) if f[0] not in _TOLD]
        shown = site.stories.of(request.path_params["n"], fields)
        if shown is None:
            raise HTTPException(404, "this run has no such row")
        return page_of(site, "story.html.j2", told=_told(request), **shown)

    def picture(request: Request) -> Response:
        large = request.query_params.get("large") == "1"
        media = site.picture(request.path_params["n"], large)
        if media is None:
            raise HTTPException(404, "there is no such picture")
        return Response(media[1], media_type=media[0], headers=_KEEP_PICTURE)

    async def mark(request: Request) -> Response:
        fields = fields_of(await form_of(request))
        return await run_in_threadpool(_mark, site, fields)

    return [
        Route("/", listing),
        Route("/row/{n:int}", story),
        Route("/picture/{n:int}", picture),
        Route("/marks", mark, methods=["POST"]),
        *_routes_over_rows(site),
        *list_routes(site),
        *map_routes(site),
        *cuts_routes(site),
    ]


def _routes_over_rows(site: Site) -> list[Route]:
    """Return what answers about many rows at once."""

    def export(request: Request) -> Response:
        return _export(site, request.path_params["kind"])

    def uids(request: Request) -> Response:
        lines = site.uids(fields_of(request.url.query))
        headers = {"Content-Disposition": 'attachment; filename="uids.txt"'}
        return StreamingResponse(lines, media_type="text/plain", headers=headers)

    def groups(request: Request) -> Response:
        return page_of(site, "groups.html.j2", tab="/groups", **site.groups())

    def beside(request: Request) -> Response:
        if site.beside.other is None:
            raise HTTPException(404, "name the other run: winnow ui RUN --beside OTHER")
        return page_of(site, "beside.html.j2", tab="/beside", **site.compared())

    return [
        Route("/beside", beside),
        Route("/overrides.{kind}", export),
        Route("/uids.txt", uids),
        Route("/groups", groups),
    ]


def _lake_routes(site: LakeSite) -> list[Route]:
    def first(request: Request) -> Response:
        return page_of(site, "lake_start.html.j2", **site.overview())

    def view(request: Request) -> Response:
        name = request.path_params["name"]
        shown = site.listing(name, fields_of(request.url.query))
        return page_of(site, "lake.html.j2", **shown)

    return [Route("/", first), Route("/view/{name}", view)]


def _mark(site: Site, fields: list[tuple[str, str]]) -> Response:
    """Change marks and lead back to the page that asked for it."""
    single = dict(fields)
    numbers = [value for key, value in fields if key == "n"]
    if not all(n.isascii() and n.isdigit() and len(n) <= 18 for n in numbers):
        raise QueryError("that is no row's number")
    chosen = list(dict.fromkeys(map(int, numbers)))
    action = single.get("action", "")
    changed = site.mark(chosen, action, single.get("note", ""))
    told = [("changed", str(changed)), ("to", action)]
    back = [(k, v) for k, v in fields_of(single.get("list", "")) if k not in _TOLD]
    row = single.get("row", "")
    if row.isascii() and row.isdigit() and len(row) <= 18:
        told = back + told
        return RedirectResponse(f"/row/{int(row)}?{urlencode(told)}", 303)
    return RedirectResponse(f"/?{urlencode(back + told)}", 303)


_TOLD = ("changed", "to")
_DONE = {
    "rescue": "marked to rescue",
    "drop": "marked to drop",
    "clear": "without a mark now",
    "undo": "marked as before",
}


def _told(request: Request) -> str:
    """Return what the last change did."""
    number = request.query_params.get("changed", "")
    done = _DONE.get(request.query_params.get("to", ""))
    if not done or not number.isascii() or not number.isdigit() or len(number) > 9:
        return ""
    if int(number) == 0:
        return (
            "Nothing is left to undo."
            if request.query_params.get("to") == "undo"
            else "No row was chosen; tick the ones that are meant."
        )
    return f"{int(number):,} {'row' if int(number) == 1 else 'rows'} {done}."


def _export(site: Site, kind: str) -> Response:
    write: dict[str, Callable[..., str]] = {"csv": as_csv, "yaml": as_yaml}
    if kind not in write:
        raise HTTPException(404, "overrides.csv or overrides.yaml")
    text = write[kind](site.marks.overrides().rows)
    headers = {"Content-Disposition": f'attachment; filename="overrides.{kind}"'}
    return Response(text, media_type=f"text/{kind}", headers=headers)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404, "no such file")
    return Response(_file(name), media_type=_STATIC[name][0])


@cache
def _file(name: str) -> str:
    package = files("winnow")
    return "\n".join((package / part).read_text("utf-8") for part in _STATIC[name][1])


def _wrong(request: Request, error: Exception) -> Response:
    return _error_page(request, 400, str(error))


def _missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _error_page(request, status, getattr(error, "detail", "not found"))


def _broken(request: Request, error: Exception) -> Response:
    _LOG.error("%s failed", request.url.path, exc_info=error)
    return _error_page(request, 500, "Winnow has failed here; the terminal says more.")


def _error_page(request: Request, status: int, message: str) -> Response:
    site: Site | LakeSite = request.app.state.site
    return page_of(site, "error.html.j2", status, message=message)

"""The addresses that do something with a whole list: tags, names, files, undo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from winnow.app.filters import AskedPage, asked
from winnow.app.pages import fields_of, form_of
from winnow.app.row_exports import KINDS
from winnow.app.site import Site
from winnow.core.errors import QueryError

_Form = list[tuple[str, str]]


def list_routes(site: Site) -> list[Route]:
    """Return what answers about whole lists of a run."""

    def export(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in KINDS:
            raise HTTPException(404, "rows.csv, .json, .parquet or .tar")
        media, name = KINDS[kind]
        parts = site.export(kind, fields_of(request.url.query))
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(parts, media_type=media, headers=headers)

    return [
        Route("/rows.{kind}", export),
        Route("/tags", _posted(site, _tag), methods=["POST"]),
        Route("/views", _posted(site, _keep), methods=["POST"]),
        Route("/undo", _posted(site, _undo), methods=["POST"]),
    ]


def _posted(
    site: Site, act: Callable[[Site, _Form], Response]
) -> Callable[[Request], Awaitable[Response]]:
    async def posted(request: Request) -> Response:
        form = fields_of(await form_of(request))
        return await run_in_threadpool(act, site, form)

    return posted


def _tag(site: Site, form: _Form) -> Response:
    """Tag a list's rows, or one row; or take a tag from that row."""
    single = dict(form)
    tag, row = single.get("tag", ""), single.get("n", "")
    if row and not (row.isascii() and row.isdigit() and len(row) <= 18):
        raise QueryError("that is no row's number")
    fields = fields_of(single.get("list", ""))
    if single.get("action") == "take" and row:
        uids = [r["uid"] for r in site.rows.numbered([int(row)]).values()]
        site.tags.take(tag, uids)
    else:
        site.tag(fields, tag, [int(row)] if row else None)
    if row:
        return RedirectResponse(f"/row/{int(row)}?{urlencode(fields)}", 303)
    name = " ".join(tag.split())
    return RedirectResponse(f"/?{AskedPage(tag=name).address()}", 303)


def _keep(site: Site, form: _Form) -> Response:
    """Keep a list by a name, or forget the name."""
    single = dict(form)
    forget = single.get("action") == "forget"
    wanted = asked(fields_of(single.get("list", "")), site.index)
    address = wanted.address(after=None, before=None)
    # The list of all rows needs no name; a blank address would forget one.
    site.views.keep(single.get("name", ""), "" if forget else address or "sort=n")
    return RedirectResponse(f"/?{address}", 303)


def _undo(site: Site, form: _Form) -> Response:
    fields = [(k, v) for k, v in fields_of(dict(form).get("list", ""))]
    told = [("changed", str(site.marks.undo())), ("to", "undo")]
    return RedirectResponse(f"/?{urlencode([*fields, *told])}", 303)

"""What every address of the app is answered with: fields read, templates filled."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import jinja2
from starlette.requests import Request
from starlette.responses import Response

from winnow.app.lake import LakeSite
from winnow.app.row_index import as_plain
from winnow.app.site import Site
from winnow.core.errors import QueryError
from winnow.pages.answers import plain

_LARGEST_FORM = 1_000_000
#: Most fields of an address or a form.
_FIELDS = 500


def fields_of(query: str) -> list[tuple[str, str]]:
    """Read an address's or a form's fields; raises QueryError if there are too many."""
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError as error:
        raise QueryError(f"at most {_FIELDS} fields at once") from error
    if any("\0" in key + value for key, value in fields):
        raise QueryError("a value holds a NUL character")
    return fields


async def form_of(request: Request) -> str:
    """Return a form's text; raises QueryError for another kind, or too large a one."""
    kind = request.headers.get("content-type", "").split(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise QueryError("only forms are accepted here")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            raise QueryError("that form is too large")
    return body.decode("utf-8", "replace")


def page_of(
    site: Site | LakeSite,
    template: str,
    status: int = 200,
    tab: str = "",
    **shown: Any,
) -> Response:
    """Return a page: a template filled with what the site shows on all of them.

    tab: the address of the view that it is one of, marked among the others.
    """
    text = (
        templates()
        .get_template(template)
        .render(site=site, frame={**site.frame(), "tab": tab}, **shown)
    )
    return Response(text, status, media_type="text/html; charset=utf-8")


def part_of(site: Site, template: str, **shown: Any) -> Response:
    """Return a part of a page, for a script of ours that puts it in its place."""
    text = templates().get_template(template).render(site=site, **shown)
    return Response(text, media_type="text/html; charset=utf-8")


@cache
def templates() -> jinja2.Environment:
    """Return the templates, which escape whatever a run holds."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("winnow.app", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = as_plain
    environment.filters["brief"] = plain
    return environment

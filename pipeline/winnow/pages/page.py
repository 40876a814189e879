"""A page as one file: a template of some room, the shared style sheet, a policy."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from winnow.core.outputs import require_ending

#: The package whose `templates` every page shares.
_SHARED = "winnow.pages"


def render(room: str, template: str, **values: Any) -> str:
    """Return a page; values are escaped where they stand.

    room: the package whose `templates` folder holds `template`.
    """
    style = _environment(room).get_template("page.css").render()
    # The page runs no script and loads nothing; its one style sheet is named by hash.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _environment(room).get_template(template)
    return page.render(style=Markup(style), policy=policy, **values)


@cache
def _environment(room: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, "templates") for package in (room, _SHARED)]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_page(target: Path, page: str) -> None:
    """Write a page beside its place and give it its name.

    Raises ConfigError for a name that ends like something else, as in `page.pdf`.
    """
    require_ending(target, (".html", ".htm"))
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".tmp")
    beside.write_text(page, encoding="utf-8")
    os.replace(beside, target)

"""Who may ask the app, and that an address reaches nothing but the run's rows."""

from __future__ import annotations

import itertools
import re
import socket
from typing import Any
from urllib.parse import urlencode

import pytest

FORM = "n=0&action=drop"


def test_the_server_listens_on_this_machine_alone():
    from winnow.app.serve import listening

    with listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_taken_port_is_an_error_that_says_what_to_do():
    from winnow.app.serve import listening
    from winnow.core.errors import ConfigError

    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"--port {number}.*--port 0"),
            listening(number),
        ):
            pass


@pytest.mark.parametrize(
    "path", ["/", "/row/1", "/picture/1", "/overrides.csv", "/static/app.js", "/x"]
)
def test_nothing_is_shown_without_the_token(app: Any, path: str):
    known = f"{app.cookie.split('=')[0]}="
    for cookie in ("", known, known + "x" * 32, "winnow_1=" + app.token, "=;;=\x7f"):
        refused = app.ask(path, cookie=cookie)
        assert refused.status == 403
        assert "script" not in refused.text
    wrong = app.ask(f"/?token={app.token[:-1]}", cookie="")
    assert wrong.status == 403
    assert "set-cookie" not in wrong.headers


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(app: Any):
    welcome = app.ask(f"/?token={app.token}", cookie="", sec_fetch_site="cross-site")
    assert welcome.status == 200
    kept, *attributes = welcome.headers["set-cookie"].split("; ")
    assert kept == f"winnow_{app.netloc.split(':')[1]}={app.token}"
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert app.token not in welcome.text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example", None]
)
def test_another_host_is_refused(app: Any, host: str | None):
    assert app.ask("/", host=host).status in (400, 403)
    assert app.ask(f"/?token={app.token}", host=host).status in (400, 403)


def test_localhost_is_this_machine_too(app: Any):
    assert app.ask("/", host=app.netloc.replace("127.0.0.1", "localhost")).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_asks_for_is_refused_even_with_the_cookie(
    app: Any, site: str
):
    assert app.ask("/", sec_fetch_site=site).status == 403
    assert app.ask("/picture/1", sec_fetch_site=site).status == 403
    assert app.ask("/", sec_fetch_site="same-origin").status == 200


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "http://127.0.0.1", "https://{netloc}"],
)
def test_a_change_is_taken_from_the_apps_own_pages_only(app: Any, origin: str | None):
    given = origin.format(netloc=app.netloc) if origin else None
    before = app.ask("/overrides.csv").text
    assert app.ask("/marks", "POST", FORM, origin=given).status == 403
    assert app.ask("/overrides.csv").text == before


def test_a_change_needs_a_form_and_the_right_method(app: Any):
    before = app.ask("/overrides.csv").text
    as_json = app.ask("/marks", "POST", FORM, content_type="application/json")
    assert as_json.status == 400
    assert app.ask("/marks?" + FORM).status == 405
    assert app.ask("/", "POST", FORM).status == 405
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert app.ask("/", method).status == 403
    large = app.ask("/marks", "POST", FORM + "&note=" + "x" * 1_000_001)
    assert large.status == 400
    assert app.ask("/overrides.csv").text == before


@pytest.mark.parametrize(
    "path", ["/", "/row/1", "/static/app.js", "/nothing", "/?a=%00"]
)
def test_every_answer_keeps_scripts_and_other_origins_out(app: Any, path: str):
    for answer in (app.ask(path), app.ask(path, cookie="")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert not re.search("https?:", policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert not [n for n in answer.headers if n.startswith("access-control")]
        assert "no-store" in answer.headers["cache-control"]


def test_no_page_holds_a_script_or_a_style_of_its_own(app: Any):
    for path in ("/", "/row/1", "/nothing"):
        page = app.ask(path).text
        assert re.findall(r"<script(?! src=\"/static/app.js\" defer>)", page) == []
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/cli.py",
        "/static//etc/passwd",
        "/static/app.js%00.css",
        "/overrides.csv/../../config.lock.yaml",
        "/overrides.%2e%2e%2fconfig.lock.yaml",
        "/picture/..%2f..%2fetc%2fpasswd",
        "/picture/-1",
        "/picture/1.5",
        "/row/9999999",
        "/row/99999999999999999999999999",
        "/picture/99999999999999999999999999",
        "//etc/passwd",
    ],
)
def test_a_path_leads_to_nothing_but_the_apps_own_pages(app: Any, path: str):
    answer = app.ask(path)
    assert answer.status in (400, 404)
    for told in ("root:", "Traceback", "import ", "steps:"):
        assert told not in answer.text


ATTACKS = [
    "' OR 1=1 --",
    "'; DROP TABLE rows; --",
    '" OR ""="',
    "1) OR (1=1",
    "x' UNION SELECT * FROM read_text('/etc/passwd') --",
    "$1",
    "?",
    "%",
    "\\",
    "n, (SELECT 1)",
    "rowid",
]
FIELDS = ["q", "fate", "step", "reason", "marked", "sort", "dir", "after", "before"]
FIELDS += ["near", "like"]


def test_values_of_an_address_never_become_sql(app: Any):
    everything = _total(app.page())
    for name, attack in itertools.product(FIELDS, ATTACKS):
        answer = app.page((name, attack))
        assert answer.status in (200, 400), (name, attack)
        if name in ("q", "fate", "step", "reason"):
            assert answer.status == 200
            literal = (name, attack) == ("q", "%")  # one caption holds it
            assert _total(answer) == literal, (name, attack)
        if name in ("marked", "sort", "dir", "after", "before", "near"):
            assert answer.status == 400, (name, attack)
    assert _total(app.page()) == everything == 161


@pytest.mark.parametrize("operation", ["is", "not", "has", "min", "max", "empty", "or"])
def test_conditions_of_an_address_never_become_sql(app: Any, operation: str):
    columns = ["caption", "uid", "row", "score", "input.quality", 'uid" OR "1"="1', "n"]
    for column, attack in itertools.product(columns, ATTACKS):
        answer = app.page(("col", column), ("op", operation), ("val", attack))
        assert answer.status in (200, 400), (column, attack)
        known = column in ("caption", "uid") and operation != "or"
        assert (answer.status == 200) >= known, (column, attack)
        if known and operation == "is":
            assert _total(answer) == 0
        if column in ('uid" OR "1"="1', "n") or operation == "or":
            assert answer.status == 400


def test_too_much_of_an_address_is_refused(app: Any):
    assert app.page(("q", "x" * 1_001)).status == 400
    assert app.page(*[("fate", "kept")] * 501).status == 400
    many = [("col", "uid"), ("op", "not"), ("val", "x")] * 21
    assert app.page(*many).status == 400
    assert app.page(("col", "uid"), ("val", "x")).status == 400


def _total(answer: Any) -> int:
    heading = re.search(r'<h2 id="found">([\d,]+) row', answer.text)
    assert heading, answer.text
    return int(heading[1].replace(",", ""))


def test_a_mark_leads_back_to_the_app_and_nowhere_else(app: Any):
    for back in ("//evil.example/", "http://evil.example", "q=x\r\nX-Evil: 1", "../.."):
        answer = app.ask(
            "/marks", "POST", urlencode({"action": "clear", "list": back, "row": back})
        )
        assert answer.status == 303
        assert answer.headers["location"].startswith("/?")
        assert "x-evil" not in answer.headers

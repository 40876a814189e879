"""Who may ask: this machine's browser that was given the token, and nobody else.

Pages of other sites can make a browser send requests to 127.0.0.1, also under a name
of their own (DNS rebinding). Against that: a random token, first in the address and
then in a cookie that other sites' requests do not carry; the Host header, which a
rebound name would betray; the Origin of everything that changes something; Fetch
metadata.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Sent with every answer, refusals included.
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would make a browser hide the origin of the app's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_WELCOME = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Winnow</title>'
    '<link rel="icon" href="/static/icon.svg">'
    '<meta http-equiv="refresh" content="0; url=/"><p><a href="/">Go on</a></p></html>'
)
_READING = ("GET", "HEAD")
#: Where a notebook of this machine is open, which may hold the app in a frame.
_NOTEBOOKS = "http://localhost:* http://127.0.0.1:*"
_IN_A_FRAME = {
    **{name: value for name, value in HEADERS.items() if name != "X-Frame-Options"},
    "Content-Security-Policy": _POLICY.replace(
        "frame-ancestors 'none'", f"frame-ancestors {_NOTEBOOKS}"
    ),
}


class Gate:
    """ASGI middleware that lets only the app's own pages through.

    port: where the server listens; token: what a browser has to know. framed: whether
    pages of this machine may hold the app in a frame, as a notebook does.
    """

    def __init__(
        self, app: App, port: int, token: str, *, framed: bool = False
    ) -> None:
        self._app, self._token = app, token
        self._headers = _IN_A_FRAME if framed else HEADERS
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        # Cookies do not tell ports apart; two apps must not take each other's.
        self._cookie = f"winnow_{port}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on with the headers that every answer has."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        guarded = _with_headers(send, self._headers)
        refusal = self._refusal(scope)
        if refusal:
            await _answer(guarded, 403, refusal)
        elif self._has_cookie(scope):
            await self._app(scope, receive, guarded)
        elif self._has_token(scope):
            cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
            # Not a redirection: after one that began elsewhere, a browser would not
            # send the cookie yet.
            extra = [(b"set-cookie", cookie.encode())]
            await _answer(guarded, 200, _WELCOME, "text/html; charset=utf-8", extra)
        else:
            told = "Open the whole address that `winnow ui` has printed.\n"
            await _answer(guarded, 403, told)

    def _refusal(self, scope: Message) -> str:
        if _header(scope, b"host") not in self._hosts:
            return "This server answers to 127.0.0.1 only.\n"
        if scope["method"] not in (*_READING, "POST"):
            return "That method is not allowed.\n"
        site = _header(scope, b"sec-fetch-site")
        if site in ("cross-site", "same-site") and not self._has_token(scope):
            return "Requests from other sites are refused.\n"
        if scope["method"] == "POST":
            origin = _header(scope, b"origin")
            if origin != f"http://{_header(scope, b'host')}":
                return "Changes are accepted from the app's own pages only.\n"
        return ""

    def _has_token(self, scope: Message) -> bool:
        if scope["path"] != "/" or scope["method"] not in _READING:
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return self._is_token(given[0])

    def _has_cookie(self, scope: Message) -> bool:
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        if "token" in asked and scope["path"] == "/":
            return False
        try:
            cookies = SimpleCookie(_header(scope, b"cookie"))
        except CookieError:
            return False
        return self._cookie in cookies and self._is_token(cookies[self._cookie].value)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())


def _header(scope: Message, name: bytes) -> str:
    """Return a header's value; what is sent twice is no value at all."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _with_headers(send: Send, all_have: Mapping[str, str]) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            known = {name.lower() for name, _ in headers}
            headers += [
                (name.lower().encode(), value.encode())
                for name, value in all_have.items()
            ]
            if b"cache-control" not in known:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await send(message)

    return guarded


async def _answer(
    send: Send,
    status: int,
    text: str,
    kind: str = "text/plain; charset=utf-8",
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [(b"content-type", kind.encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})

"""The prompt of `winnow query RUN`: completion, colours, history.

May import: reports, core; prompt_toolkit and pygments inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.cli.query import view_lines
from winnow.core.errors import WinnowError
from winnow.core.extras import require
from winnow.pages.database import ViewDatabase

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.history import History

_HELP = """A query ends in a semicolon; Enter before it begins a new line.
  .views          the views and their columns
  .named          the queries that come with Winnow
  .run NAME [COLUMN]  run one of them
  .quit           leave (or quit, exit, Ctrl-D)"""

_KEYWORDS = """
SELECT FROM WHERE GROUP BY ORDER LIMIT OFFSET HAVING QUALIFY WITH AS AND OR NOT IN IS
NULL LIKE ILIKE BETWEEN CASE WHEN THEN ELSE END DISTINCT JOIN LEFT RIGHT FULL INNER ANTI
SEMI ON USING UNION ALL EXCEPT INTERSECT ASC DESC NULLS FIRST LAST OVER PARTITION
DESCRIBE SUMMARIZE EXPLAIN COUNT COUNT_IF SUM AVG MIN MAX MEDIAN QUANTILE_CONT LIST
STRING_AGG ROW_NUMBER ROUND LENGTH LOWER UPPER SPLIT_PART REGEXP_MATCHES COALESCE
HISTOGRAM
"""

#: What people type to leave, and to be told how.
_LEAVE = (".quit", ".exit", "quit", "exit", r"\q")
_ASK = ("help", "?", r"\?")

#: Runs one query and shows its rows.
Answer = Callable[[str], None]


def ask_until_done(
    database: ViewDatabase, answer: Answer, say: Callable[[str], None]
) -> None:
    """Read queries from the terminal and answer them until it ends.

    `say` shows a line of text. Errors are shown and end nothing.
    """
    require("ui", "the prompt of `winnow query` (SQL as an argument works without)")
    from prompt_toolkit import PromptSession
    from prompt_toolkit.lexers import PygmentsLexer
    from pygments.lexers.sql import SqlLexer

    session: PromptSession[str] = PromptSession(
        "winnow> ",
        multiline=True,
        prompt_continuation="   ...> ",
        lexer=PygmentsLexer(SqlLexer),
        completer=_completer(database.views),
        complete_while_typing=False,
        history=_history(),
        key_bindings=_keys(),
    )
    say("SQL over the run; .help for help")
    while True:
        try:
            text = session.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text.rstrip(";").strip().lower() in _LEAVE:
            return
        try:
            _answered(database, text, answer, say)
        except WinnowError as error:
            say(f"error: {error}")
        except KeyboardInterrupt:
            say("stopped")


def _answered(
    database: ViewDatabase, text: str, answer: Answer, say: Callable[[str], None]
) -> None:
    words = text.split()
    if text == ".views":
        for line in view_lines(database):
            say(line)
    elif text == ".named":
        for name, query in database.named.items():
            say(f"{name}: {query.about}")
    elif words[:1] == [".run"] and len(words) in (2, 3):
        answer(database.named_sql(words[1], *words[2:]))
    elif text.startswith(".") or text.rstrip(";").strip().lower() in _ASK:
        say(_HELP)
    elif text.strip(";"):
        answer(text)


def _keys() -> Any:
    """Enter runs what ends in a semicolon or begins with a dot."""
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: Any) -> None:
        text = event.current_buffer.text.strip()
        whole = not text or text.startswith(".") or text.endswith(";")
        if whole or text.lower() in (*_LEAVE, *_ASK):
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    return keys


def _completer(views: Mapping[str, list[tuple[str, str]]]) -> Completer:
    """Complete columns after `view.`; views, columns and keywords elsewhere."""
    from prompt_toolkit.completion import Completer, Completion

    columns = {name: [c for c, _ in listed] for name, listed in views.items()}
    everywhere = {
        **dict.fromkeys(_KEYWORDS.split(), "keyword"),
        **{column: "column" for listed in columns.values() for column in listed},
        **dict.fromkeys(columns, "view"),
        **dict.fromkeys((".help", ".named", ".quit", ".run", ".views"), "command"),
    }

    class SqlWords(Completer):
        def get_completions(self, document: Any, event: Any) -> Iterator[Completion]:
            word = document.get_word_before_cursor(WORD=True)
            word = word[max(map(word.rfind, "(,")) + 1 :]
            view, dot, start = word.rpartition(".")
            if dot and view in columns:
                offered = dict.fromkeys(columns[view], view)
            else:
                offered, start = everywhere, word
            for name, kind in offered.items():
                if name.lower().startswith(start.lower()):
                    yield Completion(name, -len(start), display_meta=kind)

    return SqlWords()


def _history() -> History:
    """Return the history of earlier sessions; of this one if there is no home."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    file = Path(state) / "winnow" / "query_history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Queries may quote captions: they are their owner's alone.
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))

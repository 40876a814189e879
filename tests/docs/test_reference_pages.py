"""Every recipe key, command and reason has its line in the documentation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from winnow.cli.main import leaves, parser
from winnow.config.keys import SOURCES_FILE, recipe_keys
from winnow.config.reasons import DECISIONS, QUARANTINE, meaning
from winnow.config.step_kinds import STEPS, meant
from winnow.core.run_folder import PARTS

from tests.docs.scripts import ROOT, script

PACKAGE = ROOT / "pipeline" / "winnow"


generate = script("generate_pages")
files = script("generate_files")


@pytest.mark.parametrize("name", ["keys.md", "reasons.md"])
def test_a_page_is_what_the_code_says(name: str):
    written = (ROOT / "docs" / name).read_text()
    assert written == generate.PAGES[name](), "the code has changed: `make docs`"


def test_files_and_columns_are_those_of_the_schemas():
    written = (ROOT / "docs" / "files.md").read_text()
    assert written == files.files_page(), "the code has changed: `make docs`"
    assert set(files._PATHS) == set(PARTS)


def test_the_sources_defaults_that_a_terminal_shows_are_those_of_the_pages():
    written = (ROOT / "conf" / SOURCES_FILE).read_text(encoding="utf-8")
    assert written == generate.sources_text(), "`make docs`"


def test_every_key_is_in_the_reference():
    written = (ROOT / "docs" / "keys.md").read_text()
    assert [k for k in recipe_keys() if f"| `{k.name}` |" not in written] == []


def test_every_command_and_option_is_on_its_page():
    # How help is set in lines differs between versions of Python.
    written = (ROOT / "docs" / "commands.md").read_text()
    for name, command in leaves(parser()):
        _, _, after = written.partition(f"\n## winnow {name}\n")
        part = after.partition("\n## ")[0]
        options = [option for a in command._actions for option in a.option_strings]
        lacking = [o for o in options if not re.search(rf"{o}\b", part)]
        assert part, f"winnow {name} is on no page: `make docs`"
        assert lacking == [], f"winnow {name}: `make docs`"


def test_every_command_says_what_it_is_for():
    silent = [n for n, one in leaves(parser()) if not one.description]
    assert silent == []


def test_every_key_has_a_meaning():
    silent = [f"{k.section}.{k.name}" for k in recipe_keys() if not k.meaning]
    assert silent == []


def test_every_deciding_step_says_what_its_reasons_mean():
    assert set(DECISIONS) <= set(STEPS.names())
    undecided = {"index", "embed", "cluster", "apply"}
    assert set(STEPS.names()) - set(DECISIONS) <= undecided


def literals(room: str) -> Iterator[str]:
    """Yield the strings of a room's code, and how its f-strings begin."""
    for file in sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            begins = isinstance(node, ast.JoinedStr) and node.values
            first = node.values[0] if begins else node
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


@pytest.mark.parametrize("room", ["formats", "models", "steps", "core"])
def test_a_reason_with_a_cause_is_explained(room: str):
    """`image_too_large: …`: what is written like this goes to the quarantine."""
    words = {s.partition(":")[0] for s in literals(room) if re.match(r"\w+_\w+: ", s)}
    unexplained = {word for word in words if meaning(word, QUARANTINE) is None}
    assert unexplained == set()


def test_no_reason_is_explained_that_nothing_gives():
    rooms = ("formats", "models", "steps", "core", "algorithms", "config")
    said = " ".join(
        text
        for room in rooms
        for file in (PACKAGE / room).rglob("*.py")
        if file.name != "reasons.py"
        for text in [file.read_text()]
    )
    reasons = [*QUARANTINE, *(r for told in DECISIONS.values() for r in told)]
    stale = {r for r in reasons if not all(part in said for part in _parts(r))}
    assert stale == set()


def _parts(reason: str) -> list[str]:
    """Return what of a reason stands in the code: it may be put together there."""
    prefixes = ("duplicate_", "contaminated_", "prototype_not_", "prototype_")
    for prefix in prefixes:
        if reason.startswith(prefix):
            return [prefix.rstrip("_"), reason.removeprefix(prefix)]
    return [part for part in reason.split("*") if part]


def test_what_follows_a_colon_does_not_matter():
    assert meant("index", "broken_line: Expecting value") == "The line is not JSON."
    assert meant("overlap", "shares_13_words").startswith("As many words in a row")
    assert meant("semantic", "never_heard_of") is None

"""Every public name has its entry, every parameter its line, every example runs."""

from __future__ import annotations

import doctest
import inspect
import re
from typing import Any

import pytest
import winnow

from tests.docs.scripts import script

generate = script("generate")
NAMES = generate.public_names()
#: What takes Java, a rendered pool or a training; the others take a second.
SLOW = {"submit", "demo_run", "train_filter"}


def documented() -> list[tuple[str, Any]]:
    """Return public functions, classes, and the classes' members, by name."""
    all_of_them: list[tuple[str, Any]] = []
    for name in NAMES:
        value = getattr(winnow, name)
        all_of_them.append((name, value))
        if inspect.isclass(value):
            all_of_them += [
                (f"{name}.{inner}", generate.function_of(member))
                for inner, member in generate.members(value)
            ]
    return all_of_them


DOCUMENTED = documented()
IDS = [name for name, _ in DOCUMENTED]


def test_every_public_name_is_in_the_reference():
    assert sorted([*NAMES, "__version__"]) == sorted(winnow.__all__)
    text = generate.REFERENCE.read_text()
    missing = [n for n in IDS if not re.search(rf"^###+ `(winnow\.)?{n}`$", text, re.M)]
    assert missing == []


def test_the_reference_is_what_the_docstrings_say():
    text = generate.reference()
    assert generate.REFERENCE.read_text() == text, "docstrings changed: `make docs`"


@pytest.mark.parametrize(("name", "value"), DOCUMENTED, ids=IDS)
def test_every_parameter_has_its_line(name: str, value: Any):
    docstring = inspect.cleandoc(value.__doc__ or "")
    purpose = docstring.partition("\n\n")[0]
    assert purpose.endswith((".", ":")), f"{name}: no purpose"
    parameters = generate.parameters(value)
    lines = re.findall(r"^(\w+): \S", docstring, re.M)
    assert lines == parameters, f"{name}: lines {lines}, parameters {parameters}"


@pytest.mark.parametrize("name", [n for n in NAMES if not n.endswith("Error")])
def test_every_public_name_has_an_example(name: str):
    value = getattr(winnow, name)
    members = generate.members(value) if inspect.isclass(value) else ()
    texts = [value.__doc__, *(generate.function_of(m).__doc__ for _, m in members)]
    assert any(">>> " in text for text in texts if text), f"{name}: no example"


def test_names_are_completed_before_they_are_loaded():
    assert set(winnow.__all__) <= set(dir(winnow))
    assert not {"annotations", "Any", "import_module"} & set(dir(winnow))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        winnow.runn  # noqa: B018


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, value in DOCUMENTED
        if ">>> " in (value.__doc__ or "")
    ],
    ids=[name for name, value in DOCUMENTED if ">>> " in (value.__doc__ or "")],
)
def test_the_example_runs(
    name: str, value: Any, examples_of: Any, monkeypatch: pytest.MonkeyPatch
):
    namespace = examples_of(name)
    monkeypatch.chdir(namespace["FOLDER"])
    example = doctest.DocTestParser().get_doctest(
        inspect.cleandoc(value.__doc__), namespace, name, None, 0
    )
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    said: list[str] = []
    runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)

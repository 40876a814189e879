"""Notebooks and README use the public face and nothing else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import winnow

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SNIPPETS = [
    text
    for text in re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    if "winnow" in text
]


def code_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text())["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return "\n".join(sources)


def require_public(code: str) -> None:
    """Fail at a module of Winnow's, a name that is not public, or a private one."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            assert not [name for name in names if name.startswith("winnow.")]
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] != "winnow", node.module
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")
            if isinstance(node.value, ast.Name) and node.value.id == "winnow":
                assert node.attr in winnow.__all__


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_uses_public_names_alone(notebook: Path):
    code = code_of(notebook)
    assert "import winnow" in code
    require_public(code)


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_the_readme_does_what_it_shows(
    code: str, base_names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    require_public(code)
    if "import winnow" not in code:
        return  # a line of a session that stands elsewhere
    monkeypatch.chdir(base_names["FOLDER"])
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["result"].kept == len(names["run"].kept())


@pytest.mark.parametrize(
    "code",
    [
        "import winnow.flows.runner",
        "from winnow.flows import runner",
        "import winnow\nwinnow.api.make_engine()",
        "import winnow\nwinnow.open('r')._sql()",
    ],
)
def test_what_is_not_public_would_be_found(code: str):
    with pytest.raises(AssertionError):
        require_public(code)

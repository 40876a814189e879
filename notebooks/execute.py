"""Run the notebooks and save them with what they say: `make notebooks`.

They run in a scratch folder, one after another, so that what the first makes (the
demo's run) is there for the next. Of what they say, that folder is named `..`, as the
notebooks name it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
NAMES = sorted(file.stem for file in FOLDER.glob("*.ipynb"))


def executed(name: str, folder: Path) -> Any:
    """Return a notebook, run in `folder`/notebooks, with outputs of no one place.

    Raises CellExecutionError for a cell that fails.
    """
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    inside = folder.resolve() / "notebooks"
    inside.mkdir(parents=True, exist_ok=True)
    resources = {"metadata": {"path": str(inside)}}
    NotebookClient(
        notebook, timeout=300, resources=resources, record_timing=False
    ).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            # What libraries warn of is of this machine.
            told = [one for one in cell.outputs if one.get("name") != "stderr"]
            cell.outputs = [_anywhere(one, inside.parent) for one in told]
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _anywhere(said: Any, folder: Path) -> Any:
    if isinstance(said, dict):
        kept = {key: value for key, value in said.items() if not _is_plain(key, said)}
        return nbformat.from_dict({k: _anywhere(v, folder) for k, v in kept.items()})
    if isinstance(said, list):
        return [_anywhere(one, folder) for one in said]
    if isinstance(said, str):
        return said.replace(f"{folder}/notebooks/../", "../").replace(str(folder), "..")
    return said


def _is_plain(key: str, said: dict[str, Any]) -> bool:
    # `<winnow.….Chart at 0x7f…>`: the address is of one run, and a picture is there.
    return key == "text/plain" and " at 0x" in str(said[key])


def main() -> None:
    """Run the notebooks that are named, or all, and write them."""
    for variable in ("WINNOW_RUN", "WINNOW_LAKE_RUN"):
        os.environ.pop(variable, None)
    with tempfile.TemporaryDirectory() as scratch:
        for name in sys.argv[1:] or NAMES:
            notebook = executed(name, Path(scratch))
            nbformat.write(notebook, FOLDER / f"{name}.ipynb")
            print(name)


if __name__ == "__main__":
    main()

"""The wheel and the sdist, built without a network: what belongs in them, no more."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath

import pytest
import winnow
import yaml
from winnow.core.extras import EXTRAS

pytest.importorskip("hatchling")

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pipeline" / "winnow"
#: What is made in a checkout, which a build leaves out wherever it stands.
_MADE = {"__pycache__", ".ipynb_checkpoints", "changelog.md"}
SDIST_FOLDERS = {".ci", ".github", "benchmarks", "conf", "docker", "docs", "jobs"}
SDIST_FOLDERS |= {"notebooks", "pipeline", "tests"}
SDIST_FILES = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"}
SDIST_FILES |= {"SECURITY.md", "constraints.txt", "pyproject.toml"}


def build(kind: str, source: Path, target: Path) -> Path:
    """Build one distribution of the project below `source`; return its file."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(build("wheel", ROOT, tmp_path_factory.mktemp("wheel")))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the sdist unpacks to."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", ROOT, folder)) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"datawinnow-{winnow.__version__}"


def below(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder of the checkout that belong to the project."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not _MADE & set(file.parts)
    }


def metadata(wheel: dict[str, bytes]) -> Message:
    (name,) = (name for name in wheel if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel[name])


def test_the_wheel_holds_the_package_its_recipes_and_jobs(
    wheel: dict[str, bytes],
) -> None:
    expected = {
        **{f"winnow/{name}": data for name, data in below(PACKAGE).items()},
        **{f"winnow/conf/{name}": data for name, data in below(ROOT / "conf").items()},
        **{f"winnow/jobs/{name}": data for name, data in below(ROOT / "jobs").items()},
    }
    held = {name: data for name, data in wheel.items() if ".dist-info/" not in name}
    assert held == expected
    assert {"winnow/py.typed", "winnow/pages/templates/base.html.j2"} <= set(held)
    assert "winnow/demo/model/open_clip_model.safetensors" in held


def test_the_wheel_says_what_it_is(wheel: dict[str, bytes]) -> None:
    told = metadata(wheel)
    assert (told["Name"], told["Version"]) == ("datawinnow", winnow.__version__)
    assert set(told.get_all("Provides-Extra", ())) >= {*EXTRAS, "all", "dev"}
    assert told["Requires-Python"] == ">=3.11"
    (scripts,) = (data for name, data in wheel.items() if name.endswith("points.txt"))
    assert b"winnow = winnow.__main__:main" in scripts
    assert any(name.endswith("/licenses/LICENSE") for name in wheel)
    (described,) = (data for name, data in wheel.items() if name.endswith("/METADATA"))
    assert described.endswith((ROOT / "README.md").read_bytes())


def test_the_base_of_the_wheel_asks_for_no_torch(wheel: dict[str, bytes]) -> None:
    asked = metadata(wheel).get_all("Requires-Dist", ())
    always = [line for line in asked if "extra ==" not in line]
    base = {re.split(r"[!<>=;\[ ]", line)[0] for line in always}
    assert not base & {"torch", "open-clip-torch", "pyspark", "pandas", "deltalake"}
    assert {"duckdb", "faiss-cpu", "numba", "polars", "pyarrow"} <= base


def test_the_sdist_is_what_a_clone_has(sdist: Path) -> None:
    tops = {entry.name for entry in sdist.iterdir()}
    assert tops >= SDIST_FOLDERS | SDIST_FILES
    for folder in sorted(SDIST_FOLDERS):
        assert below(sdist / folder) == below(ROOT / folder), folder
    for file in sorted(SDIST_FILES):
        assert (sdist / file).read_bytes() == (ROOT / file).read_bytes()


def test_the_sdist_builds_the_same_wheel(
    sdist: Path, wheel: dict[str, bytes], tmp_path: Path
) -> None:
    again = contents(build("wheel", sdist, tmp_path))
    assert again == wheel


def test_the_workflow_runs_the_script_and_nothing_else() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())[
        "jobs"
    ].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["bash .ci/run"]
    told = (ROOT / "pyproject.toml").read_text()
    supported = re.findall(r"Python :: (3\.\d+)", told)
    assert job["strategy"]["matrix"]["python"] == supported


def test_the_changelog_has_the_version_and_what_comes_next() -> None:
    heads = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert heads[0] == "Unreleased"
    assert len(heads) == len(set(heads))
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{winnow.__version__}"' in pyproject


DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / "docker/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_documents_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if "://" not in link:
            assert (document.parent / PurePosixPath(link)).exists(), link


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250

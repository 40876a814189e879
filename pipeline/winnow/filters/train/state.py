"""Checkpoints that a killed training goes on from: safetensors and JSON, no pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from winnow.core.errors import ConfigError, RunError
from winnow.core.integrity import text_checksum
from winnow.core.links import link
from winnow.core.operating_system import lock
from winnow.core.saved_files import DamagedError, read_saved
from winnow.core.sealed_folder import folder_fault, seal_folder
from winnow.filters.train.recipe import TrainingProgress

Tell = Callable[[str], None]

_PREFIX = "step-"
_BEST = "best.safetensors"


class StateFolder:
    """Checkpoints of one training; the newest counts if it is as it was written.

    fingerprint: of all that the weights depend on. A folder of another one is refused.
    A checkpoint holds the best weights so far as well, and its files are sealed.
    """

    def __init__(
        self, path: Path, fingerprint: str, tell: Tell = lambda line: None
    ) -> None:
        self.path, self.fingerprint, self.tell = path, fingerprint, tell

    def check(self) -> None:
        """Raise ConfigError if the folder belongs to another training.

        Raises DamagedError if nobody can tell.
        """
        file = self.path / "fingerprint"
        if not file.is_file():
            return
        said, _, check = read_saved(file, self._remedy).strip().partition(" ")
        if check and check != text_checksum(said):
            raise DamagedError(f"{file} is damaged; {self._remedy}")
        if said != self.fingerprint:
            raise ConfigError(
                f"output.path: {self.path.parent} holds a training with other "
                "settings, data or starting weights; choose another folder with "
                "--out, or delete it"
            )

    def begin(self) -> None:
        """Make the folder, if there is none."""
        self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        said = f"{self.fingerprint} {text_checksum(self.fingerprint)}\n"
        write_whole(self.path / "fingerprint", said)

    @property
    def _remedy(self) -> str:
        return f"delete {self.path}, and the same command trains from the beginning"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for writing; the lock goes with the process.

        Raises RunError if another training writes it.
        """
        with (self.path / "lock").open("w") as handle:
            try:
                lock(handle)
            except OSError as error:
                raise RunError(
                    f"{self.path.parent}: another process is training this filter; "
                    "wait for it, or choose another folder with --out"
                ) from error
            yield

    def latest(self) -> Path | None:
        """Return the newest whole checkpoint."""
        saved = [p for p in self.path.glob(f"{_PREFIX}*") if p.suffix != ".new"]
        return max(saved, key=lambda p: int(p.name.removeprefix(_PREFIX)), default=None)

    def save(self, model: Any, optimizer: Any, progress: TrainingProgress) -> None:
        """Write a checkpoint beside the last one, then forget that."""
        from safetensors.torch import save_file

        final = self.path / f"{_PREFIX}{progress.step:08d}"
        new = final.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        save_file(contiguous(trained_state(model)), new / "model.safetensors")
        save_file(_optimizer_tensors(optimizer), new / "optimizer.safetensors")
        write_whole(new / "progress.json", json.dumps(asdict(progress)))
        if self._best.is_file():
            link(self._best, new / _BEST)
        seal_folder(new)
        if final.exists():  # the same step of a training that was finished differently
            shutil.rmtree(final)
        os.replace(new, final)
        for old in self.path.glob(f"{_PREFIX}*"):
            if old != final:
                shutil.rmtree(old)

    def prepare(self) -> None:
        """Have what `load` takes up be as it was written, or nothing.

        For one process of a training, which holds the folder.
        """
        folder = self.latest()
        fault = "" if folder is None else folder_fault(folder)
        if fault:
            self.tell(f"{fault}: the training starts from the beginning")
        if folder is None or fault:
            self.finish()
            return
        # The best of later steps may stand there, which are taken again.
        self._best.unlink(missing_ok=True)
        if (folder / _BEST).is_file():
            link(folder / _BEST, self._best)

    def load(self, model: Any, optimizer: Any) -> TrainingProgress:
        """Put the newest checkpoint into model and optimizer; return its progress."""
        from safetensors.torch import load_file

        folder = self.latest()
        if folder is None:
            return TrainingProgress()
        model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        _restore(optimizer, load_file(folder / "optimizer.safetensors"))
        text = (folder / "progress.json").read_text(encoding="utf-8")
        return TrainingProgress(**json.loads(text))

    def save_best(self, model: Any) -> None:
        """Keep these weights as the best so far."""
        from safetensors.torch import save_file

        new = self._best.with_suffix(".new")
        save_file(contiguous(trained_state(model)), new)
        os.replace(new, self._best)

    @property
    def _best(self) -> Path:
        return self.path / _BEST

    def finish(self) -> None:
        """Forget what only an unfinished training needs."""
        for old in self.path.glob(f"{_PREFIX}*"):
            shutil.rmtree(old, ignore_errors=True)
        for old in self.path.glob("best.*"):
            old.unlink(missing_ok=True)

    def load_best(self, model: Any) -> None:
        """Put the best weights into the model, if there are some."""
        from safetensors.torch import load_file

        if self._best.is_file():
            model.load_state_dict(load_file(self._best), strict=False)


def trained_state(model: Any) -> dict[str, Any]:
    """Return what a training changes: learning weights, and their modules' buffers."""
    learning = {n for n, w in model.named_parameters() if w.requires_grad}
    homes = {name.rpartition(".")[0] for name in learning}
    buffers = {n for n, _ in model.named_buffers() if n.rpartition(".")[0] in homes}
    state = model.state_dict()
    return {name: state[name] for name in state if name in learning | buffers}


def contiguous(state: dict[str, Any]) -> dict[str, Any]:
    """Return tensors as safetensors wants them: on the CPU, none shared."""
    return {n: v.detach().cpu().contiguous().clone() for n, v in state.items()}


def write_whole(file: Path, text: str) -> None:
    """Write a text file so that it is there as a whole or not at all."""
    new = file.with_name(file.name + ".new")
    with new.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    os.replace(new, file)


def _optimizer_tensors(optimizer: Any) -> dict[str, Any]:
    state = optimizer.state_dict()["state"]
    return contiguous(
        {f"{number}.{n}": v for number, held in state.items() for n, v in held.items()}
    )


def _restore(optimizer: Any, tensors: dict[str, Any]) -> None:
    held: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        held.setdefault(int(number), {})[key] = value
    state = optimizer.state_dict()
    optimizer.load_state_dict({**state, "state": held})

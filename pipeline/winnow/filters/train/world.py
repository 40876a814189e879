"""One process, or several that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from winnow.models.allocator import keep_freed_memory
from winnow.models.encoder import leave_out_tile_kernels, let_idle_threads_sleep


@dataclass(frozen=True, slots=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            import torch

            torch.distributed.barrier()

    def agreed(self, value: float) -> float:
        """Return the first process's value, in all of them."""
        if self.size == 1:
            return value
        import torch

        held = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(held, 0)
        return float(held.item())

    def wrapped(self, module: Any) -> Any:
        """Return the module, averaging gradients over the processes."""
        if self.size == 1:
            return module
        import torch

        places = [int(self.device.split(":")[1])] if "cuda" in self.device else None
        return torch.nn.parallel.DistributedDataParallel(
            module, device_ids=places, broadcast_buffers=True
        )


@contextmanager
def joined() -> Iterator[World]:
    """Yield this process's place; join the others where there are some."""
    let_idle_threads_sleep()
    leave_out_tile_kernels()
    keep_freed_memory()
    import torch

    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    if size == 1:
        yield World(0, 1, device)
        return
    if device != "cpu":
        torch.cuda.set_device(local)
    torch.distributed.init_process_group("nccl" if device != "cpu" else "gloo")
    try:
        yield World(torch.distributed.get_rank(), size, device)
    finally:
        torch.distributed.destroy_process_group()

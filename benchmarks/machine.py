"""What is measured of a machine itself: its name, how fast it reads memory, how much of it was taken."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import torch


def bandwidth(device: torch.device, repetitions: int = 7) -> float:
    """Bytes per second that this machine reads from memory: the best of a few large sums and matrix-vector products."""
    matrix = torch.ones(
        2**18 if device.type == "cuda" else 2**16, 2048, device=device
    )  # 2 GiB or 512 MiB, above any cache
    vector, best = torch.ones(matrix.shape[1], device=device), 0.0
    for read in (matrix.sum, lambda: matrix @ vector):
        for _ in range(repetitions):
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            read()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, matrix.nbytes / (time.perf_counter() - start))
    return best


def machine(device: torch.device) -> str:
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    card = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{card}{processor} ({cores}), {platform.platform()}, torch {torch.__version__}"


def peak_memory(device: torch.device) -> float | None:
    """GiB: on CUDA what torch held at most, else what this process took at most so far; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024) / 2**30


def limit_memory(device: torch.device, gigabytes: float) -> None:
    """Let torch have no more than this of the card, as if it were a smaller one."""
    if device.type != "cuda":
        raise SystemExit("--memory-cap needs CUDA: only there torch can be held to a part of the memory.")
    torch.cuda.set_per_process_memory_fraction(
        min(1.0, gigabytes * 1e9 / torch.cuda.get_device_properties(device).total_memory), device
    )

"""What is measured of a machine itself: its name, how fast it reads memory, how much of it was taken."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import torch


def default_device() -> torch.device:
    """The graphics card where there is one."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("cpu")


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_when_finished(device: torch.device) -> float:
    """Seconds on a clock, once the device has done what it was given."""
    finish(device)
    return time.perf_counter()


def bandwidth(device: torch.device, repetitions: int = 7) -> float:
    """Bytes per second that this machine reads from memory: the best of a few large sums and matrix-vector products."""
    rows = 2**16  # 512 MiB, above any cache of a CPU
    if device.type == "cuda":
        rows = 2**18  # 2 GiB
    matrix = torch.ones(rows, 2048, device=device)
    vector = torch.ones(matrix.shape[1], device=device)
    best = 0.0
    for read in (matrix.sum, lambda: matrix @ vector):
        for _ in range(repetitions):
            start = seconds_when_finished(device)
            read()
            best = max(best, matrix.nbytes / (seconds_when_finished(device) - start))
    return best


def machine(device: torch.device) -> str:
    """Card, processor, system and torch, in one line."""
    card = ""
    if device.type == "cuda":
        card = f"{torch.cuda.get_device_name(device)}, "
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{card}{_processor()} ({cores}), {platform.platform()}, torch {torch.__version__}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def peak_memory(device: torch.device) -> float | None:
    """GiB: on CUDA what torch held at most, else what this process took at most so far; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1024  # bytes
    if platform.system() == "Darwin":
        unit = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def reset_peak_memory(device: torch.device) -> None:
    """Count `peak_memory` from here on, where that is possible."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_text(device: torch.device) -> str:
    """`peak_memory` for a line of output."""
    peak = peak_memory(device)
    if peak is None:
        return "peak memory unknown"
    return f"peak memory {peak:.2f} GiB"


def limit_memory(device: torch.device, gigabytes: float) -> None:
    """Let torch have no more than this of the card, as if it were a smaller one."""
    if device.type != "cuda":
        raise SystemExit("--memory-cap needs CUDA: only there torch can be held to a part of the memory.")
    number = device.index
    if number is None:  # torch 2.11 wants one here
        number = torch.cuda.current_device()
    total = torch.cuda.get_device_properties(number).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / total), number)

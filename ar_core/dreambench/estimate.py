"""What a benchmark would take: units, pictures, disk, and time."""

from __future__ import annotations

from pathlib import Path

from ..memory import png_bytes, run_bytes, size_text, trainable_parameters
from ..model import ARModel
from ..training.settings import LAYERS
from ..training.stages import KEEP_EVERY
from .benchmark import Benchmark, Plan, succeeded
from .dataset import DataSet


def estimate_dreambench(model: ARModel, data: DataSet, plan: Plan, out: Path) -> str:
    """Some lines: what is to be done, what is finished, disk, and time where earlier units tell."""
    bench = Benchmark(model, data, plan, out)
    units = bench.units(data.subjects)
    done = [record for record in map(bench.finished, units) if record is not None and succeeded(record)]
    pictures = sum(len(data.prompts(unit.subject)) * plan.images_per_prompt for unit in units)
    disk = pictures * png_bytes(bench.sampling[plan.seeds[0]].size) + len(units) * _unit_bytes(model, bench)
    time = "unknown before the first unit; run one subject with --subjects to learn it"
    if done:
        mean = sum(record["seconds"] for record in done) / len(done)
        time = f"about {mean * (len(units) - len(done)) / 60:.0f} min on one process, by the finished units"
    return (
        f"{len(data.subjects)} subjects x {len(plan.variants)} strategies x {len(plan.seeds)} seeds = "
        f"{len(units)} units, {pictures} pictures; {len(done)} units are finished\n"
        f"disk: about {size_text(disk)} in {out}\n"
        f"time: {time}"
    )


def _unit_bytes(model: ARModel, bench: Benchmark) -> int:
    """Disk of the remembered training of one unit, at most."""
    needed = [0]
    for settings in bench.training.values():
        if settings is not None:
            parameters = trainable_parameters(model.transformer, settings.method, settings.rank)
            needed.append(run_bytes(parameters, kept=settings.layer_steps // KEEP_EVERY[LAYERS]))
    return max(needed)

"""What a benchmark would take: units, pictures, memory, disk, and time."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ..batches import BATCH, fitting_images
from ..memory import (
    NotEnough,
    drawing_bytes,
    merge_bytes,
    png_bytes,
    room,
    run_bytes,
    size_text,
    trainable_parameters,
    training_room,
)
from ..model import ARModel
from ..training.best_step import BEST
from ..training.passes import fitting_passes
from ..training.sample_prompts import SELECTION_PROMPTS
from ..training.settings import FROZEN, LAYERS, STAGES, TrainingSettings
from ..training.stages import KEEP_EVERY, kept_steps
from .benchmark import Benchmark, Plan, Unit
from .dataset import DataSet
from .encoders import Encoders


def estimate_dreambench(model: ARModel, data: DataSet, plan: Plan, out: Path, encoders: Encoders | None = None) -> str:
    """Some lines: what is to be done, what is finished, memory, disk, and time where earlier units tell.

    `encoders`: as for `Benchmark`. Raises NotEnough as `check_room` does.
    """
    bench = Benchmark(model, data, plan, out, encoders=encoders)
    units = bench.units(data.subjects)
    records = zip(units, map(bench.finished, units), strict=True)
    done = [record for unit, record in records if record is not None and bench.is_done(unit, record)]
    pictures = sum(len(data.prompts(unit.subject)) * plan.images_per_prompt for unit in units)
    time = "unknown before the first unit; run one subject with --subjects to learn it"
    if done:
        mean = sum(record["seconds"] for record in done) / len(done)
        time = f"about {mean * (len(units) - len(done)) / 60:.0f} min on one process, by the finished units"
    return (
        f"{len(data.subjects)} subjects, {len(plan.variants)} strategies, {len(plan.seeds)} training seed(s): "
        f"{len(units)} units (one training each, or none for the base), {pictures} pictures"
        f"{_choosing_text(bench, units)}; {len(done)} units are finished\n"
        f"memory: {check_room(bench)}\n"
        f"disk: about {size_text(left_bytes(bench))} more in {out}, where {size_text(free_bytes(out))} are free\n"
        f"time: {time}"
    )


def _choosing_text(bench: Benchmark, units: Sequence[Unit]) -> str:
    """How many pictures are drawn to choose the best steps, at most: some trainings are shared. "" where none are."""
    pictures = sum(_choosing_pictures(bench, unit) for unit in units)
    if not pictures:
        return ""
    return f" and up to {pictures} more to choose the best steps"


def _choosing_pictures(bench: Benchmark, unit: Unit) -> int:
    """Those of the base and of every kept step of the last stage; none where there is no choice."""
    training = bench.training[unit.variant, unit.seed]
    if training is None or bench.plan.select_of(unit.variant) != BEST:
        return 0
    stage = STAGES[training.strategy][-1]
    kept = len(kept_steps(stage, training.steps(stage)))
    if kept < 2:
        return 0
    return (1 + kept) * len(SELECTION_PROMPTS)


def check_room(bench: Benchmark) -> str:
    """As `check_memory`. Raises NotEnough also where the disk is too small for what is still to be done."""
    needed = left_bytes(bench)
    free = free_bytes(bench.out)
    if needed > free:
        raise NotEnough(
            f"The benchmark takes about {size_text(needed)} more in {bench.out}, and {size_text(free)} are free there. "
            "Choose another --out, or free some."
        )
    return check_memory(bench)


def left_bytes(bench: Benchmark) -> int:
    """Disk of the units that are still to be done, at most."""
    picture = png_bytes(bench.sampling[bench.plan.seeds[0]].size)
    training = _unit_bytes(bench.model, bench)
    return sum(
        training + len(bench.data.prompts(unit.subject)) * bench.plan.images_per_prompt * picture
        for unit in bench.left()
    )


def free_bytes(path: Path) -> int:
    """On the disk of `path`, which need not be there yet. Raises NotEnough where it never can be."""
    there = next(above for above in (path.absolute(), *path.absolute().parents) if above.exists())
    if not there.is_dir():
        raise NotEnough(f"{there} is a file, so nothing can be written to {path}. Choose another --out.")
    return shutil.disk_usage(there).free


def check_memory(bench: Benchmark) -> str:
    """What training and drawing need on the model's device, and what is free there.

    Raises NotEnough where the hungriest training, or a single picture, does not fit: after days is too late.
    """
    model = bench.model
    device = model.device
    free = room(device)
    if free is None:
        return f"{device} does not say how much is free"
    training = max(_training_bytes(model, settings) for settings in bench.training.values())
    if training > free:
        raise NotEnough(
            f"Training needs {size_text(training)} of memory beside the model, {size_text(free)} are free on {device}. "
            "Choose --precision int8 or 4-bit, or leave out the strategies that train q, k and v in full."
        )
    sampling = next(iter(bench.sampling.values()))
    merged = 0
    if any(settings is not None and settings.strategy not in FROZEN for settings in bench.training.values()):
        merged = merge_bytes(model.base)  # a subject's change of the layers, once it is learned
    count = fitting_images(model, sampling.size, sampling.cfg, BATCH, merged)
    drawing = merged + drawing_bytes(model, sampling.size, count, sampling.cfg, previews=False)
    return (
        f"beside the model training needs {size_text(training)}, and drawing {count} pictures at a time "
        f"{size_text(drawing)}; {size_text(free)} are free on {device}"
    )


def _training_bytes(model: ARModel, settings: TrainingSettings | None) -> int:
    """The larger stage of one training; 0 where nothing is learned."""
    if settings is None:
        return 0
    free = training_room(model.device)
    stages = STAGES[settings.strategy]
    return max(fitting_passes(model, settings, stage, free).bytes(model, settings, stage) for stage in stages)


def _unit_bytes(model: ARModel, bench: Benchmark) -> int:
    """Disk of the remembered training of one unit, at most."""
    needed = [0]
    for settings in bench.training.values():
        if settings is not None:
            parameters = trainable_parameters(model.transformer, settings.method, settings.rank)
            needed.append(run_bytes(parameters, kept=settings.layer_steps // KEEP_EVERY[LAYERS]))
    return max(needed)

"""What the benchmarks say must follow from what they measured; nothing is timed here."""

import json
import math
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from ar_core import ARModel
from ar_core.architecture import TransformerConfig
from ar_core.families.lumina_mgpt import ARTIST_RECIPE
from ar_core.families.miniature import MINIATURE
from ar_core.families.registry import FAMILIES
from benchmarks import decode, full_size, hardware, launches, memory, models, precision, random_checkpoint
from benchmarks.common import counted, janus_files, plot
from benchmarks.common.machine import limit_memory
from benchmarks.common.timing import Stopwatch

MEASURED = {"sequential_over_naive": 2.0, "best_exact_over_naive": 3.0, "jacobi_by_window": {16: 0.5}}
SUMMARY = {
    "fp32": MEASURED,
    "int8": {**MEASURED, "jacobi_by_window": {}},
    "miniature_by_window": {1: {"steps_ratio": 1.0}, 16: {"steps_ratio": 3.2}},
    "machine": "a machine",
    "tokens": 16,
    "size": "512x512",
    "repetitions": 3,
    "sequential_over_naive": 2.0,
}


def test_the_plot_shows_every_ratio():
    (_, naive), (_, jacobi), (_, steps) = plot.ratio_panels(SUMMARY)
    assert naive["fp32, one at a time"] == 2.0 and naive["int8 over bf16, best exact setting"] == 3.0
    assert jacobi == {"fp32, window 16": 0.5} and steps == {"window 1": 1.0, "window 16": 3.2}
    image = plot.draw_ratios(SUMMARY)
    assert image.width == plot.WIDTH and all(
        colour in {pixel for _, pixel in image.getcolors(10**6)} for colour in plot.LINES[:3]
    )


def test_a_12_gb_card_is_said_to_hold_pictures_in_int8_only():
    assert memory.uses_that_fit(counted.LUMINA_7B, memory.CARDS[12], None) == "nothing"
    assert "one picture up to 768 px" in memory.uses_that_fit(counted.LUMINA_7B, memory.CARDS[12], "int8")


def test_an_8_gb_card_is_said_to_learn_and_draw_in_4_bits():
    assert memory.uses_that_fit(counted.LUMINA_7B, memory.CARDS[8], "int8") == "nothing"
    found = memory.uses_that_fit(counted.LUMINA_7B, memory.CARDS[8], "4-bit")
    assert all(use in found for use in ("one picture up to 768 px", "stage 1 up to", "stage 2, LoRA"))


def test_an_8_gb_card_is_said_to_hold_janus_pro_1b_in_full_and_7b_in_4_bits():
    assert memory.schemes_that_fit(counted.JANUS_1B, memory.CARDS[8])[0] is None
    assert memory.schemes_that_fit(counted.JANUS_7B, memory.CARDS[8]) == ["4-bit"]
    found = memory.uses_that_fit(counted.JANUS_1B, memory.CARDS[8], None)
    assert found == "one picture; stage 1; stage 2, LoRA rank 64"


@pytest.mark.parametrize("model", [counted.JANUS_1B, counted.JANUS_7B], ids=lambda model: model.name)
def test_janus_pro_is_counted_with_as_many_numbers_as_its_files_hold(model):
    """All but what the rows of codes are computed from, of which nothing remains but these rows."""
    size = janus_files.dimensions_of(model.family)
    shapes = janus_files.shapes_in(janus_files.DEEPSEEK, size)
    kept = {name: shape for name, shape in shapes.items() if name not in janus_files.DEEPSEEK.folded()}
    stored = sum(math.prod(shape) for shape in kept.values()) + size.vq.n_embed * size.hidden
    transformer = memory.transformer_shapes(model.transformer, None)
    assert sum(parameter.numel() for parameter in transformer.parameters()) == stored
    projections = [p.numel() for name, p in transformer.named_parameters() if name.endswith("_proj.weight")]
    assert sum(projections) == model.layer_weights()
    head = [p.numel() for p in transformer.image_head.parameters() if p.dim() == 2]
    assert len(head) == 2 and sum(head) == model.head_weights()


def test_a_checkpoint_of_janus_pro_is_loaded_with_the_counted_dimensions(tmp_path):
    small = janus_files.JanusDimensions(64, 1, 4, 96, rows=102400, vq=replace(janus_files.VQ, ch=32, z_channels=32))
    janus_files.write_janus(tmp_path, counted.JANUS_1B.family, size=small)
    loaded = ARModel.load(tmp_path).transformer.config
    assert loaded == janus_files.transformer_config(small)


def test_precisions_are_compared_code_by_code():
    reference = precision.Seen(
        torch.tensor([1.0, 2.0]), torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6, 7, 8]]), 2**20
    )
    other = precision.Seen(
        torch.tensor([1.5, 2.5]), torch.tensor([[1, 2], [3, 9]]), torch.tensor([[5, 6, 0, 8]]), 2**20
    )
    found = precision.compare_precisions(other, reference)
    assert found["loss_difference"] == 0.5 and found["same_top_code"] == 0.75
    assert found["equal_codes"] == 0.75 and found["codes_before_first_difference"] == 2


@pytest.mark.parametrize("window, most", [(1, 24), (64, 25)])
def test_a_step_stays_on_the_device_and_a_layer_starts_few_operations(window, most):
    seen = launches.launches_of_a_step(replace(TransformerConfig(), num_hidden_layers=1), window)
    assert not seen.elsewhere and seen.counted["linear.default"] == 8
    assert launches.launches_per_layer(window).total() <= most


def test_what_leaves_the_device_is_found():
    with launches.Launches() as seen:
        torch.zeros(2, device="meta").view(2, 1).add_(1)
        torch.ones(2).add(1)
    assert seen.counted["add_.Tensor"] == 1 and "view.default" not in seen.counted and len(seen.elsewhere) == 2


@pytest.mark.parametrize("precision", ["bf16", "4-bit"])
def test_a_written_checkpoint_is_loaded_timed_and_trained(precision, tmp_path, monkeypatch):
    random_checkpoint.write_checkpoint(tmp_path / "random", tiny.DIMENSIONS, tiny.VQ)
    monkeypatch.setattr(full_size, "bandwidth", lambda device: 1e9)
    options = [
        "--precision",
        precision,
        "--images",
        "1",
        "2",
        "--windows",
        "1",
        "4",
        "--codes",
        "2",
        "--train",
        "--json",
        str(tmp_path / "json"),
    ]
    monkeypatch.setattr(sys, "argv", ["full_size", str(tmp_path / "random"), *options])
    full_size.main()
    found = json.loads((tmp_path / "json").read_text())
    assert [(step["images"], step["window"]) for step in found["steps"]] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert all(step["seconds"] > 0 for step in found["steps"]) and set(found["training_s"]) == {
        "stage 1",
        "stage 2, LoRA",
    }
    assert precision.startswith("b") or found["precision"] == "4-bit and bfloat16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="the sentence is for machines without CUDA")
@pytest.mark.parametrize("benchmark, options", [(decode, ["--memory-cap", "8"])])
def test_what_needs_cuda_says_so(benchmark, options, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmark", *options])
    with pytest.raises(SystemExit, match="needs CUDA"):
        benchmark.main()


def test_a_repetition_compares_each_way_with_the_others_of_its_own_time():
    cpu = torch.device("cpu")

    def took(seconds):
        return Stopwatch(cpu, 2, began=0.0, start=1.0, seconds=seconds)

    rounds = [decode.Round(took(4 * slow), took(2 * slow), {16: slow}) for slow in (1.0, 10.0, 1.0)]
    found = decode.summarize(rounds, floor=1.0, windows=(16,))
    assert found["sequential_over_naive"] == found["jacobi_by_window"][16] == 2.0
    alone = decode.summarize([decode.Round(took(4.0), took(2.0), {})], floor=1.0, windows=())
    assert alone["best_exact_over_naive"] == 2.0 and "jacobi_best_window" not in alone
    assert found["best_exact_over_naive"] == 4.0 and found["percent_of_floor"] == 50 and found["first_code_s"] == 1.0


def test_the_recipe_for_artists_is_quick_enough_by_arithmetic():
    times = {held.card.name: held.times(ARTIST_RECIPE) for held in hardware.held_on(counted.LUMINA_7B)}
    small, large = times["RTX 3060 12 GB"], times["H100 80 GB"]
    assert small.first_sample < 15 * 60 and small.stage_one + small.stage_two < 60 * 60
    assert large.stage_one + large.stage_two < 5 * 60


def test_each_card_holds_a_model_as_precisely_as_fits():
    precisions = {model.name: [held.precision for held in hardware.held_on(model)] for model in counted.MODELS}
    assert precisions["Lumina-mGPT 7B"] == precisions["Janus-Pro 7B"] == ["4-bit", "int8", "bf16", "bf16", "bf16"]
    assert precisions["Janus-Pro 1B"] == ["bf16"] * len(hardware.CARDS)


def test_janus_pro_is_counted_one_code_at_a_time():
    held = hardware.held_on(counted.JANUS_1B)[0]
    assert held.steps((384, 384)) == 576 and held.started_seconds((384, 384)) >= held.picture_seconds((384, 384))
    reading = 2 * (counted.JANUS_1B.layer_weights() + counted.JANUS_1B.head_weights())
    floor = 576 * reading / (held.card.bandwidth * held.card.reached_bandwidth)
    assert floor < held.picture_seconds((384, 384)) < 1.1 * floor  # the rest is the KV cache


def test_weights_in_4_bits_are_read_as_they_lie_for_few_rows_and_turned_for_many():
    size = (384, 384)
    small = hardware.Held(counted.JANUS_7B, hardware.CARDS[0], "4-bit")
    whole = hardware.Held(counted.JANUS_7B, hardware.CARDS[0], None)
    assert small.picture_seconds(size) < whole.picture_seconds(size) / 2
    assert small.pair_seconds(size, True) > whole.pair_seconds(size, True)


def test_the_page_of_hardware_is_what_the_benchmark_writes():
    written = (Path(__file__).parents[1] / "docs" / "hardware.md").read_text(encoding="utf-8")
    assert written == hardware.page()


@pytest.mark.parametrize("path", models.PAGES, ids=lambda path: path.name)
def test_the_tables_of_models_are_what_the_benchmark_writes(path):
    written = path.read_text(encoding="utf-8")
    assert written == models.with_table(written, models.PAGES[path]())


def test_every_family_is_among_the_models_that_are_shown():
    counted_families = [family for model in counted.MODELS for family in model.families]
    assert {family.name for family in (*counted_families, MINIATURE)} == set(FAMILIES)
    assert {shown.counted for shown in models.SHOWN} == {*counted.MODELS, None}


def test_the_smallest_card_of_each_model_is_named_with_its_precision():
    found = {shown.name: models.smallest_card(shown.counted) for shown in models.SHOWN}
    assert found["Janus-Pro 1B"] == "8 GB (bf16)" and found["Janus-Pro 7B"] == "8 GB (4-bit)"
    assert found["Lumina-mGPT 1.0 7B"] == "8 GB (4-bit, 768 px)" and "CPU" in found["the miniature"]
    assert models.cards_text(counted.LUMINA_7B) == "24 / 12 / 8 GB"
    assert models.cards_text(counted.JANUS_7B) == "16 / 12 / 8 GB"  # its node's help page says so too


@pytest.mark.parametrize("device, number", [("cuda", 2), ("cuda:1", 1)])
def test_memory_is_limited_on_a_card_with_a_number(device, number, monkeypatch):
    """torch 2.11 refuses a device without one."""
    limited = []
    card = types.SimpleNamespace(total_memory=24e9)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *arguments: limited.append(arguments))
    limit_memory(torch.device(device), 12)
    assert limited == [(0.5, number)]

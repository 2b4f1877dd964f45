"""Many pictures are drawn as many at a time as fit, and are the same ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from toy import FAMILY, quantized_toy, toy_lora, toy_model

from ar_core import batches
from ar_core.batches import draw_in_batches, fitting_images
from ar_core.memory import NotEnough, drawing_bytes, merge_bytes
from ar_core.model import ARModel
from ar_core.sampling import SamplingSettings
from ar_core.sampling.steps import StepOptions

PROMPTS = ["a dog", "a cat", "a dog", "a cup", "a dog", "a cat", "a dog", "a cup", "a cat", "a dog"]
SETTINGS = SamplingSettings.resolve(FAMILY, seed=5)


@pytest.fixture
def model() -> ARModel:
    return toy_model()


@pytest.fixture
def room_for(model, monkeypatch):
    """Pretend that so many pictures fit into memory."""

    def leave(count: int) -> None:
        free = 1
        if count:
            free = drawing_bytes(model, SETTINGS.size, count, SETTINGS.cfg, previews=False)
        monkeypatch.setattr(batches, "room", lambda device: free)

    return leave


def test_the_copy_with_a_subject_is_counted_once(model, monkeypatch):
    """It is made on the way: what is free shrinks by it then."""
    personal = model.personalized(toy_lora(model))
    needed = drawing_bytes(personal, SETTINGS.size, 8, SETTINGS.cfg, previews=False)
    copied = merge_bytes(model.base)

    def room(device: torch.device) -> int:
        return needed - copied * personal.has_merged

    monkeypatch.setattr(batches, "room", room)
    prompts = ["a [V] dog"] * 16
    assert [len(part) for part in draw_in_batches(personal, prompts, SETTINGS)] == [8, 8]


def drawn(model: ARModel, **options) -> tuple[list[int], torch.Tensor, set[int]]:
    """Sizes of the parts, all codes, and the windows."""
    parts = list(draw_in_batches(model, PROMPTS, SETTINGS, **options))
    pictures = [picture for part in parts for picture in part]
    return (
        [len(part) for part in parts],
        torch.cat([picture.codes for picture in pictures]),
        {picture.settings.window for picture in pictures},
    )


def test_less_memory_draws_the_same_pictures_in_smaller_parts(model, room_for):
    room_for(100)
    whole, codes, windows = drawn(model)
    assert whole == [8, 2]
    room_for(3)
    parts, again, same_windows = drawn(model)
    assert parts == [3, 3, 2, 2] and windows == same_windows
    assert torch.equal(codes, again)


def test_the_window_is_that_of_the_whole_batch(model, room_for):
    """A part would have a larger one of its own, which gives other pictures."""
    room_for(1)
    assert model.auto_window(1) != model.auto_window(8)
    _, _, windows = drawn(model)
    assert windows == {model.auto_window(8), model.auto_window(2)}


@pytest.mark.parametrize("done", [1, 3, 8, 9])
def test_it_goes_on_after_any_picture(model, room_for, done):
    room_for(2)
    _, codes, _ = drawn(model)
    _, rest, _ = drawn(model, done=done)
    assert torch.equal(rest, codes[done:])


def test_a_device_that_says_nothing_draws_all_at_once(model, monkeypatch):
    monkeypatch.setattr(batches, "room", lambda device: None)
    assert drawn(model)[0] == [8, 2]


def test_memory_that_runs_out_after_all_only_makes_parts_smaller(model, room_for, monkeypatch):
    room_for(100)
    expected = drawn(model)[1]
    generate = ARModel.generate

    tried = []

    def full(self, prompts, *arguments, **options):
        tried.append(len(prompts))
        if len(prompts) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return generate(self, prompts, *arguments, **options)

    monkeypatch.setattr(ARModel, "generate", full)
    parts, codes, _ = drawn(model)
    assert parts == [2, 2, 2, 2, 2] and torch.equal(codes, expected)
    assert tried == [8, 4, 2, 2, 2, 2, 2]  # it is learned once


def test_an_error_of_another_kind_is_not_swallowed(model, room_for, monkeypatch):
    room_for(100)

    def broken(*_, **__):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(ARModel, "generate", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        drawn(model)


def test_no_room_for_a_single_picture_is_said(model, room_for):
    room_for(0)
    with pytest.raises(NotEnough, match="A picture of 32x32 needs .* beside the model, 1 KiB are free on cpu"):
        fitting_images(model, SETTINGS.size, SETTINGS.cfg, 8)


def test_nothing_left_to_draw_needs_no_room(model, room_for):
    room_for(0)
    assert list(draw_in_batches(model, PROMPTS, SETTINGS, done=len(PROMPTS))) == []
    assert list(draw_in_batches(model, PROMPTS[:8], SETTINGS, done=8)) == []


def test_a_single_picture_that_does_not_fit_after_all_is_tried_once(model, room_for, monkeypatch):
    room_for(7)
    generate = ARModel.generate
    tried = []

    def full(self, prompts, *arguments, **options):
        tried.append(len(prompts))
        if len(prompts) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return generate(self, prompts, *arguments, **options)

    monkeypatch.setattr(ARModel, "generate", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        list(draw_in_batches(model, PROMPTS[:8], SETTINGS))
    assert tried == [7, 1]


def test_a_cache_that_waits_for_the_next_picture_counts_as_free(model, monkeypatch):
    """It is taken over or given back: the second prompt of a command needs no more room than the first."""
    needed = drawing_bytes(model, SETTINGS.size, 8, SETTINGS.cfg, previews=False)
    monkeypatch.setattr(batches, "room", lambda device: needed - model.kept_bytes)
    recorded = {"options": StepOptions(graphs=True)}
    for prompt in ("a dog", "a cat and a dog"):
        assert [len(part) for part in draw_in_batches(model, [prompt] * 8, SETTINGS, **recorded)] == [8]
        assert model.kept_bytes > 0


@pytest.mark.parametrize("bad", [{"most": 0}, {"most": -1}, {"done": -1}])
def test_numbers_that_cannot_be_meant_are_refused(model, bad):
    with pytest.raises(ValueError, match="one at a time or more"):
        list(draw_in_batches(model, PROMPTS, SETTINGS, **bad))


def test_no_prompt_draws_nothing(model):
    assert model.generate([], SETTINGS) == []


def test_threads_that_share_a_model_draw_what_they_would_alone(model):
    """The kept cache and the hooks of adapters on quantised weights are shared."""
    quantized = quantized_toy("int8")
    subject = quantized.personalized(replace(toy_lora(quantized), base_fingerprint=quantized.fingerprint))
    jobs = [(quantized, "a dog", StepOptions(graphs=True)), (subject, "a [V] dog", None), (quantized, "a cat", None)]

    def draw(job):
        drawer, prompt, options = job
        return drawer.generate(prompt, SETTINGS, options=options)[0].codes

    expected = [draw(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(draw, jobs * 4))
    assert all(torch.equal(codes, expected[number % 3]) for number, codes in enumerate(found))

"""The trainings of the miniature itself, at a thousandth of their size."""

import functools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.families.miniature import MINIATURE
from ar_core.text import TextTokenizer
from ar_core.training.examples import make_training_batch
from workshop.making import drawings as drawing
from workshop.making import image_tokenizer_training, muon, plans, sequences, train, transformer_training
from workshop.making.checkpointing import checkpoint_progress, lesson_weights, save_training
from workshop.making.codebook import MovingAverageCodebook
from workshop.making.drawings import NONE, Drawings, captioned, draw_blocks, numbered_scene
from workshop.making.export import export_miniature
from workshop.making.place import OutOfTimeError, Place
from workshop.making.plans import PLANS, Lessons
from workshop.making.sequences import Sequences
from workshop.world.drawing import draw_scene
from workshop.world.words import build_tokenizer

SILENT = {"log": lambda message: None}
COUNT = 6  # scenes


@functools.cache
def protocol():
    return MINIATURE.bind(TextTokenizer(build_tokenizer()))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(plans, "IMAGE_TOKENIZER", ImageTokenizerConfig(8, (1, 2), 1, 8, 4, 256, 3, 2))
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    monkeypatch.setattr(plans, "TRANSFORMER", TransformerConfig(1616, **sizes, head_first=4, head_size=1024))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Drawings whose scenes are all there."""
    folder = tmp_path_factory.mktemp("drawn")
    drawings = Drawings(folder, COUNT, 0, 1)
    draw_blocks(folder, COUNT, 0, 0, 1)
    return drawings


# ---------------------------------------------------------------- what is learned from


def test_processes_draw_numbered_scenes(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "BLOCK", 64)
    with Drawings(tmp_path, COUNT, 3, 2) as drawings:
        drawings.wait(COUNT)
    for index in (0, COUNT - 1):
        assert np.array_equal(drawings.pixels[index], np.asarray(draw_scene(numbered_scene(index, 3), 96)))
    assert list(captioned(COUNT)) == [0, 1, 2, 4, 5]


def test_drawing_goes_on_where_it_was_stopped_and_by_any_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "BLOCK", 1)
    whole = Drawings(tmp_path / "whole", COUNT, 0, 1)
    draw_blocks(tmp_path / "whole", COUNT, 0, 0, 1)
    parts = Drawings(tmp_path / "parts", COUNT, 0, 1)
    draw_blocks(tmp_path / "parts", COUNT, 0, 0, 2)  # one process of two
    assert list(parts.drawn) == [1, 0, 1, 0, 1, 0]
    parts.pixels[0] = 7
    draw_blocks(tmp_path / "parts", COUNT, 0, 0, 1)
    assert np.array_equal(parts.pixels[1:], whole.pixels[1:]) and np.array_equal(parts.prompts, whole.prompts)
    assert (parts.pixels[0] == 7).all()  # what was drawn is not drawn again


def test_a_folder_with_other_scenes_is_refused(tmp_path):
    Drawings(tmp_path, COUNT, 0, 1)
    with pytest.raises(ValueError, match="holds the scenes of another training"):
        Drawings(tmp_path, COUNT, 1, 1)


def test_who_waits_for_scenes_that_nobody_draws_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="has failed"):
        Drawings(tmp_path, COUNT, 0, 1).wait(1)


def test_sequences_are_those_that_personalization_learns_from(drawn):
    codes = torch.randint(0, 1024, (5, 16, 16), generator=torch.Generator().manual_seed(0))
    prompts = torch.from_numpy(drawn.prompts[captioned(COUNT)])
    learned = Sequences(codes, prompts, protocol(), 4, 0)
    scenes, choice = torch.tensor([4, 0, 2, 4]), torch.tensor([1, 3, 0, 2])
    batch = learned.put_together(scenes, choice, torch.tensor([False, False, True, False]))
    pairs = []
    for number, (scene, caption) in enumerate(zip(scenes, choice, strict=True)):
        prompt = [token for token in prompts[scene, caption].tolist() if token != NONE]
        if number == 2:
            prompt = protocol().unguided(prompt)
        pairs.append((prompt, codes[scene]))
    expected = make_training_batch(pairs, protocol(), MINIATURE.recipe.size)
    width = expected.ids.shape[1]
    assert torch.equal(batch.ids[:, :width], expected.ids) and (batch.ids[:, width + 1 :] == protocol().begin).all()
    assert torch.equal(expected.targets.gather(1, batch.positions), batch.codes)
    assert ((expected.targets >= 0).sum(1) == 256).all()


def test_a_tenth_of_the_sequences_has_no_caption(drawn):
    codes = torch.zeros(5, 16, 16, dtype=torch.int16)
    learned = Sequences(codes, torch.from_numpy(drawn.prompts[captioned(COUNT)]), protocol(), 2000, 0)
    batch = learned(0)
    bare = batch.positions[:, 0] == len(protocol().header(MINIATURE.recipe.size)) - 1
    assert bare.float().mean().item() == pytest.approx(sequences.UNCAPTIONED, abs=0.03)
    assert torch.equal(batch.ids, learned(0).ids) and not torch.equal(batch.ids, learned(1).ids)


def test_the_batches_of_the_image_tokenizer_grow_with_what_is_drawn(drawn):
    scenes = image_tokenizer_training.Scenes(drawn, 4, 0)
    assert torch.equal(scenes(5), scenes(5)) and scenes(5).shape == (4, 96, 96, 3)


# ---------------------------------------------------------------- how


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_muon_steps_as_torchs_own():
    """But for rounding: bfloat16 products of several matrices at once may be summed in another order."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 8), (8, 8), (24, 8), (8, 24)]
    ours, theirs = (
        [torch.nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(1))) for shape in shapes]
        for _ in range(2)
    )
    ours_optimizer = muon.Muon(ours, lr=1e-2, weight_decay=0.1)
    theirs_optimizer = torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        ours_optimizer.step()
        theirs_optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=5e-5)


def test_muons_updates_are_orthogonal():
    update = muon.orthogonal(torch.randn(3, 6, 20, generator=torch.Generator().manual_seed(0))).float()
    values = torch.linalg.svdvals(update)
    assert values.min() > 0.6 and values.max() < 1.3


def decode_steps(folder, steps, stop=None):
    codes = torch.from_numpy(np.random.RandomState(0).randint(0, 1024, (4, 16, 16)))
    prompts = torch.tensor(protocol().prompt("a red dog", MINIATURE.recipe.size)).repeat(4, 1, 1)
    batches = Sequences(codes, prompts, protocol(), 2, 0)

    def until(step):
        if step == stop:
            raise KeyboardInterrupt
        return batches(step)

    place = Place(save_seconds=0)
    transformer_training.train_transformer(folder, until, Lessons(steps, 2, 2e-3), place, **SILENT)


def same_weights(first, second):
    weights = lesson_weights(first)
    return all(torch.equal(weights[name], value) for name, value in lesson_weights(second).items())


def test_the_transformers_training_goes_on_as_if_it_had_never_stopped(small, tmp_path, monkeypatch):
    monkeypatch.setattr(transformer_training, "rate_falls_at", lambda steps: steps - 2)
    decode_steps(tmp_path / "whole", 5)
    with pytest.raises(KeyboardInterrupt):
        decode_steps(tmp_path / "parts", 5, stop=4)  # past the plateau, whose state was kept at step 3
    assert checkpoint_progress(tmp_path / "parts" / transformer_training.PLATEAU) == (3, 5)
    decode_steps(tmp_path / "parts", 5)
    assert same_weights(*(tmp_path / name / transformer_training.CHECKPOINT for name in ("whole", "parts")))


def test_a_longer_training_starts_from_before_the_rate_fell(small, tmp_path, monkeypatch):
    monkeypatch.setattr(transformer_training, "rate_falls_at", lambda steps: steps - 2)
    decode_steps(tmp_path / "longer", 4)
    decode_steps(tmp_path / "longer", 6)
    decode_steps(tmp_path / "once", 6)
    assert same_weights(*(tmp_path / name / transformer_training.CHECKPOINT for name in ("longer", "once")))


def test_what_a_training_can_go_on_from(tmp_path):
    latest, plateau = tmp_path / "latest.safetensors", tmp_path / "plateau.safetensors"

    def keep(path, step):
        save_training(path, step, 100, torch.nn.Linear(1, 1), [], {})

    def choose(steps):
        return transformer_training.resumable_checkpoint(latest, plateau, steps)

    assert choose(100) is None
    keep(latest, 50)  # the rate falls from step 65 of 100 on
    assert choose(100) == choose(200) == latest and choose(70) is None  # of 70 steps it would have fallen since step 45
    keep(latest, 90), keep(plateau, 65)
    assert choose(100) == latest and choose(200) == plateau and choose(80) is None


def tokenizer_steps(folder, drawn, steps, place=None, **options):
    scenes = image_tokenizer_training.Scenes(drawn, 2, options.get("seed", 0))
    return image_tokenizer_training.train_image_tokenizer(
        folder, scenes, Lessons(steps, 2, 1e-3), place or Place(save_seconds=0), **options, **SILENT
    )


def test_the_image_tokenizers_training_goes_on_as_if_it_had_never_stopped(small, drawn, tmp_path, monkeypatch):
    """Stopped by its time, of which none is left after each step."""
    monkeypatch.setattr(image_tokenizer_training, "UNQUANTISED", 0.3)
    monkeypatch.setattr(image_tokenizer_training, "FINAL_CODES", 0.7)
    tokenizer_steps(tmp_path / "whole", drawn, 4)
    for _ in range(3):
        with pytest.raises(OutOfTimeError):
            tokenizer_steps(tmp_path / "parts", drawn, 4, Place(until=0))
    tokenizer_steps(tmp_path / "parts", drawn, 4, Place(until=0))  # the last step: nothing is left to do
    assert same_weights(*(tmp_path / name / image_tokenizer_training.CHECKPOINT for name in ("whole", "parts")))


def test_at_the_end_only_the_image_tokenizers_decoder_learns(small, drawn, tmp_path, monkeypatch):
    """Codes of the scenes can be computed from there on."""
    monkeypatch.setattr(image_tokenizer_training, "UNQUANTISED", 0)
    monkeypatch.setattr(image_tokenizer_training, "FINAL_CODES", 0)
    trained = tokenizer_steps(tmp_path, drawn, 4, seed=3)
    torch.manual_seed(3)
    fresh = image_tokenizer_training.ImageTokenizer(plans.IMAGE_TOKENIZER).state_dict()
    changed = {
        name.split(".")[0] for name, value in trained.state_dict().items() if not torch.equal(value, fresh[name])
    }
    assert changed == {"quantize", "post_quant_conv", "decoder"}  # the codebook was set by k-means, once


def test_the_image_tokenizers_training_fills_its_codebook_and_exports(small, drawn, tmp_path, monkeypatch):
    from workshop.making import export as exporting

    monkeypatch.setattr(exporting, "IMAGE_TOKENIZER", plans.IMAGE_TOKENIZER)
    monkeypatch.setattr(exporting, "TRANSFORMER", plans.TRANSFORMER)
    monkeypatch.setattr(image_tokenizer_training, "UNQUANTISED", 0.3)
    tokenizer_steps(tmp_path, drawn, 10)
    decode_steps(tmp_path, 1)
    export_miniature(tmp_path, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors", "vqgan.safetensors"}
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights["lm_head.weight"].shape == (1616, 16) and weights["lm_head.weight"][1028:].abs().sum() == 0
    assert weights["lm_head.weight"].dtype == torch.float16 and "image_head.weight" not in weights
    vq = load_file(tmp_path / "out" / "vqgan.safetensors")
    assert {
        "quantize.embedding.weight",
        "encoder.conv_in.weight",
        "decoder.conv_out.bias",
        "post_quant_conv.weight",
    } <= set(vq)


def test_the_whole_command_in_small_steps(small, tmp_path, monkeypatch):
    """From nothing to weights, stopped once on the way."""
    from workshop.making import export as exporting

    monkeypatch.setattr(exporting, "IMAGE_TOKENIZER", plans.IMAGE_TOKENIZER)
    monkeypatch.setattr(exporting, "TRANSFORMER", plans.TRANSFORMER)
    monkeypatch.setattr(plans, "PLANS", PLANS)
    monkeypatch.setitem(PLANS, "trial", replace(PLANS["trial"], scenes=COUNT))
    out, folder = tmp_path / "out", tmp_path / "folder"
    command = ["train", "--plan", "trial", "--folder", str(folder), "--out", str(out), "--workers", "1"]
    monkeypatch.setattr("sys.argv", [*command, "--device", "cpu", "--minutes", "0"])
    train.main()
    assert not out.exists() and checkpoint_progress(folder / image_tokenizer_training.CHECKPOINT) == (1, 3)
    monkeypatch.setattr("sys.argv", [*command, "--device", "cpu"])
    train.main()
    assert (out / "model.safetensors").exists() and (folder / "training.json").exists()


def test_the_codebook_follows_its_vectors_and_revives_dead_rows():
    rows = torch.nn.Parameter(torch.zeros(2, 1))
    codebook = MovingAverageCodebook(rows, decay=0.5)
    codebook.counts.fill_(1)
    codebook.update(torch.tensor([[4.0], [4.0]]), torch.tensor([0, 0]))
    assert rows[0].item() == pytest.approx(4 / 1.5 * 1.0) and rows[1].item() == 0
    for _ in range(5):
        codebook.update(torch.tensor([[4.0], [4.0]]), torch.tensor([0, 0]))
    assert rows[1].item() == 4  # nobody used row 1: it was moved onto a current vector


def test_no_caption_is_longer_than_its_row():
    """1,000 of them; a longer one would stop the process that draws."""
    lengths = []
    for index in range(250):
        scene = numbered_scene(index, 11)
        rng = random.Random(index)
        captions = [drawing.random_caption(rng, scene) for _ in range(4)]
        lengths += [len(protocol().prompt(caption, MINIATURE.recipe.size)) for caption in captions]
    assert max(lengths) <= drawing.LONGEST - 8

"""Sampling against the slowest possible statement of what it should do: plain loops, no cache, no batch."""

import itertools
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_world import COLUMNS, LARGEST, MODEL, PROMPTS, PROTOCOL, ROWS, SIZE, settings, with_header
from toy import toy_model

from ar_core.concepts import Concepts
from ar_core.control import Cancelled
from ar_core.families.lumina_mgpt import LUMINA_768, LUMINA_1024
from ar_core.families.miniature import MINIATURE
from ar_core.sampling import SamplingSettings
from ar_core.sampling.engine import Engine
from ar_core.sampling.rule import code_probabilities, draw_code, guide, keep_top_k
from ar_core.sampling.sequential import decode_sequentially
from ar_core.sampling.settings import code_uniforms


def sample(prompts, chosen=None, rows=None, **options):
    chosen = chosen or settings()
    concepts = None
    if rows is not None:
        concepts = Concepts.stacked([rows[None]], PROTOCOL.identifier_base)
    return decode_sequentially(
        Engine(MODEL, PROTOCOL, with_header(prompts), SIZE, chosen.cfg, concepts), chosen, **options
    ).codes


# --- the reference ---------------------------------------------------------------------------------------------


def reference_probabilities(conditional, unconditional, cfg, top_k, temperature, code_ids):
    """Float64 probabilities over the whole vocabulary, from logits over the whole vocabulary."""
    guided = [u + cfg * (c - u) for c, u in zip(conditional, unconditional, strict=True)]
    scores = [score if token in code_ids else -math.inf for token, score in enumerate(guided)]
    threshold = sorted(scores, reverse=True)[min(top_k, len(code_ids)) - 1]
    largest = max(scores)
    weights = [math.exp((s - largest) / temperature) if s >= threshold and s > -math.inf else 0.0 for s in scores]
    return [weight / sum(weights) for weight in weights]


def reference_draw(p, uniform):
    passed = 0.0
    for index, share in enumerate(p):
        passed += share
        if share > 0 and passed > uniform:
            return index
    return max(index for index, share in enumerate(p) if share > 0)  # sum(p) was rounded below the uniform


def reference_decode(prompt, chosen, image):
    """No cache, no batch: for every code two forward passes over the whole explicit sequence so far."""
    width, height = SIZE
    header = [PROTOCOL.image_start, PROTOCOL.size_base + height // 8, PROTOCOL.size_base + width // 8]
    random_numbers = code_uniforms(chosen.seed, image, ROWS * COLUMNS).tolist()
    block, codes = list(header), []
    for row in range(ROWS):
        for column in range(COLUMNS):
            conditional, unconditional = full_logits(prompt + block), full_logits(block)
            code_ids = range(PROTOCOL.codes)  # the head covers nothing else
            p = reference_probabilities(
                conditional, unconditional, chosen.cfg, chosen.top_k, chosen.temperature, code_ids
            )
            codes.append(reference_draw(p, random_numbers[row * COLUMNS + column]))
            block.append(PROTOCOL.code_base + codes[-1])
        block.append(PROTOCOL.row_end)
    written = PROTOCOL.image_block(np.reshape(codes, (ROWS, COLUMNS)).tolist(), SIZE)
    assert block + [PROTOCOL.image_end] == header + written
    return torch.tensor(codes).view(ROWS, COLUMNS)


def full_logits(ids):
    hidden = MODEL(MODEL.embed(torch.tensor([ids])))
    return MODEL.image_logits(hidden)[0, -1].tolist()


# --- the rule --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cfg", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("top_k", [1, 3, 12, 5000])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_the_rule_is_guidance_then_codes_then_top_k_then_temperature_then_inverse_cdf(cfg, top_k, temperature):
    numbers = np.random.default_rng(0)
    first, last = PROTOCOL.code_base, PROTOCOL.code_base + PROTOCOL.codes
    for _ in range(40):
        whole = numbers.normal(0, 2, (2, 60)).astype(np.float32)  # other tokens may score higher than any code
        uniform = numbers.random(dtype=np.float32)
        expected = reference_probabilities(*whole.tolist(), cfg, top_k, temperature, range(first, last))
        conditional, unconditional = torch.from_numpy(whole[:, first:last])
        p = code_probabilities(guide(conditional, unconditional, cfg), top_k, temperature)
        assert expected[:first] == [0.0] * first and expected[last:] == [0.0] * (60 - last)
        torch.testing.assert_close(
            p.double(), torch.tensor(expected[first:last], dtype=torch.float64), atol=2e-6, rtol=1e-5
        )
        assert first + int(draw_code(p, torch.tensor(uniform))) == reference_draw(expected, float(uniform))


def test_everything_that_ties_with_the_kth_code_is_kept():
    logits = torch.tensor([1.0, 3.0, 2.0, 2.0, 2.0, 0.0])
    for k, kept in [
        (1, [1]),
        (2, [1, 2, 3, 4]),
        (3, [1, 2, 3, 4]),
        (4, [1, 2, 3, 4]),
        (5, [0, 1, 2, 3, 4]),
        (6, range(6)),
    ]:
        assert keep_top_k(logits, k).isfinite().nonzero().flatten().tolist() == list(kept)
        expected = reference_probabilities(logits.tolist(), [0.0] * 6, 1.0, k, 1.0, range(6))
        torch.testing.assert_close(code_probabilities(logits, k, 1.0), torch.tensor(expected))
    assert code_probabilities(torch.zeros(6), 1, 1.0).tolist() == pytest.approx([1 / 6] * 6)


def test_top_k_1_is_the_largest_whatever_the_uniform():
    logits = torch.randn(50, 12, generator=torch.Generator().manual_seed(0))
    for uniform in (0.0, 0.3, LARGEST):
        assert torch.equal(draw_code(code_probabilities(logits, 1, 1.3), torch.full((50,), uniform)), logits.argmax(-1))


def test_top_k_of_all_codes_or_more_drops_none():
    logits = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    for k in (12, 13, 10**6):
        torch.testing.assert_close(code_probabilities(logits, k, 1.0), logits.softmax(-1))


def test_low_precision_logits_are_widened_before_anything_else():
    logits = torch.randn(3, 12, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(code_probabilities(logits, 5, 0.7), code_probabilities(logits.float(), 5, 0.7))


def test_every_code_owns_an_interval_closed_below_and_open_above():
    p = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    numbers = torch.tensor([0.0, 0.25 - 2**-24, 0.25, 0.75 - 2**-24, 0.75, LARGEST])
    assert draw_code(p.expand(6, -1), numbers).tolist() == [1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("codes", [2, 12, 8192])
def test_a_code_of_probability_zero_is_never_drawn(codes):
    generator = torch.Generator().manual_seed(codes)
    edges = torch.tensor([0.0, 2**-24, 2**-23, 0.5, 1 - 2**-23, LARGEST])
    for trial in range(200 if codes < 100 else 30):
        possible = torch.rand(codes, generator=generator) < (0.03, 0.5, 0.97)[trial % 3]
        possible[trial % codes] = True
        logits = torch.randn(codes, generator=generator) * (1, 20)[trial % 2]
        p = torch.softmax(logits.masked_fill(~possible, -math.inf), -1)
        numbers = torch.cat([edges, p.cumsum(-1)[:20].clamp(max=LARGEST), torch.rand(20, generator=generator)])
        drawn = draw_code(p.expand(len(numbers), -1), numbers)
        assert (p[drawn] > 0).all()


def halves_first(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """A cumulative sum that adds in the order of a parallel scan, as graphics cards do."""
    step = 1
    while step < x.shape[dim]:
        x = torch.cat([x[..., :step], x[..., step:] + x[..., :-step]], dim)
        step *= 2
    return x


def test_a_draw_does_not_depend_on_the_order_of_adding(monkeypatch):
    """Numbers just at the border of two codes: with a sum of floats the two orders give different codes there."""
    p = code_probabilities(torch.randn(8192, generator=torch.Generator().manual_seed(2)), 2000, 1.0)
    borders = p.cumsum(-1)[p > 0][:-1]
    in_order = draw_code(p, borders)
    assert not torch.equal(p.cumsum(-1), halves_first(p))
    monkeypatch.setattr(torch.Tensor, "cumsum", halves_first)
    assert torch.equal(draw_code(p, borders), in_order)


def test_a_draw_needs_no_sum_of_one():
    p = code_probabilities(torch.randn(64, 40, generator=torch.Generator().manual_seed(3)), 30, 1.0)
    numbers = torch.rand(64, generator=torch.Generator().manual_seed(4))
    for scale in (2.0**-60, 2.0**20):
        assert torch.equal(draw_code(p * scale, numbers), draw_code(p, numbers))


def test_draw_follows_the_distribution():
    """Chi-square over the very numbers that images use; one in a million right samplers would fail."""
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)) * 1.5
    p = code_probabilities(logits, 30, 0.8)
    numbers = torch.stack([code_uniforms(3, image, 2000) for image in range(200)])
    counts = draw_code(p.expand(*numbers.shape, -1), numbers).flatten().bincount(minlength=40).double()
    expected = p.double() * numbers.numel()
    possible = p > 0
    assert int(possible.sum()) == 30 and counts[~possible].sum() == 0
    assert expected[possible].min() > 20
    assert chi_square(counts[possible], expected[possible]) < critical(29)
    wrong = code_probabilities(logits, 30, 0.82).double() * numbers.numel()  # the test would notice this temperature
    assert chi_square(counts[possible], wrong[possible]) > critical(29)


def chi_square(counts, expected):
    return float(((counts - expected) ** 2 / expected).sum())


def critical(freedom, z=4.75):
    """Where chi-square's tail falls below one in a million (Wilson and Hilferty 1931)."""
    return freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3


# --- whole images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cfg", [0.0, 1.0, 4.0])
def test_decoding_equals_a_decoder_without_cache_and_batch(cfg):
    chosen = settings(cfg=cfg)
    codes = sample(PROMPTS, chosen)
    assert codes.shape == (len(PROMPTS), ROWS, COLUMNS) and codes.dtype == torch.long
    for image, prompt in enumerate(PROMPTS):
        assert torch.equal(codes[image], reference_decode(prompt, chosen, image))


@pytest.mark.parametrize("changed", [{"cfg": 1.0}, {"top_k": 2}, {"temperature": 3.0}, {"seed": 8}])
def test_every_setting_reaches_the_codes(changed):
    assert not torch.equal(sample(PROMPTS), sample(PROMPTS, settings(**changed)))


def test_the_prompt_reaches_the_codes():
    same_numbers = torch.cat([sample([prompt]) for prompt in PROMPTS])
    assert len(same_numbers.unique(dim=0)) == len(PROMPTS)


def test_an_image_does_not_depend_on_its_batch():
    batch = sample(PROMPTS)
    for image, prompt in enumerate(PROMPTS):
        assert torch.equal(sample([prompt], first_image=image)[0], batch[image])
    assert torch.equal(sample(PROMPTS[2:], first_image=2), batch[2:])


def test_an_engine_may_decode_again():
    engine = Engine(MODEL, PROTOCOL, with_header(PROMPTS), SIZE, 4.0)
    first = decode_sequentially(engine, settings()).codes
    assert torch.equal(decode_sequentially(engine, settings(seed=8)).codes, sample(PROMPTS, settings(seed=8)))
    assert torch.equal(decode_sequentially(engine, settings()).codes, first)


def test_more_than_one_bucket_of_cache_is_read():
    """33 rows of 7 codes: attention's window grows twice on the way."""
    size = (56, 264)
    protocol = replace(PROTOCOL, size_base=20, identifier_base=55)
    chosen = settings(size=size)
    batch = decode_sequentially(
        Engine(MODEL, protocol, with_header(PROMPTS[:2], size, protocol), size, 4.0), chosen
    ).codes
    block = protocol.header(size) + protocol.image_block(batch[1].tolist(), size)[:-2]
    last = protocol.code_base + protocol.codes
    hidden = [MODEL(MODEL.embed(torch.tensor([ids])))[0] for ids in (PROMPTS[1] + block, block)]
    conditional, unconditional = map(MODEL.image_logits, hidden)
    p = code_probabilities(guide(conditional[-len(block) :], unconditional, 4.0), chosen.top_k, chosen.temperature)
    before_code = [index for index, token in enumerate(block[1:]) if index >= 2 and protocol.code_base <= token < last]
    assert torch.equal(draw_code(p[before_code], code_uniforms(chosen.seed, 1, 231)), batch[1].flatten())


def test_row_ends_cost_no_forward_pass():
    calls = []
    handle = MODEL.register_forward_hook(lambda module, given, hidden: calls.append(hidden.shape[:2]))
    sample(PROMPTS)
    handle.remove()
    assert len(calls) == ROWS * COLUMNS
    assert {rows for rows, _ in calls} == {2 * len(PROMPTS)}
    assert [tokens for _, tokens in calls[1:]] == [1, 1, 2] * 3 + [1, 1]


def test_guidance_1_runs_no_unconditional_rows():
    calls = []
    handle = MODEL.register_forward_hook(lambda module, given, hidden: calls.append(len(hidden)))
    sample(PROMPTS, settings(cfg=1.0))
    handle.remove()
    assert set(calls) == {len(PROMPTS)}


@pytest.mark.parametrize("finished", [0, 1, 5])
def test_cancel_stops_within_one_step(finished):
    seen = []
    with pytest.raises(Cancelled):
        sample(PROMPTS, progress=lambda done, total, message: seen.append(done), cancel=lambda: len(seen) >= finished)
    assert seen == list(range(1, finished + 1))


def test_progress_counts_every_code_and_rows_arrive_final():
    steps, rows = [], []
    codes = sample(
        PROMPTS,
        progress=lambda done, total, message: steps.append((done, total)),
        on_row=lambda c, n: rows.append((n, c.clone())),
    )
    assert steps == [(done, ROWS * COLUMNS) for done in range(1, ROWS * COLUMNS + 1)]
    assert [n for n, _ in rows] == [1, 2, 3, 4]
    for n, shown in rows:
        assert torch.equal(shown[:, :n], codes[:, :n])
        assert not shown[:, n:].any()


def test_learned_rows_take_the_place_of_reserved_tokens():
    table = MODEL.model.embed_tokens.weight
    base = PROTOCOL.identifier_base
    plain = sample(PROMPTS)
    assert torch.equal(sample(PROMPTS, rows=table[base : base + 2].clone()), plain)
    learned = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    personalized = sample(PROMPTS, rows=learned)
    changed = [not torch.equal(a, b) for a, b in zip(plain, personalized, strict=True)]
    assert changed == [False, True, False, False]  # only the second prompt names the identifier
    assert torch.equal(sample(PROMPTS), plain), "the embedding table was changed"


# --- settings --------------------------------------------------------------------------------------------------


def test_what_is_left_open_comes_from_the_recipe():
    expected = SamplingSettings(4.0, 2000, 1.0, (768, 768), 0)
    assert SamplingSettings.resolve(LUMINA_768) == expected
    assert SamplingSettings.resolve(LUMINA_768, cfg=None, top_k=0, temperature=0, size=(0, 0), seed=0) == expected
    assert SamplingSettings.resolve(MINIATURE).size == (96, 96)
    assert SamplingSettings.resolve(LUMINA_768, cfg=0).cfg == 0  # no guidance at all is a choice, not "auto"
    chosen = SamplingSettings.resolve(LUMINA_1024, cfg=3, top_k=50, temperature=0.7, size=(1024, 1024), seed=5)
    assert chosen == SamplingSettings(3.0, 50, 0.7, (1024, 1024), 5)
    assert chosen.describe() == {
        "cfg": 3.0,
        "top_k": 50,
        "temperature": 0.7,
        "size": "1024x1024",
        "seed": 5,
        "window": 0,
    }


def test_top_k_is_clamped_and_sizes_snap():
    assert SamplingSettings.resolve(MINIATURE, top_k=5000).top_k == 1024
    assert SamplingSettings.resolve(LUMINA_768, top_k=8192).top_k == 8192
    assert SamplingSettings.resolve(LUMINA_768, size=(1000, 1000)).size == (768, 768)
    assert SamplingSettings.resolve(LUMINA_768, size=(1920, 1080)).size == LUMINA_768.snap(1920, 1080)


@pytest.mark.parametrize(
    "bad, sentence",
    [
        ({"cfg": -0.5}, r"cfg is -0\.5; it must be from 0 to 100 \(1 switches guidance off, 4\.0 is the recipe\)"),
        ({"temperature": -1.0}, r"temperature is -1\.0; it must be above 0"),
        ({"top_k": -3}, r"top_k is -3; it must be at least 1, or 0 for the recipe's 2000"),
        ({"size": (0, 512)}, r"size is 0x512; both sides must be above 0"),
        ({"size": (512, -64)}, r"size is 512x-64; both sides must be above 0"),
    ],
)
def test_a_bad_value_is_named(bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        SamplingSettings.resolve(LUMINA_768, **bad)


def test_uniforms_depend_on_seed_and_image_alone():
    torch.manual_seed(1)
    first = code_uniforms(7, 3, 100)
    torch.manual_seed(2)
    assert torch.equal(code_uniforms(7, 3, 100), first)
    assert first.min() >= 0 and first.max() < 1
    others = [code_uniforms(7, 4, 100), code_uniforms(8, 3, 100), code_uniforms(73, 0, 100), code_uniforms(-7, 3, 100)]
    assert len(torch.stack([first, *others]).unique(dim=0)) == 5
    global_state = torch.get_rng_state()
    code_uniforms(0, 0, 10)
    assert torch.equal(torch.get_rng_state(), global_state)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 100, 2304])
def test_a_longer_list_of_uniforms_begins_with_the_shorter(count):
    assert torch.equal(code_uniforms(7, 3, 4096)[:count], code_uniforms(7, 3, count))


def test_previews_grow_from_the_top_and_are_grey_below(monkeypatch):
    from ar_core import model as model_file

    monkeypatch.setattr(model_file, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(model_file, "PREVIEW_PAUSE", 0)
    model, seen = toy_model(), []
    settings = SamplingSettings.resolve(model.family, seed=2)
    image = model.generate(["a photo of a dog", "a photo of a cat"], settings, on_preview=seen.append)[0].images
    assert len(seen) == 4 and torch.equal(seen[-1], image)
    assert (seen[0][:, 8:] == 0.5).all() and not (seen[0][:, :8] == 0.5).all()
    monkeypatch.setattr(model_file, "PREVIEW_SECONDS", 1000.0)
    model.generate("a photo of a dog", settings, on_preview=seen.append)
    assert len(seen) == 4  # decoding pixels is not free: at most once in so many seconds


def test_slow_previews_become_rare(monkeypatch):
    from ar_core import model as model_file

    clock, seen = itertools.count(step=2), []  # every look at the clock takes two seconds
    monkeypatch.setattr(model_file.time, "monotonic", lambda: float(next(clock)))
    show = toy_model()._preview(seen.append)
    for _ in range(40):
        show(torch.zeros(1, 4, 4, dtype=torch.long), 2)
    assert len(seen) == 5  # each takes two seconds, and eighteen pass before the next


def test_the_cache_is_gone_when_pictures_are_made(monkeypatch):
    from ar_core import model as model_file

    engines, alive = [], []
    decode = model_file.ARModel.decode
    monkeypatch.setattr(model_file, "Engine", lambda *a: engines.append(weakref.ref(engine := Engine(*a))) or engine)
    monkeypatch.setattr(
        model_file.ARModel, "decode", lambda self, codes: (alive.append(engines[-1]()), decode(self, codes))[1]
    )
    for window in (1, 4):
        toy_model().generate("a photo of a dog", SamplingSettings.resolve(toy_model().family, window=window))
    assert alive == [None, None]


def test_a_prompt_is_checked_without_drawing():
    model = toy_model()
    assert model.check_prompt("a photo of a dog", (32, 32)) == "a photo of a dog"
    with pytest.raises(ValueError, match="names nothing"):
        model.check_prompt("a photo of [V]", (32, 32))

"""Speculative Jacobi decoding is lossless: its pictures follow the same distribution as one code at a time.

Proof by counting: a world of 3 codes per place and 4 places has so few pictures that every one's probability can be
computed. Tens of thousands of draws must then fit by a chi-squared test, and a decoder with the well-known mistake
must not.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from small_world import COLUMNS, MODEL, PROMPTS, PROTOCOL, ROWS, settings, with_header
from toy import toy_model

from ar_core.control import Cancelled
from ar_core.sampling import SamplingSettings, jacobi, sequential
from ar_core.sampling.engine import Engine
from ar_core.sampling.rule import code_probabilities, draw_code, guide
from ar_core.sampling.settings import WINDOWS, auto_window, code_uniforms

SIZE, CELLS, TOP_K = (16, 16), 4, 3  # 2 x 2 codes
CHOSEN = SamplingSettings(cfg=2.0, top_k=TOP_K, temperature=1.2, size=SIZE, seed=1)
BATCH, BATCHES = 500, 30


def engine(prompts, window=1, chosen=CHOSEN, protocol=PROTOCOL):
    prompts = with_header(prompts, chosen.size, protocol)
    return Engine(MODEL, protocol, prompts, chosen.size, chosen.cfg, spare=window)


@torch.inference_mode()
def exact(prompt) -> dict[tuple[int, ...], float]:
    """The probability of every picture, by plain enumeration without cache or batch."""
    header = PROTOCOL.header(SIZE)

    def following(codes: tuple[int, ...]) -> torch.Tensor:
        block = list(header)
        for index, code in enumerate(codes):
            block += [PROTOCOL.code_base + code] + ([PROTOCOL.row_end] if index % 2 else [])
        logits = [MODEL.image_logits(MODEL(MODEL.embed(torch.tensor([ids]))))[0, -1] for ids in (prompt + block, block)]
        return code_probabilities(guide(*logits, CHOSEN.cfg), TOP_K, CHOSEN.temperature)

    found = {(): 1.0}
    for _ in range(CELLS):
        found = {
            (*codes, code): share * float(p)
            for codes, share in found.items()
            for code, p in enumerate(following(codes))
            if p > 0
        }
    assert len(found) == TOP_K**CELLS and abs(sum(found.values()) - 1) < 1e-5
    return found


def chi_squared(decode, prompts) -> list[float]:
    """The p-value of what `decode(prompts, first_image)` draws, for each prompt; all prompts share batches."""
    counts = [dict.fromkeys(exact(prompt), 0) for prompt in prompts]
    for number in range(BATCHES):
        codes = decode([prompts[k % len(prompts)] for k in range(BATCH)], number * BATCH).flatten(1).tolist()
        for k, picture in enumerate(codes):
            counts[k % len(prompts)][tuple(picture)] += 1
    return [p_value(count, exact(prompt)) for count, prompt in zip(counts, prompts, strict=True)]


def p_value(counts, shares) -> float:
    total = sum(counts.values())
    rare = {picture for picture, share in shares.items() if share * total < 5}  # too few to count singly
    cells = [(counts[picture], share * total) for picture, share in shares.items() if picture not in rare]
    if rare:
        cells.append((sum(counts[picture] for picture in rare), sum(shares[picture] for picture in rare) * total))
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells)
    return float(torch.special.gammaincc(torch.tensor((len(cells) - 1) / 2.0), torch.tensor(statistic / 2)))


def jacobi_pictures(window, coupling=jacobi.speculative):
    chosen = replace(CHOSEN, window=window)
    return lambda prompts, first: (
        jacobi.decode_jacobi(engine(prompts, window), chosen, first_image=first, coupling=coupling).codes
    )


def test_sequential_decoding_fits_the_exact_distribution():
    assert (
        min(
            chi_squared(
                lambda prompts, first: sequential.decode_sequentially(engine(prompts), CHOSEN, first_image=first).codes,
                PROMPTS[:2],
            )
        )
        > 1e-3
    )


@pytest.mark.parametrize("window", [2, 4, 8])
def test_jacobi_decoding_fits_the_exact_distribution(window):
    """Windows shorter and longer than the picture; images with different prompts advance differently in one batch."""
    assert min(chi_squared(jacobi_pictures(window), PROMPTS[:2])) > 1e-3


def stale(p, q, guess, numbers, positions):
    """A public implementation's mistake: a guess keeps the q it was first drawn from, although p drew it by now."""
    return jacobi.speculative(p, torch.full_like(q, 1 / PROTOCOL.codes), guess, numbers, positions)


def test_the_same_test_finds_the_stale_draft_distribution():
    assert max(chi_squared(jacobi_pictures(4, stale), PROMPTS[:1])) < 1e-6


def shared_noise(seed: int, images: int, columns: int, total: int):
    """The sequential sampler's own numbers, one per place: a guess is kept only where it is exactly what they give."""
    numbers = torch.stack([code_uniforms(seed, k, total) for k in range(images)])

    def coupling(p, q, guess, drawn, positions):
        place = (positions - positions // (columns + 1)).clamp_max(total - 1)
        corrected = draw_code(p, numbers.gather(1, place))
        return corrected, corrected == guess

    return coupling


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("window", [1, 3, 8, 64])
def test_with_the_sequential_samplers_numbers_it_gives_the_same_codes(cfg, window):
    chosen = settings(cfg=cfg, window=window)
    plain = sequential.decode_sequentially(engine(PROMPTS, 1, chosen, PROTOCOL), chosen)
    coupling = shared_noise(chosen.seed, len(PROMPTS), COLUMNS, ROWS * COLUMNS)
    parallel = jacobi.decode_jacobi(engine(PROMPTS, window, chosen, PROTOCOL), chosen, coupling=coupling)
    assert torch.equal(plain.codes, parallel.codes) and parallel.steps <= plain.steps + ROWS


def test_an_image_does_not_depend_on_its_batch():
    chosen = settings(window=4)
    batch = jacobi.decode_jacobi(engine(PROMPTS, 4, chosen, PROTOCOL), chosen).codes
    for k, prompt in enumerate(PROMPTS):
        alone = jacobi.decode_jacobi(engine([prompt], 4, chosen, PROTOCOL), chosen, first_image=k).codes
        assert torch.equal(alone[0], batch[k])
    assert len({tuple(codes.flatten().tolist()) for codes in batch}) == len(PROMPTS)


def test_speculative_sampling_keeps_the_marginal_and_never_draws_the_impossible():
    torch.manual_seed(0)
    p, q = torch.softmax(torch.randn(2, 6) * 2, -1)
    p = torch.where(p < 0.02, 0, p)
    p = p / p.sum()
    count = 200_000
    guess = torch.multinomial(q, count, replacement=True)[None]
    wide = lambda row: row.expand(1, count, 6)  # noqa: E731
    corrected, kept = jacobi.speculative(wide(p), wide(q), guess, torch.rand(1, count, 3), torch.arange(count)[None])
    seen = torch.bincount(corrected[0], minlength=6) / count
    assert (seen - p).abs().max() < 5 * math.sqrt(0.25 / count) and (seen[p == 0] == 0).all()
    assert abs(kept.float().mean() - torch.minimum(p, q).sum()) < 5 * math.sqrt(
        0.25 / count
    )  # the best any coupling can do


def test_where_q_covers_p_the_target_itself_is_drawn():
    p = torch.tensor([[[0.5, 0.5, 0.0]]])
    corrected, kept = jacobi.speculative(
        p, p, torch.tensor([[2]]), torch.tensor([[[0.0, 0.7, 0.0]]]), torch.tensor([[0]])
    )
    assert not kept and corrected == 1  # a residual of zero: p instead


def test_the_host_reads_one_small_tensor_per_step(monkeypatch):
    reads = []
    for name in ("tolist", "item", "cpu", "numpy", "__bool__", "__int__", "__float__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, *a, original=original, name=name: (reads.append((name, self.numel())), original(self, *a))[1],
        )
    decoded = jacobi.decode_jacobi(engine(PROMPTS, 8, settings(window=8), PROTOCOL), settings(window=8))
    checked = [("__bool__", 1)]  # whether there is anything to draw from, once
    expected = checked + [("tolist", len(PROMPTS))] * decoded.steps + [("cpu", decoded.codes.numel())]
    assert reads == expected


def test_previews_progress_and_cancel():
    chosen, rows, seen = settings(window=8), [], []
    decoded = jacobi.decode_jacobi(
        engine(PROMPTS, 8, chosen, PROTOCOL),
        chosen,
        progress=lambda done, total, _: seen.append((done, total)),
        on_row=lambda codes, n: rows.append((n, codes.clone())),
    )
    assert [n for n, _ in rows] == sorted({n for n, _ in rows}) and rows[-1][0] == ROWS
    assert all(torch.equal(codes[:, :n], decoded.codes[:, :n]) for n, codes in rows)
    total = ROWS * (COLUMNS + 1) - 1
    assert (
        seen[-1] == (total, total) and [d for d, _ in seen] == sorted(d for d, _ in seen) and len(seen) == decoded.steps
    )
    stops = itertools.count()
    with pytest.raises(Cancelled):
        jacobi.decode_jacobi(engine(PROMPTS, 8, chosen, PROTOCOL), chosen, cancel=lambda: next(stops) == 2)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_model_takes_every_window_and_records_it(window):
    model = toy_model()
    image = model.generate("a photo of a dog", SamplingSettings.resolve(model.family, seed=3, window=window))[0]
    assert image.settings.window == window and image.codes.shape == (1, 4, 4)
    assert image.settings.describe()["window"] == window and (image.steps == 16 if window == 1 else image.steps <= 19)


def test_the_window_is_chosen_from_a_fixed_table():
    model = toy_model()
    image = model.generate("a photo of a dog", SamplingSettings.resolve(model.family, seed=3))[0]
    assert image.settings.window == auto_window("cpu", torch.float32, 1, 16) == 16
    for device, dtype, images in itertools.product(
        ("cpu", "cuda", "mps"), (torch.float32, torch.bfloat16), (1, 2, 4, 16)
    ):
        assert auto_window(device, dtype, images, 4096) in WINDOWS
    assert auto_window("cpu", torch.bfloat16, 1, 4096, "int8") == 1 < auto_window("cpu", torch.bfloat16, 1, 4096)
    for images in (1, 2, 4):  # at most 8 rows with guidance: where bitsandbytes reads 4 bits directly
        assert 2 * images * auto_window("cuda", torch.bfloat16, images, 4096, "4-bit") <= 8
    with pytest.raises(ValueError, match="window is 5"):
        SamplingSettings.resolve(model.family, window=5)


def test_a_picture_size_of_one_column_works():
    chosen = SamplingSettings(cfg=2.0, top_k=3, temperature=1.0, size=(8, 32), seed=1, window=4)
    assert jacobi.decode_jacobi(engine(PROMPTS, 4, chosen), chosen).codes.shape == (4, 4, 1)


@pytest.mark.parametrize("window", [1, 3, 8])
def test_a_family_without_row_ends_is_decoded_as_plain_loops_would(window):
    """As Janus-Pro's pictures: codes alone, row after row."""
    protocol = replace(PROTOCOL, row_end=None)
    chosen = settings(window=window)
    prompts = with_header(PROMPTS, chosen.size, protocol)
    expected = [_plain_loop(prompt, protocol, chosen, image) for image, prompt in enumerate(prompts)]

    def coupling(p, q, guess, drawn, positions):
        numbers = torch.stack([code_uniforms(chosen.seed, k, ROWS * COLUMNS) for k in range(len(PROMPTS))])
        corrected = draw_code(p, numbers.gather(1, positions.clamp_max(ROWS * COLUMNS - 1)))
        return corrected, corrected == guess

    plain = sequential.decode_sequentially(engine(PROMPTS, 1, chosen, protocol), chosen)
    parallel = jacobi.decode_jacobi(engine(PROMPTS, window, chosen, protocol), chosen, coupling=coupling)
    assert plain.codes.flatten(1).tolist() == parallel.codes.flatten(1).tolist() == expected
    assert parallel.steps <= plain.steps == ROWS * COLUMNS


@torch.inference_mode()
def _plain_loop(prompt, protocol, chosen, image) -> list[int]:
    """The codes of one picture, with neither cache nor batch."""
    numbers = code_uniforms(chosen.seed, image, ROWS * COLUMNS)
    codes: list[int] = []
    for number in numbers:
        block = [protocol.code_base + code for code in codes]
        both = [prompt + block, protocol.unguided(prompt) + block]
        logits = [MODEL.image_logits(MODEL(MODEL.embed(torch.tensor([ids]))))[0, -1] for ids in both]
        p = code_probabilities(guide(*logits, chosen.cfg), chosen.top_k, chosen.temperature)
        codes.append(int(draw_code(p, number)))
    return codes

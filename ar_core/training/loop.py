"""The training loop: constant learning rates, batches that depend on the step alone, states on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from ..adapters import attached
from ..control import Cancel, Cancelled, Progress
from ..transformer import Transformer
from .examples import Batch
from .loss import image_code_loss
from .runs import Run, State
from .trainable import Trainable

TOLERATED = 3  # non-finite steps in a row that are skipped before training stops
Batches = Callable[[int], list[tuple[Batch, float]]]  # step -> batches with their weight in the loss


class TrainingDiverged(RuntimeError):
    """The loss stayed non-finite; the run on disk is at its last good step."""


class Loop:
    """Trains `trainable` beside a frozen transformer, from wherever `run` stands."""

    def __init__(
        self,
        transformer: Transformer,
        trainable: Trainable,
        learning_rates: dict[str, float],
        batches: Batches,
        run: Run,
        *,
        first_row_id: int,
        micro_batch: int,
        clip_norm: float,
        keep_every: int,
        gradient_checkpointing: bool = False,
    ):
        """`learning_rates` by top-level name in `trainable`; what is not named there stays frozen."""
        self.transformer, self.trainable, self.batches, self.run = transformer, trainable, batches, run
        self.first_row_id, self.micro_batch, self.clip_norm, self.keep_every = (
            first_row_id,
            micro_batch,
            clip_norm,
            keep_every,
        )
        self.gradient_checkpointing = gradient_checkpointing
        trainable.requires_grad_(False)
        groups = []
        for name, rate in learning_rates.items():
            part = getattr(trainable, name)
            parameters = list(part.parameters()) if isinstance(part, torch.nn.Module) else [part]
            groups.append({"params": [p.requires_grad_() for p in parameters], "lr": rate})
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)
        self.step, self.losses, self.last_saved = 0, [], -1
        if state := run.latest():
            self._restore(state)

    def train(self, steps: int, progress: Progress, cancel: Cancel, on_keep: Callable[[int], None]) -> None:
        """Train until `steps` are done in all.

        Cancelling saves what is there and raises Cancelled; whatever else ends a step early, such as an interruption
        that a host raises inside a layer, is raised on after what is there was saved. Raises TrainingDiverged after
        `TOLERATED` non-finite steps in a row. `on_keep` is called with the step of every kept result.
        """
        self.transformer.gradient_checkpointing = self.gradient_checkpointing
        try:
            self._train(steps, progress, cancel, on_keep)
        finally:
            self.transformer.gradient_checkpointing = False

    def _train(self, steps: int, progress: Progress, cancel: Cancel, on_keep: Callable[[int], None]) -> None:
        failures = 0
        while self.step < steps:
            if cancel():
                self._save()
                raise Cancelled(
                    f"Stopped at your request after {self.step} of {steps} steps; they are kept and training goes on from there."
                )
            try:
                total = self._gradients()
            except (
                BaseException
            ):  # ComfyUI's interruption is none of Exception's; nothing has changed since the last step
                self._save_if_possible()
                raise
            loss = self._update(total)
            failures = failures + 1 if loss is None else 0
            if failures > TOLERATED:
                raise TrainingDiverged(
                    f"The loss was not finite in {failures} steps in a row (up to step {self.step}). Training went back to step "
                    f"{max(self.last_saved, 0)}, the last good one. Try a lower learning rate."
                )
            self.losses.append(float("nan") if loss is None else loss)
            self.step += 1
            if self.step % self.keep_every == 0 or self.step == steps:
                if failures == 0:
                    self._save()
                    self.run.keep(self.step, self.trainable.state_dict())
                    on_keep(self.step)
            progress(self.step, steps, f"loss {mean_of_last(self.losses):.3f}")

    def _gradients(self) -> float:
        """Forward and backward of one step; its loss. Changes gradients alone: it can be interrupted anywhere."""
        self.optimizer.zero_grad()
        total = 0.0
        with attached(self.transformer, self.trainable.adapter):
            for batch, weight in self.batches(self.step):
                parts = batch.split(self.micro_batch)
                for part in parts:
                    share = weight * len(part.ids) / len(batch.ids)
                    loss = image_code_loss(self.transformer, part, self.trainable.rows, self.first_row_id) * share
                    loss.backward()
                    total += loss.item()
        return total

    def _update(self, total: float) -> float | None:
        """The optimizer's step; the loss, or None when something was not finite and nothing was changed."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        if not (torch.isfinite(norm) and torch.isfinite(torch.tensor(total))):
            return None
        self.optimizer.step()
        return total

    def _save(self) -> None:
        state = {
            f"{i}.{k}": torch.as_tensor(v)
            for i, s in self.optimizer.state_dict()["state"].items()
            for k, v in s.items()
        }
        self.run.save(State(self.step, self.trainable.state_dict(), state, self.losses))
        self.last_saved = self.step

    def _save_if_possible(self) -> None:
        """Save while an error is on its way, which must arrive even where saving fails."""
        try:
            self._save()
        except Exception:
            logging.getLogger(__name__).exception("The training could not be saved at step %d", self.step)

    def _restore(self, state: State) -> None:
        self.trainable.load_state_dict(state.trainable)
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in state.optimizer.items():
            index, _, name = key.partition(".")
            slots.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.step, self.losses, self.last_saved = state.step, list(state.losses), state.step


def mean_of_last(losses: list[float], count: int = 20) -> float:
    finite = [loss for loss in losses[-count:] if loss == loss]
    return sum(finite) / len(finite) if finite else float("nan")

"""The training loop: constant learning rates, batches that depend on the step alone, states on disk."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from .. import cpu_products
from ..adapters import attach_adapter
from ..control import Cancel, Cancelled, Progress, signals_held_back
from ..transformer import Transformer
from .examples import Batch
from .loss import image_code_loss
from .optimizer_state import load_optimizer, optimizer_tensors
from .passes import Passes
from .runs import Run, State, shapes
from .settings import TrainingSettings
from .trainable import Trainable

TOLERATED = 3  # non-finite steps in a row that are skipped before training stops
Batches = Callable[[int], list[tuple[Batch, float]]]  # step -> batches with their weight in the loss
Penalty = Callable[[], Tensor]  # a scalar of what is learned

log = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):
    """The loss stayed non-finite, or no step could be learned; the run on disk is at the last step that was saved."""


class Loop:
    """Trains `trainable`, with everything else in the transformer frozen, from the newest state of `run` that fits.

    A run that is beyond the wanted step already keeps its newest state: what is learned here again is saved beside it.
    """

    def __init__(
        self,
        transformer: Transformer,
        trainable: Trainable,
        learning_rates: Mapping[str, float],
        batches: Batches,
        run: Run,
        settings: TrainingSettings,
        passes: Passes,
        *,
        steps: int,
        first_id: int,
        keep_every: int,
        penalty: Penalty | None = None,
    ):
        """`learning_rates` by top-level name in `trainable`; what is not named there stays frozen.

        `steps`: how many are done in all when training ends. `first_id`: the reserved token that the first vector takes
        the place of. `keep_every`: steps between kept results. `penalty`: a part of the loss that no batch decides.
        """
        self.transformer = transformer
        self.trainable = trainable
        self.batches = batches
        self.run = run
        self.settings = settings
        self.passes = passes
        self.steps = steps
        self.goes_back = run.is_beyond(steps)
        self.first_id = first_id
        self.keep_every = keep_every
        self.penalty = penalty
        trainable.requires_grad_(False)
        groups = []
        self.parameters: list[nn.Parameter] = []
        for name, rate in learning_rates.items():
            parameters = list(_parameters(getattr(trainable, name)))
            for parameter in parameters:
                parameter.requires_grad_()
            groups.append({"params": parameters, "lr": rate})
            self.parameters += parameters
        # One parameter after the other, as on a CPU: torch's faster way on cards makes copies of all of them at once,
        # 6 GiB for the full q, k and v of a 7B.
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0, foreach=False)
        self.step = 0
        self.losses: list[float] = []  # one per step, NaN where a step was skipped
        self.last_saved = -1
        self.skipped = 0  # non-finite steps in a row
        self.consistent = True  # False from the optimizer's first change until the step is counted
        self.resumed = False  # from a state on the disk
        for state in run.states(steps):
            if self._fits(state):
                self._restore(state)
                self.resumed = True
                break
            if state.file is not None:
                run.set_aside(state.file, f"{state.file} does not hold what this training learns.")

    def train(self, progress: Progress, cancel: Cancel, on_keep: Callable[[int], None]) -> None:
        """Train until all steps are done; `on_keep` is called with the step of every result that is newly kept.

        Cancelling saves the last step and raises Cancelled. Whatever else ends a step early, such as an interruption
        that a host raises inside a layer, is raised again after the last step was saved. Raises TrainingDiverged after
        more than `TOLERATED` non-finite steps in a row, and where all of fewer steps were non-finite.
        """
        self.transformer.gradient_checkpointing = self.passes.gradient_checkpointing
        try:
            self._train(progress, cancel, on_keep)
        except TrainingDiverged:
            raise
        except BaseException:  # not Exception: ComfyUI's interruption is none
            if self.consistent and self.last_saved != self.step:
                self._save_if_possible()
            raise
        finally:
            self.transformer.gradient_checkpointing = False

    def _train(self, progress: Progress, cancel: Cancel, on_keep: Callable[[int], None]) -> None:
        if self.step not in self.run.kept():  # it may have ended between saving a step and keeping its result
            self._keep_if_due(on_keep)
        while self.step < self.steps:
            if cancel():
                self._save()
                raise Cancelled(
                    f"Stopped at your request after {self.step} of {self.steps} steps; they are kept and training goes "
                    "on from there."
                )
            loss = self._gradients()
            with signals_held_back():  # an optimizer that is interrupted leaves nothing that could be saved
                self._count(self._update(loss))
            self._keep_if_due(on_keep)
            progress(self.step, self.steps, f"loss {mean_of_last_losses(self.losses):.3f}")

    def _count(self, loss: float) -> None:
        """Count a step with its loss; NaN for one that is skipped. Raises TrainingDiverged for too many of those."""
        if math.isnan(loss):
            self.skipped += 1
            if self.skipped > TOLERATED or self._ends_without_a_step():
                raise TrainingDiverged(self._diverged())
            log.warning("The loss or its gradients were not finite in step %d, which is skipped", self.step)
        else:
            self.skipped = 0
        self.losses.append(loss)
        self.step += 1
        self.consistent = True

    def _ends_without_a_step(self) -> bool:
        """Whether the step that is skipped now is the last one, as all before it were."""
        return self.step + 1 >= self.steps and all(map(math.isnan, self.losses))

    def _keep_if_due(self, on_keep: Callable[[int], None]) -> None:
        """Save the state and keep the result of a step that is one of those.

        The last step is, even if it was skipped, which left everything as it was; others are then not. What was kept
        before stays as it is.
        """
        is_last = self.step >= self.steps
        was_skipped = not self.losses or math.isnan(self.losses[-1])
        if is_last or (self.step % self.keep_every == 0 and not was_skipped):
            self._save()
            if self.step not in self.run.kept():
                self.run.keep(self.step, self.trainable.state_dict())
                on_keep(self.step)

    def _gradients(self) -> float:
        """Forward and backward of one step; its loss. Changes gradients alone: it can be interrupted anywhere."""
        self.optimizer.zero_grad()
        cpu_products.forget()  # what a sample made for itself
        total = 0.0
        with attach_adapter(self.transformer, self.trainable.adapter):
            for batch, weight in self.batches(self.step):
                for part in batch.split(self.passes.micro_batch):
                    concepts = self.trainable.concepts(self.first_id)
                    share = weight * len(part.ids) / len(batch.ids)
                    loss = image_code_loss(self.transformer, part, concepts) * share
                    loss.backward()
                    total += loss.item()
        if self.penalty is not None:
            loss = self.penalty()
            loss.backward()
            total += loss.item()
        return total

    def _update(self, loss: float) -> float:
        """The optimizer's step; returns the loss, or NaN where something was not finite: then nothing is changed."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        if not (torch.isfinite(norm) and math.isfinite(loss)):
            return math.nan
        self.consistent = False
        with torch.device("cpu"):  # where it counts its steps, whatever the process's default is
            self.optimizer.step()
        return loss

    def _diverged(self) -> str:
        return (
            f"The loss was not finite in {self.skipped} steps in a row (up to step {self.step}). The newest saved "
            f"step is {max(self.last_saved, 0)}. Train again with a lower learning rate, or with lower weights."
        )

    def _save(self) -> None:
        optimizer = optimizer_tensors(self.optimizer)
        state = State(self.step, self.trainable.state_dict(), optimizer, self.losses, passes=str(self.passes))
        self.run.save(state, beside_newest=self.goes_back)
        self.last_saved = self.step

    def _save_if_possible(self) -> None:
        """Save while an error is on its way, which must arrive even where saving fails."""
        try:
            self._save()
        except Exception as error:
            log.warning("The training could not be saved at step %d: %s", self.step, error)
            log.debug("Where it failed:", exc_info=True)

    def _fits(self, state: State) -> bool:
        """Whether the state is one of this training: a damaged file may be a readable one of something else."""
        if shapes(state.trainable) != shapes(self.trainable.state_dict()) or len(state.losses) != state.step:
            return False
        for key, value in state.optimizer.items():
            number = key.partition(".")[0]
            known = number.isdecimal() and int(number) < len(self.parameters)
            if not known or value.shape not in (torch.Size([]), self.parameters[int(number)].shape):
                return False
        return True

    def _restore(self, state: State) -> None:
        self.trainable.load_state_dict(state.trainable)
        load_optimizer(self.optimizer, state.optimizer)
        self.step = state.step
        self.losses = list(state.losses)
        self.last_saved = state.step


def _parameters(part: nn.Module | nn.Parameter) -> Iterable[nn.Parameter]:
    if isinstance(part, nn.Module):
        return part.parameters()
    return [part]


def mean_of_last_losses(losses: Sequence[float], count: int = 20) -> float:
    """Mean of the last `count` losses, without those of skipped steps; NaN where nothing is left."""
    finite = [loss for loss in losses[-count:] if not math.isnan(loss)]
    if not finite:
        return math.nan
    return sum(finite) / len(finite)

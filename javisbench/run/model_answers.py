"""Asking a generator: every request gets one answer, whatever the model does, and no clip that cannot be one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from javisbench.baselines.base import Failed, Generated, Generator, Request
from javisbench.baselines.registry import defect_of
from javisbench.errors import JavisbenchError, RunError, SystemFaultError
from javisbench.run.given import brought
from javisbench.system_faults import fault_of, free_memory, is_out_of_memory
from javisbench.tasks import TASKS

log = logging.getLogger(__name__)


def prepare(generator: Generator, todo: Sequence[Request]) -> None:
    """Let the generator encode all prompts at once; what goes wrong is told of each clip, if it still does."""
    try:
        generator.prepare(todo)
    except JavisbenchError:
        raise
    except Exception as error:
        log.warning("%s cannot prepare all clips at once (%s)", generator.card_id, error)
        log.debug("preparing failed", exc_info=error)
        free_memory(error)


def answers(generator: Generator, batch: list[Request]) -> Iterator[Generated | Failed]:
    """Every request of the batch gets one answer; out of memory halves it, other failures are tried once more.

    Raises:
        MediaError: a given file that lies elsewhere cannot be had.
    """
    with brought(batch) as here:
        asked = {id(here[id(request)]): request for request in batch}
        for answer in _answers(generator, [here[id(request)] for request in batch]):
            yield replace(answer, request=asked[id(answer.request)])


def _answers(generator: Generator, batch: list[Request], attempt: int = 1) -> Iterator[Generated | Failed]:
    open_requests = {id(request): request for request in batch}
    again: list[Request] = []
    try:
        for answer in generator.generate(batch):
            if id(answer.request) not in open_requests:
                log.warning("%s answered twice, or what was not asked", generator.card_id)
                continue
            answer = _validated(answer)
            del open_requests[id(answer.request)]
            if isinstance(answer, Failed) and answer.retryable and attempt == 1:
                again.append(answer.request)
            else:
                yield answer
    except Exception as error:  # noqa: BLE001 - whatever a model does, it costs its clips and not the run
        left = list(open_requests.values())
        yield from _after_error(generator, left, error, attempt)
    else:
        for request in open_requests.values():
            yield Failed(request, "generate", "no_answer", "The generator gave no answer for this clip.")
    for request in again:
        yield from _answers(generator, [request], attempt=2)


def _after_error(
    generator: Generator, left: list[Request], error: Exception, attempt: int
) -> Iterator[Generated | Failed]:
    if is_out_of_memory(error) and len(left) > 1:
        log.warning("out of memory with %d clips; trying half as many", len(left))
        free_memory(error)
        half = len(left) // 2
        yield from _answers(generator, left[:half], attempt)
        yield from _answers(generator, left[half:], attempt)
        return
    if isinstance(error, RunError):
        # Nothing more can be made: a budget is spent, a key is not taken, the system failed.
        raise error
    fault = fault_of(error)
    if fault is not None and fault.certain:
        raise SystemFaultError(
            f"{generator.card_id} failed: {fault.reason}. No clip is listed for it, and what is made is kept. Run the "
            f"same command again."
        ) from error
    kind = "out_of_memory" if is_out_of_memory(error) else getattr(error, "kind", "exception")
    log.debug("generation failed", exc_info=error)
    if attempt == 1:
        free_memory(error)
        for request in left:
            yield from _answers(generator, [request], attempt=2)
        return
    if isinstance(error, JavisbenchError):
        message = error.message
    else:
        message = defect_of(generator, "generate", error) or f"{type(error).__name__}: {error}"
    for request in left:
        yield Failed(request, "generate", kind, message)


def _validated(answer: Generated | Failed) -> Generated | Failed:
    """A generated clip that cannot be one becomes a failure."""
    import numpy as np

    if isinstance(answer, Failed):
        return answer
    facts = TASKS[answer.request.task]

    def refuse(kind: str, message: str) -> Failed:
        return Failed(answer.request, "generate", kind, message)

    frames, audio = answer.clip.frames, answer.clip.audio
    if not facts.makes_picture and audio is None:
        return refuse("no_sound", f"The model made no sound, and the task is {facts.id} ({facts.title}).")
    if not facts.makes_picture and frames.shape == (0, 0, 0, 3):
        pass  # sound alone, as it should be
    elif frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        return refuse("shape", f"Frames must be uint8 (T, H, W, 3) and not empty; got {frames.dtype} {frames.shape}.")
    if audio is not None:
        if audio.ndim != 2 or not np.issubdtype(audio.dtype, np.floating) or 0 in audio.shape:
            return refuse("shape", f"Audio must be float (channels, samples); got {audio.dtype} {audio.shape}.")
        if not np.isfinite(audio).all():
            return refuse("non_finite", "The audio holds values that are not finite.")
        if not answer.clip.sample_rate or answer.clip.sample_rate <= 0:
            return refuse("shape", f"Audio needs a sample rate above 0; got {answer.clip.sample_rate}.")
    if answer.clip.fps <= 0:
        return refuse("shape", f"The frame rate must be above 0; got {answer.clip.fps}.")
    try:
        json.dumps(dict(answer.info), allow_nan=False)
    except (TypeError, ValueError) as error:
        return refuse("info", f"The facts that came with the clip are no JSON: {error}.")
    return answer

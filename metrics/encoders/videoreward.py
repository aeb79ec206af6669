"""VideoReward's ratings of a video, from a scorer that the user runs as a command of its own.

VideoReward is a 2-billion-parameter language model with an environment of its own, so it stays outside this process.
The command in ``JAVISBENCH_VIDEOREWARD_COMMAND`` is split as a shell would, run without one, and spoken to in lines of
JSON on its standard input and output:

1. It is sent ``{"weights": FOLDER, "device": DEVICE}`` and answers ``{"ready": true}`` once the model is loaded.
2. For each clip it is sent ``{"id": 0, "frames": FILE, "fps": 24.0}``; FILE is a NumPy file of uint8 RGB, shape
   ``(T, H, W, 3)``, deleted after the answer. It answers ``{"id": 0, "VQ": 0.1, "MQ": -0.3}``, the raw outputs of the
   two heads, or ``{"id": 0, "error": "why"}``.
3. It ends when its standard input ends.

Other lines on its standard output are passed over; its standard error is not touched.
"""

from __future__ import annotations

import json
import math
import os
import queue
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, JavisbenchError, MissingWeightsError, UsageError, WeightsError
from javisbench.metrics.encoders.base import Encoder, EncoderCard, Features, FeatureSpec, Stream

if TYPE_CHECKING:
    from javisbench.clip import Clip

COMMAND = "JAVISBENCH_VIDEOREWARD_COMMAND"
HEADS = ("VQ", "MQ")
_LOADING_LIMIT_S = 900.0
_CLIP_LIMIT_S = 600.0
_ENDING_LIMIT_S = 10.0


class VideoRewardEncoder(Encoder):
    """VideoReward, run by a command of the user's.

    Feature ``rewards``: ``rewards``, float64, shape ``(2,)``: visual quality and motion quality, raw outputs of the
    model's heads (not normalised by the checkpoint's mean and standard deviation). No settings. Both heads look at the
    video alone: their tokens stand before the prompt's.

    Weights: a folder with the checkpoint, handed to the command.

    Source: Liu et al., Improving Video Generation with Human Feedback, arXiv:2501.13918.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="videoreward",
        title="VideoReward",
        variants={"official": "videoreward"},
        licence="Apache-2.0",
        source="Liu et al., Improving Video Generation with Human Feedback, arXiv:2501.13918",
    )

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._scorer: _Scorer | None = None

    @classmethod
    def lacking(cls) -> str | None:
        """The command, when it is not set."""
        if os.environ.get(COMMAND, "").strip():
            return None
        return (
            f"visual_quality and motion_quality come from VideoReward, which runs outside javisbench: set {COMMAND} to "
            f"a command that reads its checkpoint, or leave these metrics out."
        )

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The picture alone."""
        return "picture"

    def load(self, weights: Path | None, device: str) -> None:
        """Start the command and wait until its model is loaded.

        Raises:
            MissingWeightsError: no command or no weights.
            WeightsError: the command cannot be started, ends, or does not get ready in 15 minutes.
        """
        command = os.environ.get(COMMAND, "").strip()
        lacking = self.lacking()
        if lacking is not None:
            raise MissingWeightsError(lacking)
        if weights is None or not weights.exists():
            raise MissingWeightsError(
                f"The weights of VideoReward are not at {weights}. Give the folder of its checkpoint."
            )
        try:
            scorer = _Scorer(shlex.split(command))
        except (OSError, ValueError) as error:
            raise WeightsError(f"The command in {COMMAND} cannot be started: {error}. Check it.") from error
        try:
            answer = scorer.ask({"weights": str(weights), "device": device}, _LOADING_LIMIT_S)
        except _ScorerError as error:
            scorer.close()
            raise WeightsError(f"The command in {COMMAND} did not get ready: {error}") from error
        if answer.get("ready") is not True:
            scorer.close()
            raise WeightsError(f'The command in {COMMAND} answered {answer} in place of {{"ready": true}}.')
        self._scorer = scorer

    def encode(
        self, items: Sequence[Clip] | Sequence[str], specs: Sequence[FeatureSpec]
    ) -> list[dict[FeatureSpec, Features | JavisbenchError]]:
        """The two rewards of each clip."""
        if self._scorer is None:
            raise UsageError("Call VideoRewardEncoder.load before encode.")
        for spec in specs:
            if spec.feature != "rewards" or spec.subject != "clip":
                raise UsageError(f"The encoder videoreward has 'rewards' of clips only, not {spec.feature!r}.")
        results: list[dict[FeatureSpec, Features | JavisbenchError]] = []
        with tempfile.TemporaryDirectory(prefix="javisbench-videoreward-") as folder:
            for place, clip in enumerate(cast("Sequence[Clip]", items)):
                rewards = self._rewards(clip, place, Path(folder) / "frames.npy")
                results.append(dict.fromkeys(specs, rewards))
        return results

    def close(self) -> None:
        """End the command."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None

    def _rewards(self, clip: Clip, place: int, file: Path) -> Features | JavisbenchError:
        scorer = cast("_Scorer", self._scorer)
        np.save(file, clip.frames, allow_pickle=False)
        try:
            answer = scorer.ask({"id": place, "frames": str(file), "fps": float(clip.fps)}, _CLIP_LIMIT_S)
        except _ScorerError as error:
            return FeatureError(f"VideoReward gave no rating of {clip.name}: {error}", kind="scorer")
        if answer.get("id") == place and all(_is_number(answer.get(head)) for head in HEADS):
            return {"rewards": np.array([answer[head] for head in HEADS], dtype=np.float64)}
        return FeatureError(
            f"VideoReward gave no rating of {clip.name}: {answer.get('error', f'it answered {answer}')}", kind="scorer"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class _ScorerError(Exception):
    """The command ended, hangs, or cannot be written to."""


class _Scorer:
    """A process that answers each line of JSON with one.

    Args:
        command: program and arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # the command is the user's own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, question: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        """The answer to `question`; after `limit_s` seconds without one the process is ended.

        Raises:
            _ScorerError: there is no answer.
        """
        stdin = self._process.stdin
        try:
            assert stdin is not None
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
        except (OSError, ValueError) as error:
            raise _ScorerError("the command has ended.") from error
        while True:
            try:
                line = self._lines.get(timeout=limit_s)
            except queue.Empty:
                self._process.kill()
                raise _ScorerError(f"the command did not answer in {limit_s:.0f} s and was ended.") from None
            if line is None:
                self._lines.put(None)
                raise _ScorerError(f"the command has ended with status {self._process.wait()}.")
            answer = _json_object(line)
            if answer is not None:
                return answer

    def close(self) -> None:
        """Close its standard input and wait; end it if it does not end itself."""
        stdin, stdout = self._process.stdin, self._process.stdout
        try:
            if stdin is not None:
                stdin.close()
        except OSError:
            pass  # it has ended already, with a question unread
        try:
            self._process.wait(timeout=_ENDING_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if stdout is not None:
            stdout.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        if stdout is not None:
            for line in stdout:
                self._lines.put(line)
        self._lines.put(None)


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

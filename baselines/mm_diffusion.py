"""`MMDiffusion`: the user's own checkout of MM-Diffusion, driven as an external program.

Ruan et al., "MM-Diffusion: Learning Multi-Modal Diffusion Models for Joint Audio and Video Generation", CVPR 2023,
arXiv 2212.09478. Unconditional: it fits the suites ``landscape`` and ``aist++``, and no suite with prompts.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from javisbench.baselines.base import Json, Plan
from javisbench.baselines.command import ExternalCommand
from javisbench.baselines.parameters import choice, read_parameters, text
from javisbench.clip import ClipSpec
from javisbench.errors import MissingWeightsError, UsageError

if TYPE_CHECKING:
    from javisbench.weights import WeightStore

CHECKPOINTS = ("landscape", "aist++")
PACKAGE = "mm_diffusion"
ADAPTER = Path(__file__).parent / "recipes" / "mm_diffusion.py"
_PARSERS = {"repo": text, "checkpoint": choice(*CHECKPOINTS), "base": text, "large": text, "python": text}
_TIMES = ("timeout_s", "start_timeout_s")


@dataclass(frozen=True)
class MMDiffusionOptions:
    """The ``-M`` parameters, besides ``timeout_s`` and ``start_timeout_s`` of ``command:``.

    Attributes:
        repo: folder of the checkout.
        checkpoint: ``landscape`` or ``aist++``.
        base: file of the base model; otherwise looked for by name.
        large: file of the model from 64 to 256 pixels; otherwise looked for by name.
        python: the interpreter that has the checkout's requirements.
    """

    repo: str = ""
    checkpoint: str = "landscape"
    base: str = ""
    large: str = ""
    python: str = sys.executable


class MMDiffusion(ExternalCommand):
    """16 frames of 256x256 pixels at 10 fps with 25,600 samples at 16 kHz, from noise alone.

    Args:
        variant: none.
        params: see `MMDiffusionOptions`.

    Raises:
        UsageError: a variant, an unknown parameter, or an unknown checkpoint.
    """

    card_id: ClassVar[str] = "mm-diffusion"
    family = "av"
    any_role = False

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        given = params or {}
        if variant is not None:
            raise UsageError(f"mm-diffusion has no variants; got {variant!r}. Use -M checkpoint=aist++.")
        own = {name: value for name, value in given.items() if name not in _TIMES}
        self.settings = MMDiffusionOptions(**read_parameters("mm-diffusion", own, _PARSERS, [*_PARSERS, *_TIMES]))
        times = {name: given[name] for name in _TIMES if name in given}
        super().__init__(shlex.join([self.settings.python]), {**times, "unconditional": "true", "exact": "true"})

    def plan(self, spec: ClipSpec) -> Plan:
        """The one clip that it makes, with what differs from `spec`."""
        plan = Plan(256, 256, 16, Fraction(10), 25600, 16000)
        asked = (spec.width, spec.height, spec.fps, spec.duration_s, spec.sample_rate)
        made = (plan.width, plan.height, plan.fps, 1.6, plan.sample_rate)
        names = ("width", "height", "frame rate", "seconds", "sampling rate")
        notes = [f"{n} {a} -> {m}: the only one" for n, a, m in zip(names, asked, made, strict=True) if a != m]
        return Plan(256, 256, 16, Fraction(10), 25600, 16000, notes=tuple(notes))

    def resolved(self) -> Mapping[str, Json]:
        """Which checkpoints; their content and that of the checkout's code are known by `files`."""
        return {"checkpoint": self.settings.checkpoint}

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        """The adapter, both checkpoints and the checkout's code.

        Raises:
            UsageError: no checkout.
            MissingWeightsError: no checkpoints.
        """
        repo, base, large = self._find(weights)
        code = tuple(sorted((repo / PACKAGE).rglob("*.py")))
        return {"recipe": (ADAPTER, ADAPTER.with_name("serving.py")), "base": (base,), "large": (large,), "code": code}

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        """Find the checkout and its checkpoints; the program starts with the first request.

        Raises:
            UsageError: no checkout.
            MissingWeightsError: no checkpoints.
            GenerationError: no such interpreter.
        """
        repo, base, large = self._find(weights)
        argv = [self.settings.python, str(ADAPTER), "--repo", str(repo.resolve())]
        self._argv = [*argv, "--base", str(base), "--large", str(large)]
        super().load(device, dtype, weights)

    def _find(self, weights: WeightStore) -> tuple[Path, Path, Path]:
        """Checkout, base model and larger model."""
        repo = self._repo()
        places = [*weights.dirs, repo, repo / "models"]
        base = self._checkpoint(self.settings.base, self.settings.checkpoint, places)
        return repo, base, self._checkpoint(self.settings.large, f"{self.settings.checkpoint}_sr", places)

    def lacks(self) -> str:
        """The checkout, where none is given or the folder is none."""
        try:
            self._repo()
        except UsageError as error:
            return error.message
        return ""

    def _repo(self) -> Path:
        repo = Path(self.settings.repo).expanduser()
        if not self.settings.repo or not (repo / PACKAGE).is_dir():
            wrong = f"{repo} is no checkout: it has no folder {PACKAGE}. " if self.settings.repo else ""
            raise UsageError(
                f"{wrong}mm-diffusion runs in your checkout of github.com/researchmm/MM-Diffusion: give its folder "
                "with -M repo=FOLDER, and the interpreter that has its requirements with -M python=PATH."
            )
        return repo

    def _checkpoint(self, given: str, stem: str, places: list[Path]) -> Path:
        if given:
            if not Path(given).is_file():
                raise UsageError(f"mm-diffusion: there is no file {given}.")
            return Path(given).resolve()
        for place in places:
            for path in sorted(place.glob("*.pt")):
                if path.stem.lower() == stem:
                    return path.resolve()
        raise MissingWeightsError(
            f"The checkpoint {stem}.pt of MM-Diffusion is not on this machine. Its README links the files (a drive, no "
            f"hub; base and 64-to-256 model of Landscape and AIST++). Put them into {places[-1]} or a folder given "
            f"with --weights-dir, or name them: -M base=FILE -M large=FILE."
        )

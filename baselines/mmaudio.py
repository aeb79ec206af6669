"""`MMAudio`: sound for a silent clip, of a suite or as a stage of a cascade (``v2a=mmaudio[:VARIANT]``).

The model's own package does the work when it is installed; its checkpoints are looked for and never downloaded here.
Cheng et al., "MMAudio: Taming Multimodal Joint Training for High-Quality Video-to-Audio Synthesis", arXiv 2412.15322.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from javisbench.baselines.base import Failed, Generated, Generator, Json, Plan, Request
from javisbench.baselines.fingerprint import library_files
from javisbench.clip import Clip, ClipSpec
from javisbench.errors import GenerationError, MissingWeightsError, UsageError
from javisbench.registry import did_you_mean

if TYPE_CHECKING:
    from javisbench.weights import WeightStore

INSTALL = "pip install git+https://github.com/hkchengrex/MMAudio.git"
LICENCE = "CC BY-NC 4.0"
# Sampling rate by variant, Hz.
VARIANTS = {"large_44k_v2": 44100, "large_44k": 44100, "medium_44k": 44100, "small_44k": 44100, "small_16k": 16000}
# Beside its own files, the package fetches these from the hub unless they lie in its cache.
_HUB_FILES = {
    "apple/DFN5B-CLIP-ViT-H-14-384": "open_clip_config.json",
    "nvidia/bigvgan_v2_44khz_128band_512x": "config.json",
}


@dataclass(frozen=True)
class MMAudioOptions:
    """The ``-M`` parameters.

    Attributes:
        steps: Euler steps.
        guidance: guidance scale.
        negative_prompt: what guidance moves away from.
    """

    steps: int = 25
    guidance: float = 4.5
    negative_prompt: str = ""


class MMAudio(Generator):
    """Video (and text) to audio with the package ``mmaudio``.

    Args:
        variant: one of `VARIANTS`; ``large_44k_v2`` without one.
        params: see `MMAudioOptions`.

    Raises:
        UsageError: an unknown variant or parameter, or a bad value.
    """

    card_id: ClassVar[str] = "mmaudio"
    family = "v2a"
    max_batch = 1

    def __init__(self, variant: str | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(variant, params)
        self.model = variant or next(iter(VARIANTS))
        if self.model not in VARIANTS:
            raise UsageError(
                f"mmaudio has no variant {variant!r}.{did_you_mean(self.model, VARIANTS)} Known: {', '.join(VARIANTS)}."
            )
        self.options = _options(self.params)
        self._parts: _Parts | None = None

    def plan(self, spec: ClipSpec) -> Plan:
        """Sound as long as `spec`, at the variant's rate, mono."""
        rate = VARIANTS[self.model]
        return Plan(0, 0, 0, spec.fps, round(spec.duration_s * rate), rate)

    def resolved(self) -> Mapping[str, Json]:
        """Variant and parameters."""
        return {"variant": self.model, **{f.name: getattr(self.options, f.name) for f in fields(self.options)}}

    def files(self, weights: WeightStore) -> Mapping[str, tuple[Path, ...]]:
        """Its own checkpoints, and those of the hub's repositories that the package reads.

        Raises:
            GenerationError: the package is not installed, or does not import.
            MissingWeightsError: checkpoints that are not on this machine.
        """
        found, folders = self._files(weights, _module("eval_utils").all_model_cfg[self.model])
        return {
            **{part: (path,) for part, path in found.items()},
            **{repository: library_files(folder) for repository, folder in folders.items()},
        }

    def load(self, device: str, dtype: str, weights: WeightStore) -> None:
        """Read the checkpoints.

        Raises:
            GenerationError: the package is not installed, or does not import.
            MissingWeightsError: checkpoints that are not on this machine.
        """
        import torch

        config = _module("eval_utils").all_model_cfg[self.model]
        files, _ = self._files(weights, config)
        kind = "bfloat16" if dtype == "auto" and device.startswith("cuda") else dtype.replace("auto", "float32")
        place = {"device": device, "dtype": getattr(torch, kind)}
        network = _module("model.networks").get_my_mmaudio(config.model_name).to(**place).eval()
        network.load_weights(torch.load(files["model_path"], map_location=device, weights_only=True))
        features = _module("model.utils.features_utils").FeaturesUtils(
            tod_vae_ckpt=files["vae_path"],
            synchformer_ckpt=files["synchformer_ckpt"],
            enable_conditions=True,
            mode=config.mode,
            bigvgan_vocoder_ckpt=files.get("bigvgan_16k_path"),
            need_vae_encoder=False,
        )
        flow = _module("model.flow_matching").FlowMatching(
            min_sigma=0, inference_mode="euler", num_steps=self.options.steps
        )
        self._parts = _Parts(network, features.to(**place).eval(), flow, config.seq_cfg)

    def generate(self, batch: Sequence[Request]) -> Iterator[Generated | Failed]:
        """Yield a sound for each request's picture (`Request.conditions`), without a picture.

        Raises:
            GenerationError: `load` was not called.
        """
        if self._parts is None:
            raise GenerationError("MMAudio was asked to generate before it was loaded. Call load first.")
        for request in batch:
            given = request.conditions.picture()
            if given is None:
                message = (
                    "MMAudio makes sound for a video, and got none. Give it a suite of videos (task v2a), or use it in "
                    "--model 'cascade:t2v=...,v2a=mmaudio'."
                )
                yield Failed(request, "generate", "no_condition", message, retryable=False)
            else:
                yield self._make(self._parts, request, given)

    def close(self) -> None:
        """Free all networks."""
        if self._parts is not None:
            import gc

            self._parts = None
            gc.collect()

    def _make(self, parts: _Parts, request: Request, condition: Clip) -> Generated | Failed:
        import numpy as np
        import torch

        started = time.monotonic()
        noise = torch.Generator("cpu").manual_seed(request.seed)
        video = self._video(condition)
        parts.lengths.duration = video.duration_sec
        parts.network.update_seq_lengths(
            parts.lengths.latent_seq_len, parts.lengths.clip_seq_len, parts.lengths.sync_seq_len
        )
        with torch.inference_mode():
            sound = _module("eval_utils").generate(
                video.clip_frames.unsqueeze(0),
                video.sync_frames.unsqueeze(0),
                [request.prompts.get("audio_text") or request.prompts.get("text", "")],
                negative_text=[self.options.negative_prompt],
                feature_utils=parts.features,
                net=parts.network,
                fm=parts.flow,
                rng=noise,
                cfg_strength=self.options.guidance,
            )
        audio = np.atleast_2d(np.asarray(sound.float().cpu()[0], dtype=np.float32))
        if not np.isfinite(audio).all():
            return Failed(request, "generate", "non_finite", "The sound holds values that are not finite.")
        clip = Clip(np.zeros((0, 0, 0, 3), np.uint8), condition.fps, np.clip(audio, -1, 1), parts.lengths.sampling_rate)
        info = {"variant": self.model, "seconds": round(time.monotonic() - started, 3)}
        return Generated(request, clip, {**info, "seconds_of_video": float(video.duration_sec)})

    def _video(self, condition: Clip) -> Any:
        """The clip as the package reads it: from a file, because its own resampling and resizing belong to it."""
        from javisbench.media import write_clip

        if self.staging is not None:
            self.staging.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.staging) as folder:
            path = Path(folder) / "clip.mp4"
            silent = Clip(condition.frames, condition.fps, None, None)
            write_clip(silent, path, sidecar=False)
            return _module("eval_utils").load_video(path, condition.duration_s)

    def _files(self, weights: WeightStore, config: Any) -> tuple[dict[str, Path], dict[str, Path]]:
        """Its own files by part, and the cached folders of hub repositories."""
        from huggingface_hub import try_to_load_from_cache

        found: dict[str, Path] = {}
        folders: dict[str, Path] = {}
        missing: list[str] = []
        for part in ("model_path", "vae_path", "synchformer_ckpt", "bigvgan_16k_path"):
            usual = getattr(config, part)
            if usual is None:
                continue
            places = [*(folder / Path(usual).name for folder in weights.dirs), Path(usual)]
            place = next((path for path in places if path.is_file()), None)
            if place is None:
                missing.append(Path(usual).name)
            else:
                found[part] = place
        for repository, name in _HUB_FILES.items():
            needed = VARIANTS[self.model] == 44100 or "bigvgan" not in repository
            if not needed:
                continue
            cached = try_to_load_from_cache(repository, name)
            if isinstance(cached, str):
                folders[repository] = Path(cached).parent
            else:
                missing.append(f"{repository} (hf download {repository})")
        if missing:
            raise MissingWeightsError(
                f"MMAudio {self.model} needs files that are not on this machine: {', '.join(missing)}. Its own are in "
                f"the hub repository hkchengrex/MMAudio (licence {LICENCE}); put them into a folder given with "
                f"--weights-dir."
            )
        return found, folders


@dataclass
class _Parts:
    network: Any
    features: Any
    flow: Any
    lengths: Any


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"mmaudio.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "mmaudio":
            raise GenerationError(
                f"The package mmaudio is not installed: {INSTALL} (its code is MIT, its weights {LICENCE}).",
                kind="import",
            ) from error
        raise GenerationError(
            f"The package mmaudio needs {error.name}, which is not installed.", kind="import"
        ) from error
    except (ImportError, RuntimeError) as error:
        raise GenerationError(
            f"The package mmaudio does not import: {' '.join(str(error).split())}. It needs torchvision and torchaudio "
            f"built for the installed torch.",
            kind="import",
        ) from error


def _options(params: Mapping[str, str]) -> MMAudioOptions:
    known: dict[str, Callable[[str], Any]] = {"steps": int, "guidance": float, "negative_prompt": str}
    values: dict[str, Any] = {}
    for name, text in params.items():
        if name not in known:
            raise UsageError(
                f"mmaudio has no parameter {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
            )
        try:
            values[name] = known[name](text)
        except ValueError as error:
            raise UsageError(f"{name} of mmaudio is a number; got {text!r}.") from error
    if not (1 <= values.get("steps", 1) <= 1000 and 0 <= values.get("guidance", 0) <= 100):
        raise UsageError("mmaudio: steps are between 1 and 1000, guidance between 0 and 100.")
    return MMAudioOptions(**values)

"""The diffusers pipelines that can be driven: sizes, frame counts, rates, argument names and outputs of each class.

Everything here was read from, and run with, diffusers 0.42.1; nothing is guessed for a class that is not listed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from javisbench.baselines.javisdit.text import WAN_NEGATIVE_PROMPT

PipelineFamily = Literal["t2av", "t2v", "t2a"]


@dataclass(frozen=True)
class Rate:
    """Where a pipeline's sampling rate stands: `key` of the folder's file `path`; `usual` where that is not at hand.

    Attributes:
        path: inside the pipeline's folder.
        key: in that JSON file.
        usual: Hz of the published checkpoints.
    """

    path: str
    key: str
    usual: int


@dataclass(frozen=True)
class PipelineClass:
    """One class of pipelines.

    Attributes:
        name: class in diffusers, as ``model_index.json`` has it.
        family: what it makes from text.
        steps: default of ``num_inference_steps``.
        guidance: default of ``guidance_scale``.
        native: width x height (pixels) that the published checkpoints were made for; None without a picture.
        multiple: both sides are multiples of this many pixels.
        frame_step: frames are ``frame_step * k + 1``.
        fps: the fixed frame rate, or None when the pipeline is told one.
        fps_argument: name of that argument.
        length_argument: name of the argument that takes the seconds of a sound.
        rate: where the sampling rate stands; None for a silent pipeline.
        channels: of the published checkpoints' sound.
        frames_from: attribute of the output with the pictures, ``[0, 1]`` floats.
        audio_from: attribute of the output with the sound.
        batched: whether outputs have a batch axis.
        negative_prompt: what guidance moves away from unless told otherwise.
        extra: further arguments of every call.
        own_modules: modules of diffusers.pipelines that its components may come from.
        replaced: component to the class of transformers that it is loaded as, where the stored class fails.
        plain_tokenizers: components stored as processors of text, pictures and films, of which text alone is wanted:
            the tokenizer inside is loaded, because the rest needs torchvision.
        float32_parts: components kept in float32 whatever the rest computes in.
        cuda_dtype: what ``auto`` means on a GPU.
    """

    name: str
    family: PipelineFamily
    steps: int
    guidance: float
    native: tuple[int, int] | None = None
    multiple: int = 1
    frame_step: int = 1
    fps: Fraction | None = None
    fps_argument: str | None = None
    length_argument: str | None = None
    rate: Rate | None = None
    channels: int = 1
    frames_from: str | None = None
    audio_from: str | None = None
    batched: bool = True
    negative_prompt: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    own_modules: tuple[str, ...] = ()
    replaced: dict[str, str] = field(default_factory=dict)
    plain_tokenizers: tuple[str, ...] = ()
    float32_parts: tuple[str, ...] = ()
    cuda_dtype: str = "bfloat16"

    def side(self, wanted: int) -> int:
        """The smallest allowed number of pixels that is not below `wanted`."""
        return max(1, math.ceil(wanted / self.multiple)) * self.multiple

    def frames(self, wanted: int) -> int:
        """The smallest allowed number of frames that is not below `wanted`."""
        return math.ceil(max(0, wanted - 1) / self.frame_step) * self.frame_step + 1


PIPELINES = {
    pipeline.name: pipeline
    for pipeline in (
        PipelineClass(
            name="LTX2Pipeline",
            family="t2av",
            steps=30,
            guidance=3.0,
            native=(768, 512),
            multiple=32,
            frame_step=8,
            fps_argument="frame_rate",
            rate=Rate("vocoder/config.json", "output_sampling_rate", 24000),
            channels=2,
            frames_from="frames",
            audio_from="audio",
            own_modules=("ltx2",),
        ),
        PipelineClass(
            name="Kandinsky6TI2VAPipeline",
            family="t2av",
            steps=50,
            guidance=5.0,
            native=(768, 512),
            multiple=16,
            frame_step=4,
            fps_argument="frame_rate",
            rate=Rate("audio_vae/config.json", "sample_rate", 44100),
            frames_from="frames",
            audio_from="audio",
            own_modules=("kandinsky6",),
            plain_tokenizers=("tokenizer",),
        ),
        PipelineClass(
            name="Cosmos3OmniPipeline",
            family="t2av",
            steps=35,
            guidance=6.0,
            native=(1280, 720),
            multiple=16,
            frame_step=4,
            fps_argument="fps",
            rate=Rate("sound_tokenizer/config.json", "sampling_rate", 48000),
            channels=2,
            frames_from="video",
            audio_from="sound",
            batched=False,
            extra={"enable_sound": True},
            own_modules=("cosmos",),
        ),
        PipelineClass(
            name="WanPipeline",
            family="t2v",
            steps=50,
            guidance=5.0,
            native=(832, 480),
            multiple=16,
            frame_step=4,
            fps=Fraction(16),
            frames_from="frames",
            # The model's own command line always sends it.
            negative_prompt=WAN_NEGATIVE_PROMPT,
            float32_parts=("vae",),
        ),
        PipelineClass(
            name="LTXPipeline",
            family="t2v",
            steps=50,
            guidance=3.0,
            native=(704, 512),
            multiple=32,
            frame_step=8,
            fps_argument="frame_rate",
            frames_from="frames",
        ),
        PipelineClass(
            name="AudioLDM2Pipeline",
            family="t2a",
            steps=200,
            guidance=3.5,
            length_argument="audio_length_in_s",
            rate=Rate("vocoder/config.json", "sampling_rate", 16000),
            audio_from="audios",
            own_modules=("audioldm2",),
            # Stored as GPT2Model, whose text generation transformers 5 took away.
            replaced={"language_model": "GPT2LMHeadModel"},
            cuda_dtype="float32",
        ),
        PipelineClass(
            name="StableAudioPipeline",
            family="t2a",
            steps=100,
            guidance=7.0,
            length_argument="audio_end_in_s",
            rate=Rate("vae/config.json", "sampling_rate", 44100),
            channels=2,
            audio_from="audios",
            own_modules=("stable_audio",),
            cuda_dtype="float32",
        ),
    )
}

# Published repositories, so that a plan can be made before anything is fetched.
REPOSITORIES = {
    "Lightricks/LTX-2": "LTX2Pipeline",
    "diffusers/LTX-2.3-Diffusers": "LTX2Pipeline",
    "diffusers/LTX-2.3-Distilled-Diffusers": "LTX2Pipeline",
    "Lightricks/LTX-2.5-Diffusers": "LTX2Pipeline",
    "Lightricks/LTX-Video": "LTXPipeline",
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "WanPipeline",
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": "WanPipeline",
    "cvssp/audioldm2": "AudioLDM2Pipeline",
    "stabilityai/stable-audio-open-1.0": "StableAudioPipeline",
    "kandinskylab/Kandinsky-6.0-Lite-5s-Diffusers": "Kandinsky6TI2VAPipeline",
    "nvidia/Cosmos3-Nano": "Cosmos3OmniPipeline",
    "nvidia/Cosmos3-Super": "Cosmos3OmniPipeline",
}

# Repositories of single files, to that which holds the same model as a pipeline.
AS_PIPELINE = {
    "Lightricks/LTX-2.3": "diffusers/LTX-2.3-Diffusers",
    "Lightricks/LTX-2.5": "Lightricks/LTX-2.5-Diffusers",
}

# Repository to the model card that describes it; others have the card "diffusers".
CARDS = {
    "Lightricks/LTX-2": "ltx-2",
    "diffusers/LTX-2.3-Diffusers": "ltx-2.3",
    "diffusers/LTX-2.3-Distilled-Diffusers": "ltx-2.3",
    "Lightricks/LTX-Video": "ltx-video",
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "wan2.1-1.3b",
    "cvssp/audioldm2": "audioldm2",
    "stabilityai/stable-audio-open-1.0": "stable-audio-open",
    "kandinskylab/Kandinsky-6.0-Lite-5s-Diffusers": "kandinsky-6-lite",
    "nvidia/Cosmos3-Nano": "cosmos3",
    "nvidia/Cosmos3-Super": "cosmos3",
}


def known_classes() -> str:
    """The classes in one phrase, for messages."""
    return ", ".join(f"{pipeline.name} ({pipeline.family})" for pipeline in PIPELINES.values())

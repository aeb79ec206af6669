"""What a pipeline's signature cannot tell: how sizes and lengths are rounded, rates, settings of checkpoints.

Which arguments a class takes, with their defaults, is read from the installed library (`signature`). Rules of
sizes and lengths are those of the sources of diffusers 0.42.1, rates those that its documentation plays the classes'
clips at, unless another source is named. A class that is not listed is driven by its signature alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from javisbench.baselines.javisdit.text import WAN_NEGATIVE_PROMPT


@dataclass(frozen=True)
class Constant:
    """A value that stands in the installed library: `name` of the module `module` in ``diffusers/pipelines``."""

    module: str
    name: str


@dataclass(frozen=True)
class PipelineClass:
    """What is known of one class of pipelines beside its signature.

    Attributes:
        name: class in diffusers, as ``model_index.json`` has it.
        native: width x height (pixels) that the published checkpoints were made for, where the signature names none.
        frames: frames of a native clip, where the signature names none.
        follows_length: whether it makes clips of any length, so that the suite's is asked for; otherwise native clips
            are made.
        multiple: both sides are multiples of this many pixels.
        frame_step: frames are ``frame_step * k + frame_rest``.
        frame_rest: see there.
        fps: the frame rate, where the signature names none; None for the suite's.
        sample_rate: Hz of the published checkpoints' sound, until a folder tells its own.
        channels: of the published checkpoints' sound.
        sounds: whether it makes sound beside pictures; None: as its components say.
        batched: whether outputs have a batch axis.
        together: whether several prompts in one call give each the clip that it gets alone (tried).
        encoded: what ``encode_prompt`` gives of a prompt, by the names of a call's arguments, where a call that is
            given these makes the clip that it makes of the prompt itself (tried); empty otherwise.
        negative_prompt: what guidance moves away from unless told otherwise.
        arguments: further arguments of every call.
        needs: what a clip is made from beside its prompt, where the signature does not require it.
        replaced: component to the class of transformers that it is loaded as, where the stored class fails.
        plain_tokenizers: components stored as processors of text, pictures and films, of which text alone is wanted:
            the tokenizer inside is loaded, because the rest needs torchvision.
        tiles_alone: whether its VAE decodes in tiles and not otherwise.
        float32_parts: components kept in float32 whatever the rest computes in.
        cuda_dtype: what ``auto`` means on a GPU.
        source: where the values here are from, beside the sources of diffusers.
    """

    name: str
    native: tuple[int, int] | None = None
    frames: int | None = None
    follows_length: bool = False
    multiple: int = 1
    frame_step: int = 1
    frame_rest: int = 1
    fps: Fraction | None = None
    sample_rate: int | None = None
    channels: int = 1
    sounds: bool | None = None
    batched: bool = True
    together: bool = False
    encoded: tuple[str, ...] = ()
    negative_prompt: str | Constant | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    replaced: Mapping[str, str] = field(default_factory=dict)
    plain_tokenizers: tuple[str, ...] = ()
    tiles_alone: bool = False
    float32_parts: tuple[str, ...] = ()
    cuda_dtype: str = "bfloat16"
    source: str = "the class's documentation in diffusers"

    def side(self, wanted: int) -> int:
        """The smallest allowed number of pixels that is not below `wanted`."""
        return max(1, -(-wanted // self.multiple)) * self.multiple

    def count(self, wanted: int) -> int:
        """The smallest allowed number of frames that is not below `wanted`."""
        return max(0, -(-(wanted - self.frame_rest) // self.frame_step)) * self.frame_step + self.frame_rest


@dataclass(frozen=True)
class Checkpoint:
    """A published repository, and where its authors' settings are not those of its class.

    Attributes:
        kind: class of its pipeline, so that a plan can be made before anything is fetched.
        card: the model card that describes it.
        steps: number of steps.
        guidance: guidance scale.
        negative_prompt: False for none; None as the class has it.
        native: width x height in pixels.
        frames: of a native clip.
        fps: frames per second.
        arguments: further arguments of every call; `Constant` for a value of the library.
        source: where these values are from.
    """

    kind: str
    card: str = "diffusers"
    steps: int | None = None
    guidance: float | None = None
    negative_prompt: bool | None = None
    native: tuple[int, int] | None = None
    frames: int | None = None
    fps: Fraction | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


_EMBEDS = ("prompt_embeds",)
_MASKED = ("prompt_embeds", "prompt_attention_mask")
_LTX: dict[str, Any] = {"follows_length": True, "multiple": 32, "frame_step": 8}
_LTX2: dict[str, Any] = {
    "follows_length": True,
    "multiple": 32,
    "frame_step": 8,
    "sample_rate": 24000,
    "channels": 2,
    "negative_prompt": Constant("ltx2/utils.py", "DEFAULT_NEGATIVE_PROMPT"),
    "source": "diffusers/pipelines/ltx2/utils.py, after the authors' constants",
}
_WAN: dict[str, Any] = {
    "multiple": 16,
    "frame_step": 4,
    "fps": Fraction(16),
    # The model's own command line always sends it.
    "negative_prompt": WAN_NEGATIVE_PROMPT,
    "float32_parts": ("vae",),
    "source": "the model's own command line",
}
_SKYREELS: dict[str, Any] = {"multiple": 16, "frame_step": 4, "fps": Fraction(24), "float32_parts": ("vae",)}
_HUNYUAN: dict[str, Any] = {"multiple": 16, "frame_step": 4, "fps": Fraction(24), "source": "the model's README"}
_COSMOS: dict[str, Any] = {"multiple": 16, "frame_step": 4, "fps": Fraction(16)}
_ALLEGRO: dict[str, Any] = {"multiple": 8, "frame_step": 4, "frame_rest": 0, "tiles_alone": True}
# Its VAE decodes an even number of latents to three frames more.
_COGVIDEOX: dict[str, Any] = {"native": (720, 480), "multiple": 16, "frame_step": 8, "fps": Fraction(8)}
# Otherwise sizes are changed to those of a list.
_SANA: dict[str, Any] = {
    "multiple": 32,
    "frame_step": 4,
    "fps": Fraction(16),
    "arguments": {"use_resolution_binning": False},
}
_ZERO: dict[str, Any] = {"multiple": 8, "frame_rest": 0, "fps": Fraction(4), "batched": False, "cuda_dtype": "float16"}
_ANIMATED: dict[str, Any] = {
    "native": (512, 512),
    "multiple": 8,
    "frame_rest": 0,
    "fps": Fraction(8),
    "cuda_dtype": "float16",
}
_AUDIOLDM: dict[str, Any] = {"follows_length": True, "sample_rate": 16000, "cuda_dtype": "float32"}
_STABLE_AUDIO: dict[str, Any] = {"follows_length": True, "sample_rate": 44100, "channels": 2, "cuda_dtype": "float32"}


def _classes(*classes: PipelineClass) -> dict[str, PipelineClass]:
    return {known.name: known for known in classes}


PIPELINES: Mapping[str, PipelineClass] = _classes(
    # Picture and sound.
    PipelineClass(name="LTX2Pipeline", together=True, **_LTX2),
    PipelineClass(name="LTX2ImageToVideoPipeline", needs=("image",), **_LTX2),
    PipelineClass(name="LTX2ConditionPipeline", **_LTX2),
    PipelineClass(name="LTX2InContextPipeline", **_LTX2),
    PipelineClass(
        name="Kandinsky6TI2VAPipeline",
        follows_length=True,
        multiple=16,
        frame_step=4,
        sample_rate=44100,
        plain_tokenizers=("tokenizer",),
    ),
    PipelineClass(
        name="Cosmos3OmniPipeline",
        native=(1280, 720),
        follows_length=True,
        multiple=16,
        frame_step=4,
        sample_rate=48000,
        channels=2,
        batched=False,
        arguments={"enable_sound": True},
    ),
    # Picture.
    PipelineClass(name="WanPipeline", together=True, encoded=_EMBEDS, **_WAN),
    PipelineClass(name="WanVACEPipeline", encoded=_EMBEDS, **_WAN),
    PipelineClass(name="WanImageToVideoPipeline", **_WAN),
    PipelineClass(name="AnyFlowPipeline", multiple=16, frame_step=4, fps=Fraction(16), float32_parts=("vae",)),
    PipelineClass(name="AnyFlowFARPipeline", multiple=16, frame_step=4, fps=Fraction(16), float32_parts=("vae",)),
    PipelineClass(name="LTXPipeline", together=True, encoded=_MASKED, **_LTX),
    PipelineClass(name="LTXConditionPipeline", **_LTX),
    PipelineClass(name="LTXI2VLongMultiPromptPipeline", **_LTX),
    PipelineClass(name="LTXImageToVideoPipeline", needs=("image",), **_LTX),
    PipelineClass(name="AllegroPipeline", native=(1280, 720), frames=88, fps=Fraction(15), **_ALLEGRO),
    PipelineClass(name="CogVideoXPipeline", encoded=_EMBEDS, frames=49, **_COGVIDEOX),
    PipelineClass(name="CogVideoXImageToVideoPipeline", **_COGVIDEOX),
    PipelineClass(name="CosmosTextToWorldPipeline", multiple=16, frame_step=8),
    PipelineClass(name="CosmosVideoToWorldPipeline", needs=("image",), multiple=16, frame_step=8),
    PipelineClass(name="Cosmos2VideoToWorldPipeline", needs=("image",), multiple=16, frame_step=4),
    PipelineClass(name="Cosmos2_5_PredictBasePipeline", **_COSMOS),
    # Guidance fails without one.
    PipelineClass(name="EasyAnimatePipeline", multiple=16, frame_step=4, fps=Fraction(8), negative_prompt=""),
    PipelineClass(
        name="HeliosPipeline", follows_length=True, multiple=16, frame_step=33, frame_rest=0, fps=Fraction(24)
    ),
    PipelineClass(
        name="HeliosPyramidPipeline", follows_length=True, multiple=64, frame_step=33, frame_rest=0, fps=Fraction(24)
    ),
    PipelineClass(name="HunyuanVideoPipeline", **_HUNYUAN),
    PipelineClass(name="HunyuanVideoImageToVideoPipeline", **_HUNYUAN),
    PipelineClass(name="HunyuanVideo15Pipeline", native=(832, 480), **_HUNYUAN),
    PipelineClass(name="HunyuanVideo15ImageToVideoPipeline", native=(832, 480), **_HUNYUAN),
    PipelineClass(name="Kandinsky5T2VPipeline", multiple=16, frame_step=4, fps=Fraction(24)),
    PipelineClass(name="Kandinsky5I2VPipeline", multiple=16, frame_step=4, fps=Fraction(24)),
    PipelineClass(name="LattePipeline", multiple=8, frame_rest=0, fps=Fraction(8)),
    PipelineClass(
        name="MochiPipeline",
        native=(848, 480),
        follows_length=True,
        multiple=16,
        frame_step=6,
        fps=Fraction(30),
        encoded=_MASKED,
    ),
    PipelineClass(name="MotifVideoPipeline", multiple=16, frame_step=4, fps=Fraction(24)),
    PipelineClass(name="MotifVideoImage2VideoPipeline", multiple=16, frame_step=4, fps=Fraction(24)),
    PipelineClass(name="SanaVideoPipeline", **_SANA),
    PipelineClass(name="SanaImageToVideoPipeline", **_SANA),
    PipelineClass(name="SkyReelsV2Pipeline", encoded=_EMBEDS, **_SKYREELS),
    PipelineClass(name="SkyReelsV2ImageToVideoPipeline", **_SKYREELS),
    PipelineClass(name="SkyReelsV2DiffusionForcingPipeline", **_SKYREELS),
    PipelineClass(name="SkyReelsV2DiffusionForcingImageToVideoPipeline", **_SKYREELS),
    PipelineClass(name="TextToVideoSDPipeline", native=(256, 256), multiple=8, frame_rest=0, fps=Fraction(8)),
    PipelineClass(name="TextToVideoZeroPipeline", native=(512, 512), **_ZERO),
    PipelineClass(name="TextToVideoZeroSDXLPipeline", native=(1024, 1024), **_ZERO),
    PipelineClass(name="AnimateDiffPipeline", **_ANIMATED),
    PipelineClass(name="AnimateDiffPAGPipeline", **_ANIMATED),
    PipelineClass(name="AnimateDiffSDXLPipeline", **{**_ANIMATED, "native": (1024, 1024)}),
    # Sound.
    PipelineClass(
        name="AudioLDM2Pipeline",
        # Stored as GPT2Model, whose text generation transformers 5 took away.
        replaced={"language_model": "GPT2LMHeadModel"},
        **_AUDIOLDM,
    ),
    PipelineClass(name="AudioLDMPipeline", **_AUDIOLDM),
    PipelineClass(name="StableAudioPipeline", together=True, **_STABLE_AUDIO),
    PipelineClass(name="StableAudio3Pipeline", **_STABLE_AUDIO),
    PipelineClass(name="AceStepPipeline", follows_length=True, sample_rate=48000, channels=2),
    PipelineClass(name="LongCatAudioDiTPipeline", follows_length=True, sample_rate=24000),
)

_DISTILLED: dict[str, Any] = {
    "sigmas": Constant("ltx2/utils.py", "DISTILLED_SIGMA_VALUES"),
    # Guidance of every kind is off: the network was distilled with it.
    "stg_scale": 0.0,
    "modality_scale": 1.0,
    "guidance_rescale": 0.0,
    "audio_guidance_scale": 1.0,
    "audio_stg_scale": 0.0,
    "audio_modality_scale": 1.0,
    "audio_guidance_rescale": 0.0,
}

REPOSITORIES: Mapping[str, Checkpoint] = {
    "Lightricks/LTX-2": Checkpoint(
        "LTX2Pipeline",
        "ltx-2",
        arguments={"spatio_temporal_guidance_blocks": [29], "use_cross_timestep": False},
        source="what LTX2Pipeline's documentation says of LTX-2.0",
    ),
    "diffusers/LTX-2.3-Diffusers": Checkpoint("LTX2Pipeline", "ltx-2.3"),
    "diffusers/LTX-2.3-Distilled-Diffusers": Checkpoint(
        "LTX2Pipeline",
        "ltx-2.3",
        steps=8,
        guidance=1.0,
        negative_prompt=False,
        arguments=_DISTILLED,
        source="the authors' schedule of distilled checkpoints, in diffusers/pipelines/ltx2/utils.py",
    ),
    "Lightricks/LTX-2.5-Diffusers": Checkpoint("LTX2Pipeline", "ltx-2.5"),
    "Lightricks/LTX-Video": Checkpoint("LTXPipeline", "ltx-video"),
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": Checkpoint("WanPipeline", "wan2.1-1.3b"),
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": Checkpoint("WanPipeline"),
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": Checkpoint("WanPipeline"),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": Checkpoint(
        "WanPipeline", fps=Fraction(24), source="the model's own command line"
    ),
    "cvssp/audioldm2": Checkpoint("AudioLDM2Pipeline", "audioldm2"),
    "stabilityai/stable-audio-open-1.0": Checkpoint("StableAudioPipeline", "stable-audio-open"),
    "kandinskylab/Kandinsky-6.0-Lite-5s-Diffusers": Checkpoint("Kandinsky6TI2VAPipeline", "kandinsky-6-lite"),
    "kandinskylab/Kandinsky-6.0-Pro-distill-5s-Diffusers": Checkpoint(
        "Kandinsky6TI2VAPipeline", steps=16, guidance=1.0, source="Kandinsky6TI2VAPipeline's documentation"
    ),
    "nvidia/Cosmos3-Nano": Checkpoint("Cosmos3OmniPipeline", "cosmos3"),
    "nvidia/Cosmos3-Super": Checkpoint("Cosmos3OmniPipeline", "cosmos3"),
}

# Repositories of single files, to that which holds the same model as a pipeline.
AS_PIPELINE = {
    "Lightricks/LTX-2.3": "diffusers/LTX-2.3-Diffusers",
    "Lightricks/LTX-2.5": "Lightricks/LTX-2.5-Diffusers",
}

# Classes of diffusers that make pictures in motion or sound and are not driven, each with the reason.
NOT_DRIVEN: Mapping[str, str] = {
    "AnimateDiffControlNetPipeline": "it follows frames of control pictures",
    "AnimateDiffSparseControlNetPipeline": "it follows frames of control pictures",
    "AutoPipelineForText2Audio": "it is a way to load other classes",
    "ChronoEditPipeline": "it edits a picture; the film is a by-product",
    "ConsisIDPipeline": "it needs the embeddings of a face",
    "EasyAnimateControlPipeline": "it follows a control film",
    "EasyAnimateInpaintPipeline": "it fills a film in",
    "MusicLDMPipeline": "its code in diffusers 0.42 fails with transformers 5",
    "LTX2DFRPipeline": "its clips are the draft of further pipelines that refine them",
    "LTX2DFRTemporalRefinePipeline": "it refines the latents of another pipeline",
    "LTX2HDRPipeline": "it turns a film into one of high dynamic range",
    "StableAudio3AudioToAudioPipeline": "it changes a sound",
    "StableAudio3InpaintPipeline": "it fills a sound in",
    "SanaWMPipeline": "it follows the path of a camera",
}


def known(name: str) -> PipelineClass:
    """What is known of a class; for one that is not listed, nothing but its name."""
    return PIPELINES.get(name, PipelineClass(name=name, multiple=16))

"""The numbers of all models. A TOML file may replace them (``-M config=FILE.toml``); nothing else differs then."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from javisbench.errors import UsageError
from javisbench.registry import did_you_mean


@dataclass(frozen=True)
class JointNetworkConfig:
    """v1.0's network (JavisDiT++): one sequence of video and audio tokens.

    Attributes:
        dim: width of a token.
        ffn_dim: hidden width of each feed-forward expert.
        heads: attention heads.
        layers: number of blocks.
        freq_dim: width of the time sinusoid.
        text_dim: width of the text encoder's states.
        text_length: tokens of a prompt, padding included.
        video_channels: of the video latent.
        audio_channels: of the audio latent.
        video_patch: latent frames, rows and columns of a token.
        audio_patch: latent time steps and mel bins of a token.
        eps: of all norms.
    """

    dim: int = 1536
    ffn_dim: int = 8960
    heads: int = 12
    layers: int = 30
    freq_dim: int = 256
    text_dim: int = 4096
    text_length: int = 512
    video_channels: int = 16
    audio_channels: int = 8
    video_patch: tuple[int, int, int] = (1, 2, 2)
    audio_patch: tuple[int, int] = (2, 2)
    eps: float = 1e-6


@dataclass(frozen=True)
class VideoNetworkConfig:
    """OpenSora 1.2's network (STDiT3): alternating spatial and temporal attention.

    Attributes:
        dim: width of a token.
        heads: attention heads.
        layers: number of layers.
        mlp_ratio: hidden width of an MLP over `dim`.
        text_dim: width of the text encoder's states.
        text_length: tokens of a prompt, padding included.
        video_channels: of the video latent.
        video_patch: latent frames, rows and columns of a token.
        base_size: pixels; positions are scaled by sqrt(height * width) / base_size.
        freq_dim: width of the time and rate sinusoids.
    """

    dim: int = 1152
    heads: int = 16
    layers: int = 28
    mlp_ratio: int = 4
    text_dim: int = 4096
    text_length: int = 300
    video_channels: int = 4
    video_patch: tuple[int, int, int] = (1, 2, 2)
    base_size: int = 512
    freq_dim: int = 256


@dataclass(frozen=True)
class FactorisedNetworkConfig(VideoNetworkConfig):
    """v0.1's network: OpenSora 1.2's with a second stream for the sound; bidirectional attention has half of its heads.

    Attributes:
        audio_channels: of the audio latent.
        audio_patch: latent time steps and mel bins of a token.
        spatial_priors: tokens of the spatial prior.
        temporal_priors: tokens of the temporal prior.
        prior_dim: width of a prior token.
    """

    audio_channels: int = 8
    audio_patch: tuple[int, int] = (4, 1)
    spatial_priors: int = 32
    temporal_priors: int = 32
    prior_dim: int = 128


@dataclass(frozen=True)
class PriorConfig:
    """v0.1's HiST-Sypo prior estimator.

    Attributes:
        text_dim: width of ImageBind's text states.
        dim: width of its transformer.
        prior_dim: width of a prior token.
        heads: attention heads.
        encoder_layers: layers that read the text.
        decoder_layers: layers that turn queries into priors.
        ffn_ratio: hidden width of a feed-forward layer over `dim`.
        spatial_priors: learned queries of the spatial prior.
        temporal_priors: learned queries of the temporal prior.
    """

    text_dim: int = 1024
    dim: int = 512
    prior_dim: int = 128
    heads: int = 4
    encoder_layers: int = 4
    decoder_layers: int = 4
    ffn_ratio: int = 4
    spatial_priors: int = 32
    temporal_priors: int = 32


@dataclass(frozen=True)
class PriorTextConfig:
    """The ImageBind text tower that feeds the prior.

    Attributes:
        dim: width.
        layers: transformer blocks.
        heads: attention heads.
        context: tokens of a prompt, padding included.
        vocabulary: number of tokens.
    """

    dim: int = 1024
    layers: int = 24
    heads: int = 16
    context: int = 77
    vocabulary: int = 49408


@dataclass(frozen=True)
class TemporalVAEConfig:
    """The temporal part of v0.1's video VAE (OpenSora 1.2).

    Attributes:
        channels: of both latents, that of the spatial VAE (in) and its own (out).
        filters: base width.
        multipliers: width over `filters`, level by level.
        downsample: whether time is halved after each of the first levels.
        residual_blocks: blocks a level.
        groups: of the group norms.
    """

    channels: int = 4
    filters: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 4)
    downsample: tuple[bool, ...] = (False, True, True)
    residual_blocks: int = 4
    groups: int = 32


@dataclass(frozen=True)
class SpatialVAEConfig:
    """The spatial part of v0.1's video VAE, an image VAE of diffusers' `AutoencoderKL`.

    Attributes:
        widths: channels, level by level.
        blocks: residual blocks a level.
        groups: of the group norms.
        channels: of the latent.
        scaling: factor between the VAE's own latent and that which the temporal VAE sees.
        frames_at_once: frames decoded together.
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    groups: int = 32
    channels: int = 4
    scaling: float = 0.18215
    frames_at_once: int = 4


@dataclass(frozen=True)
class AudioConfig:
    """The sound of both versions: AudioLDM2's VAE over log-mel frames, then its vocoder.

    Attributes:
        sample_rate: Hz.
        hop: samples a mel frame.
        mels: mel bins.
        frame_multiple: mel frames are filled up to a multiple of this.
        stride: mel frames (and bins) a latent step (and bin).
    """

    sample_rate: int = 16000
    hop: int = 160
    mels: int = 64
    frame_multiple: int = 32
    stride: int = 4

    def latent_shape(self, seconds: float) -> tuple[int, int]:
        """Time steps and mel bins of the latent of `seconds` of sound."""
        frames = int(seconds * self.sample_rate / self.hop)
        filled = -(-frames // self.frame_multiple) * self.frame_multiple
        return filled // self.stride, self.mels // self.stride


@dataclass(frozen=True)
class SamplingConfig:
    """How a clip is sampled.

    Attributes:
        steps: Euler steps.
        guidance: scale of classifier-free guidance.
        fps: frames per second.
        frames: number of frames; None: what the suite's duration needs.
        height: pixels; None: what the suite asks for.
        width: pixels; None: what the suite asks for.
    """

    steps: int
    guidance: float
    fps: int
    frames: int | None = None
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class V10Config:
    """All numbers of v1.0."""

    network: JointNetworkConfig = field(default_factory=JointNetworkConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(50, 5.0, 16))


@dataclass(frozen=True)
class V01Config:
    """All numbers of v0.1."""

    network: FactorisedNetworkConfig = field(default_factory=FactorisedNetworkConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    prior_text: PriorTextConfig = field(default_factory=PriorTextConfig)
    temporal_vae: TemporalVAEConfig = field(default_factory=TemporalVAEConfig)
    spatial_vae: SpatialVAEConfig = field(default_factory=SpatialVAEConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(30, 7.0, 24))


@dataclass(frozen=True)
class OpenSoraConfig:
    """All numbers of OpenSora 1.2."""

    network: VideoNetworkConfig = field(default_factory=VideoNetworkConfig)
    temporal_vae: TemporalVAEConfig = field(default_factory=TemporalVAEConfig)
    spatial_vae: SpatialVAEConfig = field(default_factory=SpatialVAEConfig)
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(30, 7.0, 24))


Config = TypeVar("Config", V10Config, V01Config, OpenSoraConfig)


def read_config(path: Path, official: Config) -> Config:
    """`official` with the numbers of a TOML file, whose tables are named as the fields (``[network]``).

    Raises:
        UsageError: the file is missing or no TOML, or has a table or number that the version does not have, or a value
            of the wrong kind.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"The configuration {path} cannot be read: {error}. Give a TOML file.") from error
    known = {f.name: getattr(official, f.name) for f in fields(official)}
    for name in tables:
        if name not in known:
            raise UsageError(
                f"{path} has no place for [{name}].{did_you_mean(name, known)} Tables: {', '.join(known)}."
            )
    return replace(official, **{name: _replaced(known[name], table, path, name) for name, table in tables.items()})


def _replaced(part: Any, table: Any, path: Path, name: str) -> Any:
    assert is_dataclass(part) and not isinstance(part, type)
    known = {f.name: getattr(part, f.name) for f in fields(part)}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {name} must be a table ([{name}]).")
    numbers: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"{path}: [{name}] has no number {key!r}.{did_you_mean(key, known)}")
        numbers[key] = tuple(value) if isinstance(value, list) else value
        if not _same_kind(numbers[key], known[key]):
            raise UsageError(f"{path}: [{name}] {key} = {value!r} is not of the kind of {known[key]!r}.")
    return replace(part, **numbers)


def _same_kind(value: Any, official: Any) -> bool:
    if isinstance(official, tuple):
        return isinstance(value, tuple) and all(_same_kind(v, official[0]) for v in value)
    if isinstance(official, bool) or isinstance(value, bool):
        return isinstance(official, bool) and isinstance(value, bool)
    # What is None officially is a number of frames or pixels.
    kinds = (int, float) if isinstance(official, float) else (int,)
    return isinstance(value, kinds)

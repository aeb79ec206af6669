"""CLIP embeddings of frames and prompts, through `transformers` (extra ``clip``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from javisbench.errors import UsageError, WeightsError
from javisbench.metrics.encoders.base import (
    Encoded,
    EncoderCard,
    Features,
    FeatureSpec,
    Intake,
    Stream,
    timeline_for,
)
from javisbench.metrics.encoders.intakes import ChosenFrames
from javisbench.metrics.encoders.network_encoder import DeviceEncoder, StartingEncoder
from javisbench.metrics.encoders.preprocessing.frame_sampling import evenly_spaced_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from javisbench.clip import ClipHead, Timeline
    from javisbench.metrics.encoders.transfer import Returned

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH = 64
_PROMPTS_AT_ONCE = 64


@dataclass(frozen=True)
class CLIPConfig:
    """Numbers of the network.

    Attributes:
        embed_dim: of an embedding.
        image_size: pixels.
        patch_size: pixels.
        vision_layers: blocks of the image part.
        vision_width: of its tokens; its heads are 64 wide.
        text_layers: blocks of the text part.
        text_width: of its tokens.
        text_heads: its attention heads.
        context: tokens of a prompt.
        vocabulary: token ids.
    """

    embed_dim: int = 512
    image_size: int = 224
    patch_size: int = 32
    vision_layers: int = 12
    vision_width: int = 768
    text_layers: int = 12
    text_width: int = 512
    text_heads: int = 8
    context: int = 77
    vocabulary: int = 49408


VARIANTS = {
    "vit-b-32": CLIPConfig(),
    "small": CLIPConfig(embed_dim=48, vision_layers=2, vision_width=64, text_layers=2, text_width=64, text_heads=1),
}


class CLIPEncoder(DeviceEncoder, StartingEncoder):
    """CLIP ViT-B/32.

    Feature ``frame_embeddings`` (of a clip): ``embeddings``, float32, shape ``(clip_frames, 512)``, L2-normalised, of
    frames evenly spaced over the whole clip, both ends included. Settings: ``clip_frames`` and ``channel_order``
    (``rgb``, or ``bgr`` for the reference's swapped channels); ``frame_times``.

    Feature ``text_embedding`` (of a prompt): ``embedding``, float32, shape ``(512,)``, L2-normalised; long prompts are
    cut to 77 tokens, the end token kept.

    Weights: a state dict with OpenAI's tensor names or with transformers', or a folder with ``model.safetensors``.

    Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021.
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="clip",
        title="CLIP ViT-B/32",
        variants={"vit-b-32": "clip_vit_b_32", "small": "clip_small"},
        licence="MIT",
        source="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        extra="clip",
        module="transformers",
        reduced_precision=True,
    )

    cpu_batch = 96
    input_bytes = 3_100_000  # a frame

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._network: Any = None

    def load(self, weights: Path | None, device: str) -> None:
        """Read `weights` and move the network to `device`.

        Raises:
            UsageError: transformers is not installed.
            WeightsError: no file was given, or it does not hold this network.
        """
        from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict

        if weights is None:
            raise WeightsError("CLIP needs its weights; give the path of the state dict or of its folder.")
        network = build_clip(VARIANTS[self.variant])
        path = weights_file(weights)
        state = load_checkpoint(path)
        if "visual.conv1.weight" in state:
            state = from_openai_names(state)
        # Older versions of transformers stored the positions' numbers, and OpenAI some of the configuration.
        ignored = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids", *_OPENAI_NUMBERS)
        load_strict(network, state, what=f"CLIP ({self.variant})", path=path, ignore=ignored)
        self._network = network.eval().requires_grad_(False).to(device)
        self._move(device)

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The picture alone."""
        return "picture"

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """Crops of the sampled frames."""
        from javisbench.metrics.encoders.preprocessing.pil_resize import bicubic_centre_crop

        for spec in specs:
            if spec.feature != "frame_embeddings" or spec.subject != "clip":
                raise self._no_such(spec)
        size = VARIANTS[self.variant].image_size
        wanted = np.concatenate([sampled_frames(head.timeline, spec) for spec in specs])
        return ChosenFrames(head, specs, wanted, lambda pixels: bicubic_centre_crop(self._transfer.up(pixels), size))

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the embeddings of clips' frames going."""
        import torch

        self._check_loaded()
        clips = cast("Sequence[ChosenFrames]", intakes)
        if not clips:
            return list
        crops = torch.cat([clip.prepared() for clip in clips])
        with torch.inference_mode():
            embedded = {
                order: self._embed_crops(crops, swapped=order == "bgr")
                for order in sorted({str(spec.settings["channel_order"]) for spec in clips[0].specs})
            }

        def finished() -> list[Encoded]:
            ends = np.cumsum([len(clip.wanted) for clip in clips])[:-1]
            rows = {order: np.split(returned.array(), ends) for order, returned in embedded.items()}
            results: list[Encoded] = [{} for _ in clips]
            for place, (clip, result) in enumerate(zip(clips, results, strict=True)):
                for spec in clip.specs:
                    chosen = clip.rows(sampled_frames(clip.head.timeline, spec))
                    result[spec] = {"embeddings": rows[str(spec.settings["channel_order"])][place][chosen]}
            return results

        return finished

    def encode_prompts(self, prompts: Sequence[str], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Embeddings of prompts."""
        import torch

        self._check_loaded()
        for spec in specs:
            if spec.feature != "text_embedding":
                raise self._no_such(spec)
        with torch.inference_mode():
            return [dict.fromkeys(specs, features) for features in self._prompts(prompts)]

    def _check_loaded(self) -> None:
        if self._network is None:
            raise UsageError("Call CLIPEncoder.load before encode.")

    def _no_such(self, spec: FeatureSpec) -> UsageError:
        return UsageError(
            "The encoder clip has the features 'frame_embeddings' of clips and 'text_embedding' of prompts, "
            f"not {spec.feature!r} of {spec.subject!r}."
        )

    def close(self) -> None:
        """Drop the network."""
        self._network = None

    def _embed_crops(self, crops: Tensor, *, swapped: bool) -> Returned:
        return self._transfer.down(self._batches(self._embed_frames, crops.flip(1) if swapped else crops))

    def _embed_frames(self, frames: Tensor) -> Tensor:
        pooled = self._network.vision_model(pixel_values=normalise(frames)).pooler_output
        return _unit(self._network.visual_projection(pooled))

    def _prompts(self, prompts: Sequence[str]) -> list[Features]:
        import torch

        from javisbench.metrics.encoders.preprocessing.clip_tokenizer import clip_tokenizer

        tokenizer = clip_tokenizer()
        tokens = self._transfer.up(torch.tensor([tokenizer.encode(prompt, keep_end=True) for prompt in prompts]))
        embedded = self._transfer.down(self._batches(self._embed_tokens, tokens, at_most=_PROMPTS_AT_ONCE))
        return [{"embedding": embedding} for embedding in embedded.array()]

    def _embed_tokens(self, tokens: Tensor) -> Tensor:
        pooled = self._network.text_model(input_ids=tokens).pooler_output
        return _unit(self._network.text_projection(pooled))


def sampled_frames(timeline: Timeline, spec: FeatureSpec) -> NDArray[np.int64]:
    """Indices of the frames that CLIP sees of a clip."""
    return evenly_spaced_frames(timeline_for(timeline, spec), int(spec.settings["clip_frames"]))


def normalise(frames: Tensor) -> Tensor:
    """uint8 ``(n, 3, H, W)`` to float32 with CLIP's mean and standard deviation removed."""
    import torch

    mean = torch.tensor(MEAN, device=frames.device).view(3, 1, 1)
    std = torch.tensor(STD, device=frames.device).view(3, 1, 1)
    return (frames.float() / 255 - mean) / std


def _unit(embeddings: Tensor) -> Tensor:
    from torch.nn.functional import normalize

    return normalize(embeddings, dim=-1)


def build_clip(config: CLIPConfig) -> nn.Module:
    """transformers' CLIP with these numbers, its weights not yet loaded.

    Raises:
        UsageError: transformers is not installed.
    """
    import torch

    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            "CLIP needs the package transformers. Install it with: pip install 'javisbench[clip]'", kind="missing_extra"
        ) from error
    shared: dict[str, Any] = {"projection_dim": config.embed_dim, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    text = transformers.CLIPTextConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.text_width,
        intermediate_size=4 * config.text_width,
        num_hidden_layers=config.text_layers,
        num_attention_heads=config.text_heads,
        max_position_embeddings=config.context,
        bos_token_id=config.vocabulary - 2,
        eos_token_id=config.vocabulary - 1,
        **shared,
    )
    vision = transformers.CLIPVisionConfig(
        hidden_size=config.vision_width,
        intermediate_size=4 * config.vision_width,
        num_hidden_layers=config.vision_layers,
        num_attention_heads=config.vision_width // HEAD_WIDTH,
        image_size=config.image_size,
        patch_size=config.patch_size,
        **shared,
    )
    both = transformers.CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=config.embed_dim
    )
    with torch.random.fork_rng(devices=[]):  # construction draws weights that are replaced at once
        return cast("nn.Module", transformers.CLIPModel(both))


def weights_file(path: Path, names: Sequence[str] = ("model.safetensors", "pytorch_model.bin")) -> Path:
    """`path` itself, or the weights file in the folder `path`: the first of `names` that it holds.

    Raises:
        WeightsError: the folder holds none.
    """
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"The folder {path} holds neither {' nor '.join(names)}. Fetch one of them.")


# Tensor names: OpenAI's to the left, transformers' to the right.
_OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")
_MODULES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1": "vision_model.embeddings.patch_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.transformer.resblocks": "vision_model.encoder.layers",
    "transformer.resblocks": "text_model.encoder.layers",
    "token_embedding": "text_model.embeddings.token_embedding",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
}
_BLOCK_MODULES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_PROJECTIONS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_BLOCK = re.compile(r"(.*\.(?:resblocks|layers)\.\d+)\.(.*)")
_PARTS = ("q", "k", "v")


def from_openai_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with OpenAI's names as one with transformers'; unknown names are kept.

    Query, key and value, one tensor there, are three here; the two projections are transposed.
    """
    import torch

    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".in_proj_")
        if stem:
            target = _rename(stem, _MODULES, _BLOCK_MODULES).removesuffix(".attn")
            parts = zip(_PARTS, torch.chunk(tensor, 3), strict=True)
            renamed |= {f"{target}.self_attn.{part}_proj.{kind}": third for part, third in parts}
        elif name in _PROJECTIONS:
            renamed[_PROJECTIONS[name]] = tensor.T.contiguous()
        else:
            renamed[_rename(name, _MODULES, _BLOCK_MODULES)] = tensor
    return renamed


def to_openai_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `from_openai_names`."""
    import torch

    modules = {there: here for here, there in _MODULES.items()}
    block_modules = {there: here for here, there in _BLOCK_MODULES.items()}
    projections = {there: here for here, there in _PROJECTIONS.items()}
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        part = re.fullmatch(r"(.*)\.self_attn\.([qkv])_proj\.(weight|bias)", name)
        if part is None:
            target = projections.get(name)
            renamed[target or _rename(name, modules, block_modules)] = tensor.T.contiguous() if target else tensor
        elif part[2] == "q":
            thirds = [state[f"{part[1]}.self_attn.{letter}_proj.{part[3]}"] for letter in _PARTS]
            renamed[f"{_rename(part[1], modules, block_modules)}.attn.in_proj_{part[3]}"] = torch.cat(thirds)
    return renamed


def _rename(name: str, modules: Mapping[str, str], block_modules: Mapping[str, str]) -> str:
    block = _BLOCK.fullmatch(name)
    stem, rest = (block[1], f".{_replace_start(block[2], block_modules)}") if block else (name, "")
    return _replace_start(stem, modules) + rest


def _replace_start(name: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return name

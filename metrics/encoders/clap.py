"""CLAP embeddings of sound and of prompts, through `transformers` (extra ``clap``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from javisbench.errors import FeatureError, UsageError, WeightsError
from javisbench.metrics.encoders import microsoft_clap
from javisbench.metrics.encoders.base import Encoded, EncoderCard, FeatureSpec, Intake, Stream
from javisbench.metrics.encoders.intakes import PreparedSounds
from javisbench.metrics.encoders.network_encoder import DeviceEncoder, StartingEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from javisbench.clip import ClipHead
    from javisbench.metrics.encoders.transfer import Returned

SAMPLE_RATE = 48000
SAMPLES = 10 * SAMPLE_RATE
N_FFT, HOP, BINS = 1024, 480, 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 14000.0
PAD_TOKEN = 1
_PROMPTS_AT_ONCE = 64


@dataclass(frozen=True)
class CLAPConfig:
    """Numbers of the network.

    Attributes:
        embed_dim: of an embedding.
        text_width: of the text part's tokens.
        text_layers: its layers.
        text_heads: its attention heads.
        text_hidden: width inside its feed-forward layers.
        text_positions: its positions; two of them are not used.
        vocabulary: token ids.
        patch_width: of the audio part's tokens in the first stage; each stage doubles it.
        audio_depths: blocks of the stages.
        audio_heads: attention heads of the stages.
        fused: whether the network was trained to take in parts of sounds over 10 s beside the whole. It is shown the
            first 10 s here, as it is shown sounds that are no longer.
    """

    embed_dim: int = 512
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_hidden: int = 3072
    text_positions: int = 514
    vocabulary: int = 50265
    patch_width: int = 96
    audio_depths: tuple[int, ...] = (2, 2, 6, 2)
    audio_heads: tuple[int, ...] = (4, 8, 16, 32)
    fused: bool = False

    @property
    def longest_prompt(self) -> int:
        """Tokens of a prompt, start and end included."""
        return self.text_positions - 2


VARIANTS = {
    "htsat-unfused": CLAPConfig(),
    "630k-audioset-fusion": CLAPConfig(fused=True),
    "music-speech": CLAPConfig(patch_width=128, audio_depths=(2, 2, 12, 2)),
    "small": CLAPConfig(
        embed_dim=24,
        text_width=32,
        text_layers=2,
        text_heads=2,
        text_hidden=64,
        patch_width=16,
        audio_depths=(1, 1, 1, 1),
        audio_heads=(1, 2, 4, 8),
    ),
}


class CLAPEncoder(DeviceEncoder, StartingEncoder):
    """CLAP with the HTSAT audio network: the unfused one of the reference evaluation, LAION's 630k-audioset-fusion,
    the larger one for music and speech, and Microsoft's of 2023.

    Feature ``audio`` (of a clip): ``embedding``, float32, shape ``(512,)``, L2-normalised, of the channels' mean at
    48 kHz, first 10 s. Settings: ``clap_padding`` (``pad`` fills shorter sound with zeros, ``repeatpad`` repeats it)
    and ``clap_resampler``.

    Feature ``text`` (of a prompt): ``embedding`` of the same shape; prompts are cut to 512 tokens.

    ``msclap-2023`` gives shape ``(1024,)``. It hears the same 10 s at 44.1 kHz, 7 s at a time: the first 7 s, and of
    longer sound the last 7 s too; the mean of the two L2-normalised embeddings is L2-normalised again. ``repeatpad``
    repeats shorter sound up to 7 s. Prompts are cut to 77 tokens.

    Weights: a folder with ``pytorch_model.bin`` and ``tokenizer.json``, as laion/clap-htsat-unfused has them (and
    laion/clap-htsat-fused, laion/larger_clap_music_and_speech: LAION's files under transformers' names); or one file
    with transformers' tensor names, beside which lies ``<its stem>.tokenizer.json`` or ``tokenizer.json``. Those of
    ``msclap-2023`` are ``CLAP_weights_2023.pth`` of microsoft/msclap, with GPT-2's tokenizer beside it.

    Source: Wu et al., Large-Scale Contrastive Language-Audio Pretraining, ICASSP 2023; of ``msclap-2023`` Elizalde et
    al., Natural Language Supervision for General-Purpose Audio Representations, ICASSP 2024 (arXiv:2309.05767).
    """

    card: ClassVar[EncoderCard] = EncoderCard(
        name="clap",
        title="CLAP HTSAT",
        variants={
            "htsat-unfused": "clap_htsat_unfused",
            "630k-audioset-fusion": "clap_htsat_fused",
            "music-speech": "clap_music_speech",
            "msclap-2023": "clap_msclap_2023",
            "small": "clap_small",
        },
        licence="Apache-2.0",
        source="Wu et al., Large-Scale Contrastive Language-Audio Pretraining, ICASSP 2023",
        extra="clap",
        module="transformers",
        reduced_precision=True,
    )

    cpu_batch = 16
    input_bytes = 28_300_000  # a sound

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._network: Any = None
        self._tokenizer: Any = None
        self._filters: Tensor | None = None

    @property
    def _is_microsofts(self) -> bool:
        return self.variant in microsoft_clap.VARIANTS

    def load(self, weights: Path | None, device: str) -> None:
        """Read `weights` and the tokenizer beside them, and move the network to `device`.

        Raises:
            UsageError: transformers is not installed.
            WeightsError: no file was given, it does not hold this network, or its tokenizer is missing.
        """
        if weights is None:
            raise WeightsError("CLAP needs its weights; give the path of their folder.")
        network = self._read_microsofts(weights) if self._is_microsofts else self._read(weights)
        self._network = network.eval().requires_grad_(False).to(device)
        self._move(device)

    def _read(self, weights: Path) -> nn.Module:
        from javisbench.metrics.encoders.checkpoint import load_checkpoint, load_strict
        from javisbench.metrics.encoders.clip import weights_file

        config = VARIANTS[self.variant]
        network = build_clap(config)
        # The file whose SHA-256 is known comes first: what is compared is what is read.
        path = weights_file(weights, ("pytorch_model.bin", "model.safetensors"))
        # Integer tensors are tables that the network computes; files of some versions of transformers leave them out.
        tables = {name: tensor for name, tensor in network.state_dict().items() if not tensor.is_floating_point()}
        ignored = ("text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids")
        state = tables | load_checkpoint(path)
        load_strict(network, state, what=f"CLAP ({self.variant})", path=path, ignore=ignored)
        self._tokenizer = load_tokenizer(path, config.longest_prompt)
        return network

    def _read_microsofts(self, weights: Path) -> nn.Module:
        from javisbench.metrics.encoders.clip import weights_file
        from javisbench.weights.store import default_cache

        config = microsoft_clap.VARIANTS[self.variant]
        network: nn.Module = microsoft_clap.build(config, _transformers())
        path = weights_file(weights, ("CLAP_weights_2023.pth",))
        microsoft_clap.load(network, path, what=f"CLAP ({self.variant})")
        self._tokenizer = load_tokenizer(
            path,
            microsoft_clap.LONGEST_PROMPT,
            fetched=default_cache() / "gpt2_tokenizer" / "gpt2_tokenizer.json",
            advice="It is GPT-2's: javisbench weights fetch gpt2_tokenizer, or put tokenizer.json of "
            "openai-community/gpt2 there.",
        )
        microsoft_clap.check_tokenizer(self._tokenizer, config.vocabulary, path)
        self._filters = network.get_buffer("mel_filters").cpu()
        return network

    @classmethod
    def stream(cls, spec: FeatureSpec) -> Stream:
        """The sound alone."""
        return "sound"

    def intake(self, head: ClipHead, specs: Sequence[FeatureSpec]) -> Intake:
        """The log-mel of the sound."""
        self._check(specs, "audio")
        if self._is_microsofts:
            self._check_loaded()
            return PreparedSounds(head, specs, partial(_mels_of_windows, filters=cast("Tensor", self._filters)))
        return PreparedSounds(head, specs, partial(_mel, htk=VARIANTS[self.variant].fused))

    def start(self, intakes: Sequence[Intake]) -> Callable[[], list[Encoded]]:
        """Set the embeddings of clips' sound going."""
        import torch

        self._check_loaded()
        clips = cast("Sequence[PreparedSounds]", intakes)
        results: list[Encoded] = [dict(clip.errors) for clip in clips]
        places = [(place, spec) for place, clip in enumerate(clips) for spec in clip.sounds]
        if not places:
            return lambda: results
        with torch.inference_mode():
            returned = self._embed_sounds([clips[place].sounds[spec] for place, spec in places])

        def finished() -> list[Encoded]:
            for (place, spec), embedding in zip(places, returned.array(), strict=True):
                results[place][spec] = {"embedding": embedding}
            return results

        return finished

    def encode_prompts(self, prompts: Sequence[str], specs: Sequence[FeatureSpec]) -> list[Encoded]:
        """Embeddings of prompts."""
        import torch

        self._check_loaded()
        self._check(specs, "text")
        with torch.inference_mode():
            embedded = self._embed_prompts(prompts)
        return [{spec: {"embedding": embedding} for spec in specs} for embedding in embedded]

    def _check_loaded(self) -> None:
        if self._network is None:
            raise UsageError("Call CLAPEncoder.load before encode.")

    def _check(self, specs: Sequence[FeatureSpec], feature: str) -> None:
        for spec in specs:
            if spec.feature != feature or (spec.subject == "clip") != (feature == "audio"):
                raise UsageError(
                    f"The encoder clap has 'audio' of clips and 'text' of prompts, not {spec.feature!r} of "
                    f"{spec.subject!r}."
                )

    def close(self) -> None:
        """Drop the network."""
        self._network = self._tokenizer = self._filters = None

    def _embed_sounds(self, mels: Sequence[Tensor]) -> Returned:
        """Log-mels ``(1, 1001, 64)`` to ``(n, 512)``; those of `microsoft_clap.log_mel` to ``(n, 1024)``."""
        import torch
        from torch.nn.functional import normalize

        if self._is_microsofts:
            of_windows = self._batches(
                lambda batch: normalize(self._network.embed_sounds(batch), dim=-1),
                self._transfer.up(torch.cat(list(mels))),
            )
            means = [own.mean(dim=0) for own in torch.split(of_windows, [len(mel) for mel in mels])]
            return self._transfer.down(normalize(torch.stack(means), dim=-1))

        def embed(batch: Tensor) -> Tensor:
            if VARIANTS[self.variant].fused:  # the whole four times, and no sound that goes on
                longer = torch.zeros(len(batch), 1, dtype=torch.bool, device=batch.device)
                pooled = self._network.audio_model(
                    input_features=batch.expand(-1, 4, -1, -1), is_longer=longer
                ).pooler_output
            else:
                pooled = self._network.audio_model(input_features=batch).pooler_output
            return normalize(self._network.audio_projection(pooled), dim=-1)

        return self._transfer.down(self._batches(embed, self._transfer.up(torch.stack(list(mels)))))

    def _embed_prompts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        import torch
        from torch.nn.functional import normalize

        def embed(batch: Tensor) -> Tensor:
            ids, mask = batch.unbind(dim=1)
            if self._is_microsofts:
                return normalize(self._network.embed_prompts(ids, mask), dim=-1)
            pooled = self._network.text_model(input_ids=ids, attention_mask=mask).pooler_output
            return normalize(self._network.text_projection(pooled), dim=-1)

        if self._is_microsofts:
            ids, padding = [microsoft_clap.tokens(self._tokenizer, prompt) for prompt in prompts], 0
        else:
            ids, padding = [self._tokenizer.encode(prompt).ids for prompt in prompts], PAD_TOKEN
        longest = max(len(row) for row in ids)
        rows = [[row + [padding] * (longest - len(row)), [1] * len(row) + [0] * (longest - len(row))] for row in ids]
        made = self._batches(embed, self._transfer.up(torch.tensor(rows)), at_most=_PROMPTS_AT_ONCE)
        return self._transfer.down(made).array()


def _mel(head: ClipHead, spec: FeatureSpec, *, htk: bool) -> Tensor:
    return log_mel(ten_seconds(resampled(head), repeat=spec.settings["clap_padding"] == "repeatpad"), htk=htk)


def _mels_of_windows(head: ClipHead, spec: FeatureSpec, *, filters: Tensor) -> Tensor:
    heard = resampled(head, microsoft_clap.SAMPLE_RATE)
    repeat = spec.settings["clap_padding"] == "repeatpad"
    return microsoft_clap.log_mel(microsoft_clap.windows(heard, repeat=repeat), filters)


def resampled(clip: ClipHead, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """The channels' mean at `sample_rate` (Hz), first 10 s, of the length that librosa gives it.

    Raises:
        FeatureError: the clip has no sound.
    """
    from javisbench.metrics.encoders.preprocessing.kaiser_best import resample_kaiser_best

    if clip.audio is None or not clip.sample_rate or clip.audio.shape[1] == 0:
        raise FeatureError(f"{clip.name} has no sound, so CLAP has nothing to embed.", kind="no_audio")
    most = 10 * sample_rate
    sound = resample_kaiser_best(np.mean(clip.audio, axis=0), clip.sample_rate, sample_rate, max_samples=most)
    # librosa multiplies by a rounded ratio: 176400 samples at 44.1 kHz become 192001, the last one 0.
    length = min(math.ceil(clip.audio.shape[1] * (sample_rate / clip.sample_rate)), most)
    return np.pad(sound, (0, max(0, length - len(sound))))


def ten_seconds(sound: NDArray[np.float32], *, repeat: bool) -> NDArray[np.float32]:
    """`sound` (at most 10 s, at least one sample) filled with zeros to 10 s, after whole repetitions if `repeat`."""
    if repeat:
        sound = np.tile(sound, SAMPLES // len(sound))
    return np.pad(sound, (0, SAMPLES - len(sound)))


def log_mel(samples: NDArray[np.float32], *, htk: bool = False) -> Tensor:
    """Log-mel spectrogram as CLAP was trained on: float32, shape ``(1, frames, 64)``, decibels from -100 up.

    Args:
        samples: at 48 kHz.
        htk: bands of height 1 on HTK's scale, as the fused network was trained, in place of Slaney's.
    """
    import torch

    from javisbench.metrics.encoders.preprocessing.mel_filters import htk_mel_filters, slaney_mel_filters

    signal = torch.from_numpy(samples).double()
    window = torch.hann_window(N_FFT, dtype=torch.float64)
    spectrum = torch.stft(signal, N_FFT, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    bank = htk_mel_filters if htk else slaney_mel_filters
    filters = torch.from_numpy(bank(SAMPLE_RATE, N_FFT, BINS, LOWEST_HZ, HIGHEST_HZ))
    mel = filters @ spectrum.abs().square()
    return (10 * torch.log10(mel.clamp(min=1e-10))).T.float()[None]


def load_tokenizer(
    weights: Path,
    longest: int,
    *,
    fetched: Path | None = None,
    advice: str = "Fetch tokenizer.json from where the weights came from.",
) -> Any:
    """The tokenizer whose file lies beside `weights`, cutting prompts to `longest` tokens.

    Args:
        weights: the file.
        longest: tokens of a prompt.
        fetched: where it lies when it was fetched by itself.
        advice: for the message that it is missing.

    Raises:
        WeightsError: there is no such file, or it is damaged.
    """
    from tokenizers import Tokenizer

    names = (f"{weights.stem}.tokenizer.json", "tokenizer.json")
    places = [weights.with_name(name) for name in names] + ([fetched] if fetched else [])
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise WeightsError(
            f"CLAP's tokenizer is missing: neither {names[0]} nor {names[1]} lies beside {weights}. {advice}"
        )
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises nothing narrower
        raise WeightsError(f"{path} is no tokenizer file ({error}). Fetch it again.") from error
    tokenizer.no_padding()
    if tokenizer.truncation is None or tokenizer.truncation["max_length"] > longest:
        tokenizer.enable_truncation(longest)
    return tokenizer


def build_clap(config: CLAPConfig) -> nn.Module:
    """transformers' CLAP with these numbers, its weights not yet loaded.

    Raises:
        UsageError: transformers is not installed.
    """
    import torch

    transformers = _transformers()
    text = {
        "vocab_size": config.vocabulary,
        "hidden_size": config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "intermediate_size": config.text_hidden,
        "max_position_embeddings": config.text_positions,
        "pad_token_id": PAD_TOKEN,
    }
    audio = {
        "hidden_size": config.patch_width * 2 ** (len(config.audio_depths) - 1),
        "patch_embeds_hidden_size": config.patch_width,
        "depths": list(config.audio_depths),
        "num_attention_heads": list(config.audio_heads),
        "enable_fusion": config.fused,
    }
    both = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=config.embed_dim)
    with torch.random.fork_rng(devices=[]):  # construction draws weights that are replaced at once
        return cast("nn.Module", transformers.ClapModel(both))


def _transformers() -> Any:
    """The package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            "CLAP needs the package transformers. Install it with: pip install 'javisbench[clap]'", kind="missing_extra"
        ) from error
    return transformers

"""A model of the way in which the reference evaluation of JavisBench computes the five ImageBind scores.

It does the work that the reference does, in its order, with the libraries' own modules, one clip at a time:

* TV-IB, TA-IB and AV-IB: the file is opened once, and each of the five 2-second clips is sought from the last key
  frame before it, read whole and turned into float32, although two of its frames are used (what pytorchvideo does on
  top of decord; decord itself took 280 ms of CPU for this on a clip of 96 frames, 58 ms for reading it once). All 15
  crops and all three sounds go through the network, equal or not.
* AVHScore and JavisScore: the file is decoded again with OpenCV; each frame is resized by Pillow, cropped, and turned
  into normalised floats by itself; all frames of a clip go through the vision tower in one batch, each twice in time.
  Every window's three equal sounds go through the audio tower.
* Networks: `torch.nn.Conv3d`, `Conv2d` and `MultiheadAttention`, all tokens to the end of the last block.

What happens once a run (ImageBind is loaded twice) is left out, and so are the other metrics' decodings of the same
files. The numbers are the reference's too; `imagebind.py` compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from javisbench.clip import Timeline
from javisbench.media import ClipSource
from javisbench.metrics.cosine import cosines
from javisbench.metrics.encoders.imagebind.config import AUDIO_STRIDE, IMAGE_SIZE
from javisbench.metrics.encoders.imagebind.network import Block, ImageBindNetwork
from javisbench.metrics.encoders.imagebind.preprocessing import mel_input, normalise, prepare_waveform
from javisbench.metrics.encoders.imagebind.windows import audio_clip_spans, separate_windows, video_clip_spans
from javisbench.metrics.encoders.preprocessing.clip_tokenizer import clip_tokenizer
from javisbench.metrics.encoders.preprocessing.pil_resize import centre_offset, shorter_side
from javisbench.metrics.javis_score import window_scores

Timer = Callable[[str], AbstractContextManager[None]]


class ReferenceTowers:
    """The network's parameters in torch's own modules."""

    def __init__(self, network: ImageBindNetwork) -> None:
        self._network = network
        self._attention = {
            block: standard_attention(block)
            for name in ("vision", "audio", "text")
            for block in network.modality_trunks[name].blocks
        }

    def vision(self, frames: Tensor) -> Tensor:
        """``(B, 3, 2, 224, 224)``, normalised."""
        stem = self._network.modality_preprocessors["vision"].rgbt_stem.proj[1]
        return self._finish("vision", stem(frames).flatten(2).transpose(1, 2))

    def audio(self, mels: Tensor) -> Tensor:
        """``(B, 1, 128, 204)``."""
        stem = self._network.modality_preprocessors["audio"].rgbt_stem
        patches = F.conv2d(mels, stem.proj.weight, stride=AUDIO_STRIDE)
        return self._finish("audio", stem.norm_layer(patches.flatten(2).transpose(1, 2)))

    def text(self, ids: Tensor) -> Tensor:
        """``(B, 77)``."""
        preprocessor = self._network.modality_preprocessors["text"]
        tokens = self._blocks("text", preprocessor(ids), preprocessor.mask)
        projected = self._network.modality_heads["text"](tokens, ids)
        out: Tensor = self._network.modality_postprocessors["text"](projected)
        return out

    def _finish(self, name: str, patches: Tensor) -> Tensor:
        preprocessor = self._network.modality_preprocessors[name]
        tokens = torch.cat([preprocessor.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = tokens + preprocessor.pos_embedding_helper.pos_embed
        tokens = self._network.modality_trunks[name].pre_transformer_layer(tokens)
        out: Tensor = self._network.modality_postprocessors[name](
            self._network.modality_heads[name](self._blocks(name, tokens, None))
        )
        return out

    def _blocks(self, name: str, tokens: Tensor, mask: Tensor | None) -> Tensor:
        tokens = tokens.transpose(0, 1)  # torch's attention takes the sequence first
        for block in self._network.modality_trunks[name].blocks:
            x = block.norm_1(tokens)
            tokens = tokens + self._attention[block](x, x, x, need_weights=False, attn_mask=mask)[0]
            tokens = tokens + block.mlp(block.norm_2(tokens))
        return tokens.transpose(0, 1)


def standard_attention(block: Block) -> nn.MultiheadAttention:
    ours = block.attn
    width = ours.out_proj.in_features
    attention = nn.MultiheadAttention(width, ours.heads, add_bias_kv=ours.bias_k is not None)
    attention.load_state_dict(ours.state_dict())
    return attention.eval().to(ours.in_proj_weight.device)


def spans_by_seeking(path: Path) -> list[Tensor]:
    """The frames of each of the five 2-second clips, float32 ``(3, t, H, W)``."""
    spans = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate is not None and stream.time_base is not None
        for first, end in video_clip_spans(Timeline.at_rate(stream.frames, stream.average_rate)):
            # The first frame to keep, half a frame early, so that rounding cannot skip it.
            start = (first - Fraction(1, 2)) / stream.average_rate
            container.seek(max(int(start / stream.time_base), 0), stream=stream)
            frames: list[np.ndarray] = []
            for frame in container.decode(stream):
                if frame.time is not None and frame.time >= start:
                    frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == end - first:
                    break
            spans.append(torch.from_numpy(np.stack(frames)).to(torch.float32).permute(3, 0, 1, 2))
    return spans


def all_frames(path: Path, threads: int) -> tuple[list[np.ndarray], float]:
    """RGB frames and their rate, by OpenCV."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    frames = []
    while True:
        read, frame = capture.read()
        if not read:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames, rate


def load_sound(path: Path, device: str) -> Tensor:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return prepare_waveform(torch.from_numpy(np.ascontiguousarray(samples.T)).to(device), rate, "left")


def three_clips(waveform: Tensor) -> Tensor:
    mels = []
    for first, end in audio_clip_spans(waveform.shape[1]):
        piece = waveform[:, first:end]
        piece -= piece.mean()
        mels.append(mel_input(piece[:1]))
    return torch.cat(mels)


def fifteen_crops(span: Tensor) -> Tensor:
    """Three squares of a clip's first and last frame, ``(3, 3, 2, 224, 224)``."""
    frames = span[:, [0, -1]].transpose(0, 1) / 255.0
    height, width = frames.shape[2:]
    size = (
        (int(height / width * IMAGE_SIZE), IMAGE_SIZE)
        if width < height
        else (IMAGE_SIZE, int(width / height * IMAGE_SIZE))
    )
    scaled = normalise(F.interpolate(frames, size=size, mode="bilinear", align_corners=False)).transpose(0, 1)
    tall, wide = size[0] - IMAGE_SIZE, size[1] - IMAGE_SIZE
    corners = [(0, 0), (-(-tall // 2), -(-wide // 2)), (tall, wide)]
    return torch.stack([scaled[..., top : top + IMAGE_SIZE, left : left + IMAGE_SIZE] for top, left in corners])


def pillow_frame(frame: np.ndarray) -> Tensor:
    tall, wide = shorter_side(frame.shape[0], frame.shape[1], IMAGE_SIZE)
    top, left = centre_offset(tall, IMAGE_SIZE), centre_offset(wide, IMAGE_SIZE)
    # In two steps, which take as long as one: Pillow 13 would choose the order of its passes by size.
    image = Image.fromarray(frame).resize((wide, frame.shape[0]), Image.Resampling.BICUBIC)
    image = image.resize((wide, tall), Image.Resampling.BICUBIC)
    pixels = np.array(image.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE)))
    return normalise(torch.from_numpy(pixels).permute(2, 0, 1).contiguous()[None].to(torch.float32) / 255)[0]


def reference_way(
    source: ClipSource, prompts: tuple[str, str], towers: ReferenceTowers, device: str, time: Timer
) -> dict[str, float]:
    """The five scores of a clip."""
    assert source.audio is not None
    return imagebind_group(source, prompts, towers, device, time) | av_score_group(source, towers, device, time)


def imagebind_group(
    source: ClipSource, prompts: tuple[str, str], towers: ReferenceTowers, device: str, time: Timer
) -> dict[str, float]:
    with time("decode"):
        spans = spans_by_seeking(source.video)
        waveform = load_sound(source.audio or source.video, device)
    with time("prepare"):
        crops = torch.cat([fifteen_crops(span) for span in spans]).to(device)
        mels = three_clips(waveform)
        ids = torch.tensor([clip_tokenizer().encode(p, keep_end=False) for p in prompts]).to(device)
    with time("network"):
        text = towers.text(ids).cpu().numpy()
        video = towers.vision(crops).mean(0).cpu().numpy()
        audio = towers.audio(mels).mean(0).cpu().numpy()
    return {
        "tv_ib": float(cosines(text[0], video)),
        "ta_ib": float(cosines(text[1], audio)),
        "av_ib": float(cosines(audio, video)),
    }


def av_score_group(source: ClipSource, towers: ReferenceTowers, device: str, time: Timer) -> dict[str, float]:
    with time("decode"):
        frames, rate = all_frames(source.video, torch.get_num_threads())
        waveform = load_sound(source.audio or source.video, device)
    with time("prepare"):
        stills = torch.stack([pillow_frame(frame) for frame in frames]).to(device)
        windows: Any = separate_windows(Timeline.at_rate(len(frames), rate), waveform.shape[1], 2.0, 1.5)
        whole = three_clips(waveform.clone())
        sounds = torch.cat([three_clips(waveform[:, first:end]) for first, end in windows.audio])
    with time("network"):
        embedded = towers.vision(stills[:, :, None].repeat(1, 1, 2, 1, 1)).cpu().numpy()
        whole_audio = towers.audio(whole).mean(0).cpu().numpy()
        window_audio = towers.audio(sounds).reshape(len(windows.audio), 3, -1).mean(1).cpu().numpy()
    return {
        "avh_score": float(cosines(embedded, whole_audio).mean()),
        "javis_score": float(window_scores(embedded, window_audio, np.array(windows.video)).mean()),
    }

"""Pipelines of diffusers with a few thousand random weights each, built in code and saved as folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def build(name: str, folder: Path, seed: int = 0) -> Path:
    """Save the tiny pipeline of a class; the sound's rate is 8000 Hz wherever there is one."""
    import diffusers

    torch.manual_seed(seed)
    pipeline = getattr(diffusers, name)(**components()[name]())
    pipeline.save_pretrained(folder)
    if name == "Kandinsky6TI2VAPipeline":
        # The hub's folder has a processor, which is not to be built without torchvision; its tokenizer is as here.
        _rename(folder, "tokenizer", "Qwen2_5_VLProcessor")
    return folder


def _wan() -> dict[str, Any]:
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    text = UMT5Config(vocab_size=256, d_model=16, d_ff=16, d_kv=8, num_heads=2, num_layers=1)
    return {
        "tokenizer": _t5_tokenizer(),
        "text_encoder": UMT5EncoderModel(text),
        "vae": AutoencoderKLWan(
            base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "transformer": WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4,
            text_dim=16, freq_dim=32, ffn_dim=32, num_layers=1, rope_max_seq_len=32,
        ),
        "transformer_2": None,
    }  # fmt: skip


def _ltx() -> dict[str, Any]:
    from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXVideoTransformer3DModel

    return {
        "tokenizer": _t5_tokenizer(),
        "text_encoder": _t5(16),
        "vae": AutoencoderKLLTXVideo(
            latent_channels=4, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1), patch_size=4, patch_size_t=1,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "transformer": LTXVideoTransformer3DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
            num_layers=1, caption_channels=16,
        ),
    }  # fmt: skip


def _ltx2() -> dict[str, Any]:
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        FlowMatchEulerDiscreteScheduler,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2 import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    gemma = Gemma3Config(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 128, "sliding_window": 8,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 28, "patch_size": 14,
        },
        mm_tokens_per_image=4, image_token_index=127, boi_token_index=126, eoi_token_index=125,
    )  # fmt: skip
    connector = {
        f"{stream}_connector_{key}": value
        for stream in ("video", "audio")
        for key, value in {
            "num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 1, "num_learnable_registers": None,
        }.items()
    }  # fmt: skip
    return {
        "tokenizer": _word_tokenizer(),
        "text_encoder": Gemma3ForConditionalGeneration(gemma),
        # 29 layers, because skip-layer guidance leaves out the one with index 28.
        "transformer": LTX2VideoTransformer3DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
            audio_in_channels=4, audio_out_channels=4, audio_num_attention_heads=2, audio_attention_head_dim=4,
            audio_cross_attention_dim=8, num_layers=29, caption_channels=16, rope_double_precision=False,
            rope_type="split",
        ),
        "connectors": LTX2TextConnectors(
            caption_channels=16, text_proj_in_factor=2, connector_rope_base_seq_len=32, rope_theta=10000.0,
            rope_double_precision=False, causal_temporal_positioning=False, rope_type="split", **connector,
        ),
        "vae": AutoencoderKLLTX2Video(
            latent_channels=4, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 16, 32),
            layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1),
            spatial_compression_ratio=32, temporal_compression_ratio=8,
        ),
        "audio_vae": AutoencoderKLLTX2Audio(
            base_channels=4, output_channels=2, ch_mult=(1,), num_res_blocks=1, attn_resolutions=None, in_channels=2,
            resolution=32, latent_channels=2, norm_type="pixel", causality_axis="height", dropout=0.0,
            mid_block_add_attention=False, sample_rate=8000, mel_hop_length=80, is_causal=True, mel_bins=8,
        ),
        "vocoder": LTX2Vocoder(
            in_channels=16, hidden_channels=16, out_channels=2, upsample_kernel_sizes=[16, 20],
            upsample_factors=[8, 10], resnet_kernel_sizes=[3], resnet_dilations=[[1, 3]], output_sampling_rate=8000,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }  # fmt: skip


def _kandinsky6() -> dict[str, Any]:
    from diffusers import (
        AutoencoderKLHunyuanVideo,
        FlowMatchEulerDiscreteScheduler,
        Kandinsky6Transformer3DModel,
        MMAudioVAE,
        MMAudioVocoder,
    )
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTokenizer,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
    )

    qwen = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": 64,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "patch_size": 14,
            "fullatt_block_indexes": [0],
            "window_size": 28,
        },
        image_token_id=60,
        video_token_id=61,
        vision_start_token_id=62,
        vision_end_token_id=63,
    )
    clip = CLIPTextConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=16,
        bos_token_id=0,
        eos_token_id=1,
    )
    pieces = ["<|startoftext|>", "<|endoftext|>", *_LETTERS, *(f"{letter}</w>" for letter in _LETTERS)]
    return {
        "transformer": Kandinsky6Transformer3DModel(
            in_visual_dim=4, out_visual_dim=4, in_text_dim=16, in_text_dim2=16, time_dim=16, model_dim=16, ff_dim=32,
            num_text_blocks=1, num_visual_blocks=1, axes_dims=(2, 2, 4), in_audio_dim=4, out_audio_dim=4,
        ),
        "vae": AutoencoderKLHunyuanVideo(
            latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
        ),
        "text_encoder": Qwen2_5_VLForConditionalGeneration(qwen),
        "tokenizer": _word_tokenizer(),
        "text_encoder_2": CLIPTextModel(clip),
        "tokenizer_2": CLIPTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[]),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
        "audio_vae": MMAudioVAE(
            mel_bins=8, latent_channels=4, hidden_channels=8, channel_multipliers=(1, 1, 1), layers_per_block=1,
            sample_rate=8000, n_fft=256, hop_length=64,
        ),
        "vocoder": MMAudioVocoder(
            num_mels=8, upsample_initial_channel=16, upsample_rates=(8, 8), upsample_kernel_sizes=(16, 16),
            resblock_kernel_sizes=(3,), resblock_dilation_sizes=((1, 3, 5),),
        ),
    }  # fmt: skip


def _cosmos3() -> dict[str, Any]:
    from diffusers import AutoencoderKLWan, Cosmos3OmniTransformer, UniPCMultistepScheduler
    from diffusers.models.autoencoders.autoencoder_cosmos3_audio import Cosmos3AVAEAudioTokenizer

    tokenizer = _word_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|vision_start|>"]})
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return {
        "transformer": Cosmos3OmniTransformer(
            head_dim=8, hidden_size=16, intermediate_size=16, latent_channel=4, num_attention_heads=2,
            num_hidden_layers=1, num_key_value_heads=1, patch_latent_dim=16, vocab_size=64, sound_dim=4,
            sound_gen=True, dtype="float32", rope_axes_dim=(2, 1, 1),
        ),
        "text_tokenizer": tokenizer,
        "vae": AutoencoderKLWan(
            base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        "scheduler": UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        "sound_tokenizer": Cosmos3AVAEAudioTokenizer(
            sampling_rate=8000, vocoder_input_dim=4, dec_dim=4, dec_c_mults=(1, 1, 1), dec_strides=(4, 8, 10),
            hop_size=320, enc_dim=8, enc_intermediate_dim=8, enc_num_layers=1, enc_num_blocks=1, enc_latent_dim=8,
            enc_c_mults=(1, 1, 1), enc_strides=(4, 5, 1), encoder_enabled=False,
        ),
        "enable_safety_checker": False,
    }  # fmt: skip


def _audioldm2() -> dict[str, Any]:
    from diffusers import (
        AudioLDM2ProjectionModel,
        AudioLDM2UNet2DConditionModel,
        AutoencoderKL,
        DDIMScheduler,
    )
    from transformers import (
        ClapAudioConfig,
        ClapConfig,
        ClapFeatureExtractor,
        ClapModel,
        ClapTextConfig,
        GPT2Config,
        GPT2LMHeadModel,
        RobertaTokenizer,
        SpeechT5HifiGan,
        SpeechT5HifiGanConfig,
    )

    clap = ClapConfig(
        text_config=ClapTextConfig(
            hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=400,
            projection_dim=16,
        ).to_dict(),
        audio_config=ClapAudioConfig(
            spec_size=64, window_size=4, num_mel_bins=64, depths=[2, 2], num_attention_heads=[2, 2], hidden_size=192,
            num_hidden_layers=2, projection_dim=16, patch_size=2, patch_stride=2, patch_embed_input_channels=4,
        ).to_dict(),
        projection_dim=16,
    )  # fmt: skip
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=16, n_head=2, n_layer=1, vocab_size=64, n_positions=64))
    gpt2.config.max_new_tokens = 4
    vocoder = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=8, sampling_rate=8000, upsample_initial_channel=16, upsample_rates=[4, 4],
            upsample_kernel_sizes=[8, 8], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    )  # fmt: skip
    for weight in vocoder.parameters():
        # As they are drawn, its sound is far below one step of 16 bits.
        torch.nn.init.normal_(weight, std=0.2)
    roberta = RobertaTokenizer(
        vocab={token: number for number, token in enumerate(("<s>", "<pad>", "</s>", "<unk>", "<mask>", *_LETTERS))},
        merges=[],
    )
    roberta.model_max_length = 16
    return {
        "vae": AutoencoderKL(
            block_out_channels=[32, 32], in_channels=1, out_channels=1, latent_channels=4,
            down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        ),
        "text_encoder": ClapModel(clap),
        "text_encoder_2": _t5(16),
        "projection_model": AudioLDM2ProjectionModel(
            text_encoder_dim=16, text_encoder_1_dim=16, langauge_model_dim=16
        ),
        "language_model": gpt2,
        "tokenizer": roberta,
        "tokenizer_2": _t5_tokenizer(),
        "feature_extractor": ClapFeatureExtractor(),
        "unet": AudioLDM2UNet2DConditionModel(
            block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=4, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=([None, 16, 16], [None, 16, 16]),
        ),
        "scheduler": DDIMScheduler(clip_sample=False, set_alpha_to_one=False),
        "vocoder": vocoder,
    }  # fmt: skip


def _stable_audio() -> dict[str, Any]:
    from diffusers import (
        AutoencoderOobleck,
        EDMDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioProjectionModel,
    )

    return {
        "vae": AutoencoderOobleck(
            encoder_hidden_size=8, downsampling_ratios=[4, 8], decoder_channels=8, decoder_input_channels=4,
            audio_channels=2, channel_multiples=[1, 2], sampling_rate=8000,
        ),
        "text_encoder": _t5(16),
        "projection_model": StableAudioProjectionModel(
            text_encoder_dim=16, conditioning_dim=8, min_value=0, max_value=32
        ),
        "tokenizer": _t5_tokenizer(),
        "transformer": StableAudioDiTModel(
            sample_size=500, in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=4,
            num_key_value_attention_heads=2, out_channels=4, cross_attention_dim=8, time_proj_dim=8,
            global_states_input_dim=16, cross_attention_input_dim=8,
        ),
        "scheduler": EDMDPMSolverMultistepScheduler(),
    }  # fmt: skip


def components() -> dict[str, Callable[[], dict[str, Any]]]:
    """Class to what gives its components."""
    from tests.baselines.more_tiny_pipelines import COMPONENTS  # which are made of parts of this file

    return {**_COMPONENTS, **COMPONENTS}


_COMPONENTS = {
    "WanPipeline": _wan,
    "LTXPipeline": _ltx,
    "LTXConditionPipeline": _ltx,
    "LTXImageToVideoPipeline": _ltx,
    "LTXI2VLongMultiPromptPipeline": _ltx,
    "LTX2Pipeline": _ltx2,
    "LTX2ConditionPipeline": _ltx2,
    "LTX2ImageToVideoPipeline": _ltx2,
    "LTX2InContextPipeline": _ltx2,
    "Kandinsky6TI2VAPipeline": _kandinsky6,
    "Cosmos3OmniPipeline": _cosmos3,
    "AudioLDM2Pipeline": _audioldm2,
    "StableAudioPipeline": _stable_audio,
}

_LETTERS = [chr(code) for code in range(97, 123)]


def _t5(width: int, vocabulary: int = 256) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=vocabulary, d_model=width, d_ff=16, d_kv=8, num_heads=2, num_layers=1))


def _t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    tokenizer = T5Tokenizer(vocab=[*pieces, *((letter, -3.0) for letter in _LETTERS)], extra_ids=0)
    tokenizer.model_max_length = 16
    return tokenizer


def _word_tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *_LETTERS]
    tokenizer = Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


def _chat_tokenizer() -> Any:
    tokenizer = _word_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return tokenizer


def as_published(folder: Path) -> None:
    """AudioLDM2's folder as the hub has it: with the plain GPT2 class."""
    _rename(folder, "language_model", "GPT2Model")


def _rename(folder: Path, component: str, kind: str) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index[component] = ["transformers", kind]
    (folder / "model_index.json").write_text(json.dumps(index))

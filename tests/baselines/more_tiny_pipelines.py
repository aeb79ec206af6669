"""Tiny pipelines of further classes; `tiny_pipelines` saves them. Each function gives a pipeline's components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.baselines import tiny_pipelines as tiny


def wan_vae() -> Any:
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip


def picture_vae(levels: int = 4, channels: int = 3) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=channels, out_channels=channels, block_out_channels=[8] * levels, norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels,
    )  # fmt: skip


def hunyuan_vae() -> Any:
    from diffusers import AutoencoderKLHunyuanVideo

    return AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    )


def umt5() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    return UMT5EncoderModel(UMT5Config(vocab_size=256, d_model=16, d_ff=16, d_kv=8, num_heads=2, num_layers=1))


def clip_text(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=16, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(97, 123)]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=77)


def clap_text() -> Any:
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    return ClapTextModelWithProjection(
        ClapTextConfig(
            hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=400,
            projection_dim=16,
        )
    )  # fmt: skip


def qwen() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
        "patch_size": 14, "fullatt_block_indexes": [0], "window_size": 28,
    }  # fmt: skip
    tokens = {"image_token_id": 60, "video_token_id": 61, "vision_start_token_id": 62, "vision_end_token_id": 63}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens))


WAN_LIKE = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4,
    "text_dim": 16, "freq_dim": 32, "ffn_dim": 32, "num_layers": 1, "rope_max_seq_len": 32,
}  # fmt: skip


def wan_like(kind: str, scheduler: Any, **changes: Any) -> dict[str, Any]:
    import diffusers

    config = {**WAN_LIKE, **changes}
    return {
        "tokenizer": tiny._t5_tokenizer(),
        "text_encoder": umt5(),
        "vae": wan_vae(),
        "scheduler": scheduler,
        "transformer": getattr(diffusers, kind)(**config),
    }


def flow() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=3.0)


def wan_vace() -> dict[str, Any]:
    parts = wan_like("WanVACETransformer3DModel", flow(), vace_layers=[0], vace_in_channels=72)
    return {**parts, "transformer_2": None}


def wan_image() -> dict[str, Any]:
    parts = wan_like("WanTransformer3DModel", flow(), in_channels=12)
    return {**parts, "transformer_2": None, "image_encoder": None, "image_processor": None}


def skyreels() -> dict[str, Any]:
    from diffusers import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0)
    return wan_like("SkyReelsV2Transformer3DModel", scheduler)


def anyflow() -> dict[str, Any]:
    from diffusers import FlowMapEulerDiscreteScheduler

    return wan_like("AnyFlowTransformer3DModel", FlowMapEulerDiscreteScheduler())


def anyflow_far() -> dict[str, Any]:
    from diffusers import FlowMapEulerDiscreteScheduler

    return wan_like("AnyFlowFARTransformer3DModel", FlowMapEulerDiscreteScheduler(), chunk_partition=(1, 1))


def helios() -> dict[str, Any]:
    from diffusers import HeliosScheduler

    config = {key: value for key, value in WAN_LIKE.items() if key != "rope_max_seq_len"}
    from diffusers import HeliosTransformer3DModel

    return {
        "tokenizer": tiny._t5_tokenizer(),
        "text_encoder": umt5(),
        "vae": wan_vae(),
        "scheduler": HeliosScheduler(stages=1, stage_range=[0, 1]),
        "transformer": HeliosTransformer3DModel(**config, rope_dim=(4, 4, 4)),
    }


def helios_pyramid() -> dict[str, Any]:
    from diffusers import HeliosScheduler

    return {**helios(), "scheduler": HeliosScheduler(gamma=0.3)}


def allegro() -> dict[str, Any]:
    from diffusers import AllegroTransformer3DModel, AutoencoderKLAllegro, DDIMScheduler

    return {
        "tokenizer": tiny._t5_tokenizer(),
        "text_encoder": tiny._t5(16),
        "vae": AutoencoderKLAllegro(
            block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, latent_channels=4
        ),
        "scheduler": DDIMScheduler(),
        "transformer": AllegroTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, num_layers=1, cross_attention_dim=24, sample_height=8,
            sample_width=8, sample_frames=8, caption_channels=16,
        ),
    }  # fmt: skip


def cogvideox(channels: int = 4) -> dict[str, Any]:
    from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel

    return {
        "tokenizer": tiny._t5_tokenizer(),
        "text_encoder": tiny._t5(16),
        "vae": AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=2, latent_channels=4
        ),
        "scheduler": CogVideoXDDIMScheduler(),
        "transformer": CogVideoXTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, in_channels=channels, out_channels=4, time_embed_dim=2,
            text_embed_dim=16, num_layers=1, sample_width=8, sample_height=6, sample_frames=5,
            use_rotary_positional_embeddings=True,
        ),
    }  # fmt: skip


def cogvideox_image() -> dict[str, Any]:
    return cogvideox(8)


def latte() -> dict[str, Any]:
    from diffusers import DDIMScheduler, LatteTransformer3DModel

    return {
        "tokenizer": tiny._t5_tokenizer(),
        "text_encoder": tiny._t5(16),
        "vae": picture_vae(),
        "scheduler": DDIMScheduler(),
        "transformer": LatteTransformer3DModel(
            sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2, caption_channels=16,
            in_channels=4, out_channels=8, cross_attention_dim=16, attention_bias=True, video_length=5,
            activation_fn="gelu-approximate", num_embeds_ada_norm=1000, norm_type="ada_norm_single",
            norm_elementwise_affine=False,
        ),
    }  # fmt: skip


def mochi() -> dict[str, Any]:
    from diffusers import AutoencoderKLMochi, MochiTransformer3DModel

    return {
        "tokenizer": tiny._t5_tokenizer(),
        "text_encoder": tiny._t5(16),
        "vae": AutoencoderKLMochi(
            encoder_block_out_channels=(32,) * 4, decoder_block_out_channels=(32,) * 4,
            layers_per_block=(1, 1, 1, 1, 1), add_attention_block=[False] * 5,
        ),
        "scheduler": flow(),
        "transformer": MochiTransformer3DModel(
            num_attention_heads=2, attention_head_dim=8, num_layers=2, pooled_projection_dim=16, in_channels=12,
            text_embed_dim=16, time_embed_dim=4,
        ),
    }  # fmt: skip


def hunyuan() -> dict[str, Any]:
    from diffusers import HunyuanVideoTransformer3DModel
    from transformers import LlamaConfig, LlamaModel

    llama = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, pad_token_id=0, bos_token_id=2, eos_token_id=1,
    )  # fmt: skip
    return {
        "tokenizer": tiny._word_tokenizer(),
        "text_encoder": LlamaModel(llama),
        "tokenizer_2": clip_tokenizer(),
        "text_encoder_2": clip_text(),
        "vae": hunyuan_vae(),
        "scheduler": flow(),
        "transformer": HunyuanVideoTransformer3DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, num_layers=1,
            num_single_layers=1, num_refiner_layers=1, text_embed_dim=16, pooled_projection_dim=16,
            rope_axes_dim=(4, 4, 4),
        ),
    }  # fmt: skip


def hunyuan15() -> dict[str, Any]:
    from diffusers import AutoencoderKLHunyuanVideo15, ClassifierFreeGuidance, HunyuanVideo15Transformer3DModel
    from transformers import ByT5Tokenizer

    byt5 = tiny._t5(16, vocabulary=384)
    return {
        "tokenizer": tiny._chat_tokenizer(),
        "text_encoder": qwen().model.language_model,
        "tokenizer_2": ByT5Tokenizer(),
        "text_encoder_2": byt5,
        "vae": AutoencoderKLHunyuanVideo15(
            latent_channels=4, block_out_channels=(32, 32, 32, 32, 32), layers_per_block=1
        ),
        "scheduler": flow(),
        "guider": ClassifierFreeGuidance(guidance_scale=6.0),
        "transformer": HunyuanVideo15Transformer3DModel(
            in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=12, num_layers=1,
            num_refiner_layers=1, text_embed_dim=16, text_embed_2_dim=16, image_embed_dim=16, rope_axes_dim=(4, 4, 4),
            task_type="t2v", target_size=16,
        ),
    }  # fmt: skip


def kandinsky5() -> dict[str, Any]:
    from diffusers import Kandinsky5Transformer3DModel

    return {
        "transformer": Kandinsky5Transformer3DModel(
            in_visual_dim=4, out_visual_dim=4, in_text_dim=16, in_text_dim2=16, time_dim=16, model_dim=16, ff_dim=32,
            num_text_blocks=1, num_visual_blocks=1, axes_dims=(2, 2, 4),
        ),
        "vae": hunyuan_vae(),
        "text_encoder": qwen(),
        "tokenizer": tiny._word_tokenizer(),
        "text_encoder_2": clip_text(),
        "tokenizer_2": clip_tokenizer(),
        "scheduler": flow(),
    }  # fmt: skip


def sana() -> dict[str, Any]:
    from diffusers import DPMSolverMultistepScheduler, SanaVideoTransformer3DModel
    from transformers import Gemma2Config, Gemma2Model

    gemma = Gemma2Config(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, pad_token_id=0,
    )  # fmt: skip
    return {
        "tokenizer": tiny._word_tokenizer(),
        "text_encoder": Gemma2Model(gemma),
        "vae": wan_vae(),
        "scheduler": DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
        ),
        "transformer": SanaVideoTransformer3DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, num_layers=1,
            num_cross_attention_heads=2, cross_attention_head_dim=12, cross_attention_dim=24, caption_channels=16,
            rope_max_seq_len=32,
        ),
    }  # fmt: skip


def easyanimate() -> dict[str, Any]:
    from diffusers import AutoencoderKLMagvit, EasyAnimateTransformer3DModel
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "mlp_ratio": 1, "num_heads": 2, "patch_size": 14}
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
    }  # fmt: skip
    return {
        "tokenizer": tiny._chat_tokenizer(),
        "text_encoder": Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision)),
        "vae": AutoencoderKLMagvit(
            block_out_channels=[8, 8, 8, 8], latent_channels=4, layers_per_block=1, norm_num_groups=2,
            spatial_group_norm=False,
        ),
        "scheduler": flow(),
        "transformer": EasyAnimateTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, patch_size=2, num_layers=1,
            mmdit_layers=1, time_embed_dim=2, text_embed_dim=16, sample_width=8, sample_height=6,
        ),
    }  # fmt: skip


def motif() -> dict[str, Any]:
    from diffusers import ClassifierFreeGuidance, MotifVideoTransformer3DModel
    from transformers import T5Gemma2EncoderConfig
    from transformers.models.t5gemma2.modeling_t5gemma2 import T5Gemma2Encoder

    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 64, "dropout_rate": 0.0,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    encoder = T5Gemma2EncoderConfig(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return {
        "tokenizer": tiny._word_tokenizer(),
        "text_encoder": T5Gemma2Encoder(encoder),
        "vae": wan_vae(),
        "scheduler": flow(),
        "guider": ClassifierFreeGuidance(guidance_scale=8.0),
        "transformer": MotifVideoTransformer3DModel(
            in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=12, num_layers=1,
            num_single_layers=1, text_embed_dim=16, rope_axes_dim=(4, 4, 4),
        ),
        "feature_extractor": None,
    }  # fmt: skip


def modelscope() -> dict[str, Any]:
    from diffusers import DDIMScheduler, UNet3DConditionModel

    return {
        "vae": picture_vae(),
        "text_encoder": clip_text(),
        "tokenizer": clip_tokenizer(),
        "unet": UNet3DConditionModel(
            sample_size=8, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, cross_attention_dim=16,
            attention_head_dim=4, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        ),
        "scheduler": DDIMScheduler(),
    }  # fmt: skip


def flat_unet(**changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    config = {
        "sample_size": 8, "block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4,
        "cross_attention_dim": 16, "attention_head_dim": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }  # fmt: skip
    return UNet2DConditionModel(**{**config, **changes})


def animatediff() -> dict[str, Any]:
    from diffusers import DDIMScheduler, MotionAdapter

    return {
        "vae": picture_vae(),
        "text_encoder": clip_text(),
        "tokenizer": clip_tokenizer(),
        "unet": flat_unet(),
        "motion_adapter": MotionAdapter(
            block_out_channels=(8, 8), motion_layers_per_block=1, motion_norm_num_groups=4, motion_num_attention_heads=2
        ),
        "scheduler": DDIMScheduler(),
        "feature_extractor": None,
        "image_encoder": None,
    }


SDXL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "cross_attention_dim": 32,
        "projection_class_embeddings_input_dim": 64}  # fmt: skip


def animatediff_sdxl() -> dict[str, Any]:
    return {
        **animatediff(),
        "unet": flat_unet(**SDXL),
        "text_encoder_2": clip_text(projected=True),
        "tokenizer_2": clip_tokenizer(),
    }


def zero() -> dict[str, Any]:
    from diffusers import DDIMScheduler
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14, "projection_dim": 16,
    }  # fmt: skip

    return {
        "vae": picture_vae(),
        "text_encoder": clip_text(),
        "tokenizer": clip_tokenizer(),
        "unet": flat_unet(),
        "scheduler": DDIMScheduler(),
        "safety_checker": StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16)),
        "feature_extractor": CLIPImageProcessorPil(size=28, crop_size=28),
    }


def zero_sdxl() -> dict[str, Any]:
    parts = {name: part for name, part in zero().items() if name not in ("safety_checker", "feature_extractor")}
    return {
        **parts,
        "unet": flat_unet(**SDXL),
        "text_encoder_2": clip_text(projected=True),
        "tokenizer_2": clip_tokenizer(),
        "image_encoder": None,
        "feature_extractor": None,
        "add_watermarker": False,
    }


def audioldm() -> dict[str, Any]:
    parts = tiny._audioldm2()
    return {
        "vae": parts["vae"],
        "text_encoder": clap_text(),
        "tokenizer": parts["tokenizer"],
        "unet": flat_unet(
            block_out_channels=(32, 64), norm_num_groups=32, attention_head_dim=8, cross_attention_dim=(32, 64),
            class_embed_type="simple_projection", projection_class_embeddings_input_dim=16,
            class_embeddings_concat=True, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), sample_size=32,
        ),
        "scheduler": parts["scheduler"],
        "vocoder": parts["vocoder"],
    }  # fmt: skip


def stable_audio_3() -> dict[str, Any]:
    from diffusers import AutoencoderSAME, StableAudio3DiTModel, StableAudio3DurationEmbedder
    from transformers import T5GemmaConfig, T5GemmaEncoderModel

    module = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 64, "pad_token_id": 0,
    }  # fmt: skip
    gemma = T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=64)
    return {
        "vae": AutoencoderSAME(
            patch_size=4, encoder_channels=8, encoder_c_mults=(2,), encoder_strides=(4,),
            encoder_transformer_depths=(1,), latent_dim=8, dim_heads=8, sampling_rate=8000,
        ),
        "text_encoder": T5GemmaEncoderModel(gemma),
        "tokenizer": tiny._word_tokenizer(),
        "duration_embedder": StableAudio3DurationEmbedder(output_dim=16, fourier_dim=8),
        "transformer": StableAudio3DiTModel(
            io_channels=8, embed_dim=16, depth=1, num_heads=2, cond_token_dim=16, global_cond_dim=16,
            local_add_cond_dim=9, timestep_features_dim=8, num_memory_tokens=2,
        ),
        "scheduler": flow(),
    }  # fmt: skip


def ace_step() -> dict[str, Any]:
    from diffusers import AceStepConditionEncoder, AceStepTransformer1DModel, AutoencoderOobleck
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, pad_token_id=0,
    )  # fmt: skip
    attention = {
        "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "sliding_window": 8,
    }  # fmt: skip
    return {
        "vae": AutoencoderOobleck(
            encoder_hidden_size=8, downsampling_ratios=[4, 8], decoder_channels=8, decoder_input_channels=4,
            audio_channels=2, channel_multiples=[1, 2], sampling_rate=8000,
        ),
        "text_encoder": Qwen3Model(config),
        "tokenizer": tiny._word_tokenizer(),
        "transformer": AceStepTransformer1DModel(
            **attention, num_hidden_layers=2, in_channels=12, audio_acoustic_hidden_dim=4
        ),
        "condition_encoder": AceStepConditionEncoder(
            **attention, text_hidden_dim=16, timbre_hidden_dim=4, num_lyric_encoder_hidden_layers=1,
            num_timbre_encoder_hidden_layers=1,
        ),
        "scheduler": flow(),
        "audio_tokenizer": None,
        "audio_token_detokenizer": None,
    }  # fmt: skip


def longcat() -> dict[str, Any]:
    from diffusers import LongCatAudioDiTTransformer, LongCatAudioDiTVae

    return {
        "vae": LongCatAudioDiTVae(
            channels=8, c_mults=[1, 2], strides=[4, 8], latent_dim=4, encoder_latent_dim=8, downsampling_ratio=32,
            sample_rate=8000,
        ),
        "text_encoder": umt5(),
        "tokenizer": tiny._t5_tokenizer(),
        "transformer": LongCatAudioDiTTransformer(
            dit_dim=16, dit_depth=1, dit_heads=2, dit_text_dim=16, latent_dim=4
        ),
        "scheduler": flow(),
    }  # fmt: skip


COMPONENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "AceStepPipeline": ace_step,
    "AllegroPipeline": allegro,
    "AnimateDiffPAGPipeline": animatediff,
    "AnimateDiffPipeline": animatediff,
    "AnimateDiffSDXLPipeline": animatediff_sdxl,
    "AnyFlowFARPipeline": anyflow_far,
    "AnyFlowPipeline": anyflow,
    "AudioLDMPipeline": audioldm,
    "CogVideoXImageToVideoPipeline": cogvideox_image,
    "CogVideoXPipeline": cogvideox,
    "EasyAnimatePipeline": easyanimate,
    "HeliosPipeline": helios,
    "HeliosPyramidPipeline": helios_pyramid,
    "SanaImageToVideoPipeline": sana,
    "HunyuanVideo15Pipeline": hunyuan15,
    "HunyuanVideoPipeline": hunyuan,
    "Kandinsky5T2VPipeline": kandinsky5,
    "LattePipeline": latte,
    "LongCatAudioDiTPipeline": longcat,
    "MochiPipeline": mochi,
    "MotifVideoPipeline": motif,
    "SanaVideoPipeline": sana,
    "SkyReelsV2DiffusionForcingPipeline": skyreels,
    "SkyReelsV2Pipeline": skyreels,
    "StableAudio3Pipeline": stable_audio_3,
    "TextToVideoSDPipeline": modelscope,
    "TextToVideoZeroPipeline": zero,
    "TextToVideoZeroSDXLPipeline": zero_sdxl,
    "WanImageToVideoPipeline": wan_image,
    "WanVACEPipeline": wan_vace,
}

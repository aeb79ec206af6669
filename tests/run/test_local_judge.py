"""A judge in this process: a small LLaVA with random weights, whose words are noise."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import javisbench
from javisbench.errors import UsageError
from javisbench.media import write_clip
from javisbench.metrics.judges.inquiry import Inquiry, Part
from javisbench.metrics.judges.settings import JudgeSettings
from javisbench.run.judging.judge import RejectedError
from javisbench.run.judging.local_model import LocalModel
from javisbench.run.judging.options import JudgeOptions
from tests.run.test_judges import SET, clip_of
from tests.stand_in_tokenizer import byte_letters

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}"
    "{% elif c.type == 'image' %}<image>{% endif %}{% endfor %}\n{% endfor %}assistant: "
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 300 letters that sees pictures of 16 pixels and hears nothing."""
    import torch
    import transformers as t
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    out = tmp_path_factory.mktemp("llava")
    letters = {letter: byte + 3 for byte, letter in byte_letters().items()}
    tokenizer = Tokenizer(models.BPE(letters | {"<pad>": 0, "<s>": 1, "</s>": 2}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = t.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    pictures = t.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor = t.LlavaProcessor(
        pictures, fast, patch_size=8, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    vision = t.CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8,
        projection_dim=8,
    )  # fmt: skip
    text = t.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=300, max_position_embeddings=16384,
    )  # fmt: skip
    torch.manual_seed(0)
    image = fast.convert_tokens_to_ids("<image>")
    config = t.LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, vision_feature_layer=-1)
    t.LlavaForConditionalGeneration(config).save_pretrained(out)
    processor.save_pretrained(out)
    return out


def inquiry(*more: Part, **settings: Any) -> Inquiry:
    file = io.BytesIO()
    Image.new("RGB", (32, 16), (200, 10, 10)).save(file, "JPEG")
    parts = (Part("text", "Frame"), Part("picture", data=file.getvalue()), *more)
    return Inquiry("rules", parts, {}, JudgeSettings(max_tokens=20, **settings), 3, "max_tokens", "key")


@pytest.mark.slow
def test_words_depend_on_sampling_and_seed_alone(folder: Path) -> None:
    judge = LocalModel(folder)
    judge.check()
    greedy, again = judge.ask(inquiry()), judge.ask(inquiry())
    assert greedy == again and greedy.finish == "length" and greedy.output_tokens == 20
    drawn = judge.ask(inquiry(temperature=0.9))
    assert drawn == judge.ask(inquiry(temperature=0.9)) and drawn.text != greedy.text
    with pytest.raises(RejectedError, match="does not take sound"):
        judge.ask(inquiry(Part("sound", data=b"")))


@pytest.mark.slow
def test_noise_is_a_failure_with_its_words_and_a_folder_without_a_model_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "clips").mkdir()
    write_clip(clip_of(100), tmp_path / "clips" / "sample_0000.mp4", sidecar=True)
    (tmp_path / "suite.csv").write_text("text\nA prompt.\n")
    text = SET.replace("tries = 2", "tries = 1\nmax_tokens = 16").replace("hears = true", "")
    (tmp_path / "mine.toml").write_text(text.replace("frame_px = 96", "frame_px = 96\nsound = false"))

    def score(place: str) -> javisbench.Result:
        return javisbench.score(
            tmp_path / "clips", suite=str(tmp_path / "suite.csv"), out=tmp_path / "run", workers=1, device="cpu",
            metrics=[f"judge:{tmp_path / 'mine.toml'}"], judge=JudgeOptions(url=place),
        )  # fmt: skip

    with pytest.raises(UsageError, match=r"no model's folder"):
        score(f"transformers:{tmp_path}")
    result = score(f"transformers:{folder}")
    assert result.failures["kind"].tolist() == ["judge_cut"]
    (row,) = map(json.loads, (tmp_path / "run/answers.jsonl").read_text().splitlines())
    assert row["model"] == folder.name and row["output_tokens"] == 16 and row["text"]

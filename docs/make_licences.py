"""Write docs/licences.md from pyproject.toml and the data cards: python docs/make_licences.py."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from javisbench.cards import read_cards, suite_cards
from javisbench.weights import WeightsEntry, weights_registry

ROOT = Path(__file__).parent.parent
PAGE = Path(__file__).parent / "licences.md"

INTRO = """# Licences

javisbench is [Apache-2.0](../LICENSE). What it is built on, what it brings along and what it fetches when asked to have
licences of their own. The licence of weights is shown before their first download; a licence that forbids commercial
use is asked about.
"""

WEIGHTS_INTRO = """Fetched by `javisbench weights fetch ID`, or given with `--weights-dir`. *Compared*: the SHA-256 of
the official file of tensors is known, and another one is refused when fetched, named as other weights when given.
*Recorded as found*: it is not known here (PANNs, Whisper, most of CLAP and others), so the hash of the file that ran
stands in every result, and whether it is the official file is for you to see."""

SHIPPED = (
    ("merges of CLIP's tokenizer", "`data_cards/tokenizer`", "MIT, OpenAI"),
    ("DataTables", "`javisbench/leaderboard/assets`", "MIT, SpryMedia Limited"),
    ("rules of caption cleaning, after DeepFloyd IF", "`javisbench/baselines/javisdit`", "Apache-2.0"),
)

# As the packages' own metadata says it, spelt as SPDX does. torchvision and pytorch-fid: their repositories.
PACKAGES = {
    "accelerate": "Apache-2.0",
    "altair": "BSD-3-Clause",
    "audiobox-aesthetics": "CC-BY-4.0",
    "av": "BSD-3-Clause; its wheels bundle FFmpeg with libx264 (GPL-2.0-or-later)",
    "click": "BSD-3-Clause",
    "datasets": "Apache-2.0",
    "diffusers": "Apache-2.0",
    "fsspec": "BSD-3-Clause",
    "ftfy": "Apache-2.0",
    "gcsfs": "BSD-3-Clause",
    "httpx": "BSD-3-Clause",
    "funasr": "MIT",
    "hear21passt": "Apache-2.0",
    "kaldi-native-fbank": "Apache-2.0",
    "huggingface-hub": "Apache-2.0",
    "jinja2": "BSD-3-Clause",
    "jiwer": "Apache-2.0",
    "markdown-it-py": "MIT",
    "matplotlib": "Matplotlib licence (as PSF-2.0)",
    "numpy": "BSD-3-Clause and others",
    "onnxruntime": "MIT",
    "opencv-python-headless": "Apache-2.0; its wheels bundle FFmpeg (LGPL-2.1)",
    "pandas": "BSD-3-Clause",
    "pillow": "MIT-CMU",
    "protobuf": "BSD-3-Clause",
    "pyarrow": "Apache-2.0",
    "pyloudnorm": "MIT",
    "pytorch-fid": "Apache-2.0",
    "ray": "Apache-2.0",
    "regex": "Apache-2.0 and CNRI-Python",
    "rich": "MIT",
    "s3fs": "BSD-3-Clause",
    "safetensors": "Apache-2.0",
    "scipy": "BSD-3-Clause",
    "sentencepiece": "Apache-2.0",
    "silero-vad": "MIT; brings its network",
    "soundfile": "BSD-3-Clause; its wheels bundle libsndfile (LGPL-2.1)",
    "speechmos": "MIT; brings the networks of DNSMOS",
    "tensorboard": "Apache-2.0",
    "torch": "BSD-3-Clause and others; CUDA builds depend on NVIDIA's libraries",
    "torchmetrics": "Apache-2.0",
    "torchvggish": "Apache-2.0",
    "torchvision": "BSD-3-Clause",
    "transformers": "Apache-2.0",
    "vl-convert-python": "BSD-3-Clause",
    "wandb": "MIT",
}
# What only developers install needs no place here.
_NOT_USERS = {"test", "dev", "docs"}


def packages() -> Iterator[tuple[str, str]]:
    """Each package that users may install, with the extras that bring it; empty for those that always come."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = {name: [] for name in map(_name, project["dependencies"])}
    for extra, wanted in project["optional-dependencies"].items():
        for name in map(_name, wanted):
            if extra not in _NOT_USERS and name != "javisbench":
                extras.setdefault(name, []).append(extra)
    for name in sorted(extras):
        yield name, ", ".join(extras[name])


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()


def known_hash(entry: WeightsEntry) -> str:
    """Whether what is fetched is compared with a known SHA-256."""
    return "compared" if entry.hashed else "recorded as found"


def page() -> str:
    """The whole page."""
    lines = [INTRO, "## In the package", "", "| what | where | licence |", "| --- | --- | --- |"]
    lines += [f"| {what} | {where} | {licence} |" for what, where, licence in SHIPPED]
    lines += ["", "## Packages", "", "| package | with | licence |", "| --- | --- | --- |"]
    for name, extras in packages():
        lines.append(f"| {name} | {extras and f'`javisbench[{extras}]`'} | {PACKAGES[name]} |")
    lines += ["", "## Weights", "", WEIGHTS_INTRO, ""]
    lines += ["| id | what | licence | commercial use | SHA-256 |", "| --- | --- | --- | --- | --- |"]
    for entry_id, entry in sorted(weights_registry().items()):
        if entry.stand_in:
            continue
        licence = f"[{entry.licence}]({entry.licence_url})" if entry.licence_url else entry.licence
        use = "forbidden" if entry.noncommercial else "by its licence"
        lines.append(f"| `{entry_id}` | {entry.title} | {licence} | {use} | {known_hash(entry)} |")
    lines += ["", "## Suites", "", "| suite | what | licence |", "| --- | --- | --- |"]
    for name, suite in sorted(suite_cards().items()):
        lines.append(f"| `{name}` | {suite.title} | {suite.licence or 'as its publisher says'} |")
    lines += ["", "## Generators", "", "| model | code | weights |", "| --- | --- | --- |"]
    for name, card in sorted(read_cards("models").items()):
        licences = card.get("licences", {})
        lines.append(f"| `{name}` | {licences.get('code', 'unknown')} | {licences.get('weights', 'none')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

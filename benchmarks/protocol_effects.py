"""What each difference between javisbench-v1 and javisbench-v2 does to the numbers of some clips.

    python benchmarks/protocol_effects.py                          # the reference clips of tests/golden
    python benchmarks/protocol_effects.py --real FOLDER            # and clips of FOLDER/clips/*/sample_*.mp4
    python benchmarks/protocol_effects.py --table                  # the recorded results, as in docs/protocols.md

Every setting is changed by itself, starting from javisbench-v1, then all at once (javisbench-v2). The weights are
seeded stand-ins, so that the sizes show how a setting acts, not by how much published results would move. All
protocols are scored in one run folder, and share the features that they prepare alike.

FOLDER holds ``suite.csv`` (column text) and ``clips/<maker>/sample_0000.mp4`` for its row 0, and so on. Set metrics
are measured on the reference clips only: they need real counterparts.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib.util
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import javisbench
from javisbench.errors import MediaError
from javisbench.media import ClipReader, ClipSource
from javisbench.metrics.encoders.audiobox import waveform
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.metrics.encoders.clip import VARIANTS as CLIP_VARIANTS
from javisbench.metrics.encoders.clip import build_clip, to_openai_names
from javisbench.protocol import V1, V2
from javisbench.run.manifest import versions

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
RESULTS = Path(__file__).parent / "results" / "protocol_effects.json"
CARD = ROOT / "data_cards" / "effects" / "protocol_settings.json"
ENCODERS = {"imagebind": "tiny", "synchformer": "small", "clip": "small", "clap": "small"}
ROUNDING = 1e-6
SET_METRICS = ("fvd", "kvd", "fad")
SAMPLE_METRICS = (
    "tv_ib", "ta_ib", "av_ib", "clip_score", "clap_score", "av_align", "avh_score", "javis_score", "desync",
)  # fmt: skip
# file: (list of its tensors, member of that list, preset of the generator)
WEIGHTS = {
    "imagebind_tiny.pth": ("statedict_imagebind_tiny", "tensors", "imagebind"),
    "synchformer_small.pth": ("statedict_synchformer_small", "tensors", "synchformer"),
    "i3d_pretrained_400.pt": ("statedict_i3d", "tensors", "i3d"),
    "AudioCLIP-Full-Training.pt": ("statedict_audioclip", "audio", "audioclip"),
    "clap_small.pt": ("statedict_clap_small", "tensors", "clap"),
}


def differences() -> dict[str, tuple[Any, Any]]:
    """Every setting that changes a number and differs: its values under javisbench-v1 and javisbench-v2."""
    found = {}
    for concern in dataclasses.fields(V1):
        first, second = getattr(V1, concern.name), getattr(V2, concern.name)
        if dataclasses.is_dataclass(first):
            for setting in dataclasses.fields(first):
                pair = getattr(first, setting.name), getattr(second, setting.name)
                if pair[0] != pair[1]:
                    found[setting.name] = pair
        elif concern.name not in ("name", "revision", "headline", "without") and first != second:
            found[concern.name] = (first, second)
    return found


def as_override(name: str, value: Any) -> str:
    """``setting=value`` as protocol names spell it."""
    return f"{name}={str(value).lower() if isinstance(value, bool) else value}"


def write_weights(folder: Path, seed: int = 0) -> Path:
    """Stand-in checkpoints of every encoder under the names that `--weights-dir` looks for."""
    seeded = _module(GOLDEN / "seeded_weights.py")
    for name, (listing, member, preset) in WEIGHTS.items():
        tensors = json.loads((GOLDEN / f"{listing}.json").read_text(encoding="utf-8"))[member]
        integers = [tensor for tensor, (_, dtype) in tensors.items() if dtype == "int64"]
        shapes = {tensor: entry[0] for tensor, entry in tensors.items()}
        _save(seeded.seeded_state_dict(shapes, preset, seed, integer_names=integers), folder / name)
    names = to_openai_names(build_clip(CLIP_VARIANTS["small"]).state_dict())
    shapes = {name: tuple(tensor.shape) for name, tensor in names.items()}
    _save(seeded.seeded_state_dict(shapes, "clip", seed), folder / "clip_small.pt")
    _module(ROOT / "tests" / "stand_in_tokenizer.py").save_stand_in_tokenizer(folder / "clap_small.tokenizer.json")
    return folder


def measure(
    run: Path, clips: Path | None, suite: Path, weights: Path, metrics: Sequence[str], reference: str | None
) -> dict[str, Any]:
    """Score the clips under every protocol, in one run, and compare each with javisbench-v1."""
    specs = {name: f"{V1.name}+{as_override(name, pair[1])}" for name, pair in differences().items()}
    specs["all"] = V2.name
    javisbench.score(
        clips, suite=str(suite), out=run, protocols=[V1.name, *specs.values()], metrics=metrics, encoders=ENCODERS,
        weights_dirs=[weights], reference=reference, workers=1, device="cpu", allow_outside=True,
    )  # fmt: skip
    base = _result(run, V1.name)
    return {
        "clips": len(base.scores),
        "failures": len(base.failures),
        "v1": {metric: base.summary["metrics"][metric]["overall"]["value"] for metric in metrics},
        "effects": {name: compare(base, _result(run, spec), metrics) for name, spec in specs.items()},
    }


def compare(base: Any, other: Any, metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Metric to what changed: clips affected (beyond rounding), mean and largest absolute change, overall change."""
    changes = {}
    for metric in metrics:
        before, after = (r.summary["metrics"][metric]["overall"]["value"] for r in (base, other))
        row: dict[str, Any] = {"v1": before, "changed": after, "overall": after - before}
        if metric in SAMPLE_METRICS:
            change = np.abs(other.scores[metric].to_numpy() - base.scores[metric].to_numpy())
            row |= {
                "clips_changed": int((change > ROUNDING).sum()),
                "mean": np.nanmean(change),
                "max": np.nanmax(change),
            }
        if before != after or row.get("clips_changed"):
            changes[metric] = {key: float(v) if isinstance(v, float) else v for key, v in row.items()}
    return changes


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table: a row for each setting and each metric that it moves."""
    sets = [results[name] for name in ("reference_clips", "real_clips") if name in results]
    columns = ["v1", "changed", "mean", "largest", "clips"]
    names = [f"reference {column}" for column in columns] + [f"real {column}" for column in columns]
    heading = ["setting", "metric", *names[: len(columns) * len(sets)]]
    lines = [_row(heading), _row(["---"] * len(heading))]
    for setting in sets[0]["effects"]:
        title = "all (javisbench-v2)" if setting == "all" else f"`{setting}`"
        changes = [measured["effects"][setting] for measured in sets]
        moved = [metric for metric in (*SET_METRICS, *SAMPLE_METRICS) if any(metric in change for change in changes)]
        for metric in moved:
            cells = [cell for m, c in zip(sets, changes, strict=True) for cell in _cells(m, c, metric)]
            lines.append(_row([title, f"`{metric}`", *cells]))
        if not moved:
            lines.append(_row([title, "none of these", *["-"] * (len(heading) - 2)]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(measured: dict[str, Any], changes: dict[str, Any], metric: str) -> list[str]:
    change = changes.get(metric)
    if change is None:
        known = measured["v1"].get(metric)
        return ["-" if known is None else f"{known:.3g}", "same" if known is not None else "-", "-", "-", "-"]
    share = f"{change['clips_changed']} of {measured['clips']}" if "clips_changed" in change else "-"
    sizes = [f"{change[key]:.2g}" if key in change else "-" for key in ("mean", "max")]
    return [f"{change['v1']:.3g}", f"{change['changed']:.3g}", *sizes, share]


def audio_quality_input(sources: Sequence[ClipSource]) -> dict[str, Any]:
    """What `quality_resampling` does to the sound before the quality model hears it."""
    ways = [
        FeatureSpec.of("audiobox", "axes", max_audio_len_s=4.0, quality_resampling=way) for way in ("gain", "resample")
    ]
    level, speed = [], []
    with ClipReader(workers=1) as reader:
        for source, clip in reader.read(sources):
            if isinstance(clip, MediaError):
                raise MediaError(f"{source.video}: {clip.message}")
            if not clip.sample_rate or clip.sample_rate == 16000:
                continue
            gain, resampled = (float(waveform(clip.head, way).std()) for way in ways)
            level.append(gain / resampled)
            speed.append(clip.sample_rate / 16000)
    facts: dict[str, Any] = {"clips": len(sources), "clips_not_at_16_khz": len(level)}
    if level:
        facts |= {"level_ratio": [min(level), max(level)], "slowed": [min(speed), max(speed)]}
    return facts


def real_suite(real: Path, folder: Path) -> Path:
    """A suite of every clip in ``real/clips/*``, with its prompt."""
    with (real / "suite.csv").open(encoding="utf-8", newline="") as file:
        prompts = {f"sample_{row:04d}": line["text"] for row, line in enumerate(csv.DictReader(file))}
    path = folder / "real.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text", "pred_video_path"))
        for video in sorted((real / "clips").glob("*/sample_*.mp4")):
            writer.writerow((f"{video.parent.name}-{video.stem}", prompts[video.stem], video.resolve()))
    return path


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder with suite.csv and clips/<maker>/sample_*.mp4")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the recorded results, measure nothing")
    parser.add_argument("--card", action="store_true", help="write the package's copy of them, measure nothing")
    arguments = parser.parse_args()
    if arguments.card:
        CARD.parent.mkdir(exist_ok=True)
        _write(CARD, card(json.loads(arguments.out.read_text(encoding="utf-8"))))
        return
    if arguments.table:
        print(table(json.loads(arguments.out.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = write_weights(folder)
        golden = GOLDEN / "clips"
        results: dict[str, Any] = {
            "weights": "stand-ins, seed 0; " + ", ".join(f"{k} {v}" for k, v in ENCODERS.items()),
            "versions": versions(),
            "settings": {key: [as_override(key, v).partition("=")[2] for v in p] for key, p in differences().items()},
        }
        metrics = (*SET_METRICS, *SAMPLE_METRICS)
        run = folder / "reference"
        results["reference_clips"] = measure(
            run, golden / "fake", GOLDEN / "suite.csv", weights, metrics, str(golden / "real")
        )
        results["reference_clips"]["audio_quality_input"] = audio_quality_input(
            [ClipSource(v.stem, v, v.with_suffix(".wav")) for v in sorted((golden / "fake").glob("*.mp4"))]
        )
        _write(arguments.out, results)
        if arguments.real:
            suite = real_suite(arguments.real, folder)
            results["real_clips"] = measure(folder / "real", None, suite, weights, SAMPLE_METRICS, None)
            results["real_clips"]["audio_quality_input"] = audio_quality_input(
                [ClipSource(str(v), v, None) for v in sorted((arguments.real / "clips").glob("*/sample_*.mp4"))]
            )
            _write(arguments.out, results)


def _result(run: Path, spec: str) -> Any:
    """The result whose protocol is `spec`, whatever the weights added to its name."""
    names = [json.loads((run / "summary.json").read_text(encoding="utf-8"))["run"]["protocol"]]
    names += [folder.name for folder in (run / "protocols").iterdir()]
    tail = tuple(f"{spec}+{encoder}=" for encoder in (*ENCODERS, "weights"))
    found = [name for name in names if name == spec or name.startswith(tail)]
    assert len(found) == 1, (spec, names)
    return javisbench.Result(run, found[0])


def _save(arrays: dict[str, Any], path: Path) -> None:
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def card(results: dict[str, Any]) -> dict[str, Any]:
    """What the package knows of them: by setting, metric and set of clips, the overall value before and its change."""
    effects: dict[str, Any] = {}
    for clips in ("reference_clips", "real_clips"):
        for setting, found in results[clips]["effects"].items() if clips in results else ():
            for metric, effect in found.items() if setting != "all" else ():
                told = {"v1": effect["v1"], "overall": effect["overall"]}
                effects.setdefault(setting, {}).setdefault(metric, {})[clips] = told
    return {
        "schema": 1,
        "source": "benchmarks/results/protocol_effects.json",
        "weights": results["weights"],
        "clips": {clips: results[clips]["clips"] for clips in ("reference_clips", "real_clips") if clips in results},
        "effects": effects,
    }


def _write(path: Path, results: dict[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

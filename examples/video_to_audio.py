"""Video-to-audio: one folder of silent pictures, sounds of two models for them.

    python examples/video_to_audio.py pictures/ sounds_a/ sounds_b/ --suite my_prompts.csv

pictures/ID.mp4, sounds_a/ID.wav and sounds_b/ID.wav belong together. Nothing is copied or muxed: a manifest of each
model says which sound goes with which picture.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import javisbench
from javisbench.results.compare import compare
from javisbench.results.run_folder import load_result
from javisbench.suite import load_suite


def write_manifest(pictures: Path, sounds: Path, ids: list[str], target: Path) -> Path:
    """A row a sample: its picture and the model's sound for it. A sound that lacks is a failure of its model."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "video", "audio"])
        for sample_id in ids:
            rows.writerow(
                [sample_id, (pictures / f"{sample_id}.mp4").resolve(), (sounds / f"{sample_id}.wav").resolve()]
            )
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the sounds of two models for the same pictures.")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("sounds", type=Path, nargs=2)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--metrics", default="av_align,av_sync,health_silence")
    parser.add_argument("--out", type=Path, default=Path("runs/video-to-audio"))
    given = parser.parse_args()
    ids = [sample.id for sample in load_suite(given.suite)]
    results = []
    for sounds in given.sounds:
        run = given.out / sounds.name
        manifest = write_manifest(given.pictures, sounds, ids, given.out / f"{sounds.name}.csv")
        # A feature is stored by the content that it was made from: what is known of the pictures holds for both models.
        if results and not (run / "features").exists():
            shutil.copytree(results[0].folder / "features", run / "features")
        results.append(
            javisbench.score(
                given.pictures,
                suite=given.suite,
                manifest=manifest,
                metrics=given.metrics.split(","),
                protocols=["javisbench-v2"],
                allow_outside=True,
                name=sounds.name,
                out=run,
            )
        )
    for row in compare(*(load_result(result.folder) for result in results)).scores:
        if row.slice == "overall":
            better = {"a": given.sounds[0].name, "b": given.sounds[1].name}.get(row.better or "", "neither, surely")
            print(f"{row.metric}: {row.a} against {row.b}; better: {better}")


if __name__ == "__main__":
    main()

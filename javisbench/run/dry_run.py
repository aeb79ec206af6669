"""What a job would take, told before anything is made or fetched: from cards, from files and clips that are here.

What nobody has measured stays unknown, and is said so: ``javisbench doctor`` measures it on a few clips.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.cards import read_cards
from javisbench.errors import GenerationError, JavisbenchError, MissingWeightsError
from javisbench.places.cache import named
from javisbench.places.remote import Remote
from javisbench.run.device import pick_device, pick_devices

if TYPE_CHECKING:
    from javisbench.baselines.base import Generator, Plan
    from javisbench.run.generation_job import GenerationJob
    from javisbench.run.plan import ScorePlan
    from javisbench.run.scoring_job import ScoringOptions
    from javisbench.weights import WeightStore

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_WAV_SAMPLE_BYTES = 4
_READ_CLIPS = 64


@dataclass(frozen=True)
class Download:
    """Files that a model is made of.

    Attributes:
        part: which of the model.
        source: where they are published.
        size_bytes: how large they are, as recorded or estimated; None when nobody knows.
        size: the same in words.
        licence: of the files.
        here: where they lie on this machine, or None.
        fetch: the command that fetches them; None when they are here.
    """

    part: str
    source: str
    size_bytes: int | None
    size: str
    licence: str
    here: str | None
    fetch: str | None


@dataclass(frozen=True)
class Estimate:
    """A number with its source.

    Attributes:
        value: seconds or bytes; None when it is not known.
        told: the number and where it comes from, or why there is none.
    """

    value: float | None
    told: str


@dataclass(frozen=True)
class DryRun:
    """What a job would take.

    Attributes:
        model: as given.
        run: the folder that it would fill.
        suite: its name.
        clips: how many clips it comes to.
        there: how many of them are made.
        each: what is made of a sample, in words; None when it is not known before the model is here.
        plan: size, frames and rates of a clip; 0 for a stream that the suite gives; None likewise.
        notes: how that differs from what the suite asks, or why it is not known.
        downloads: the model's files, as far as its card lists them.
        elsewhere: where the files are told that no card lists, a sentence a model.
        memory: a lower bound for the device.
        time: of making what is missing.
        disk: what the clips would take.
        free_disk_bytes: where the run folder would lie.
        scoring: metrics that would be missing, each with the reason and the command that mends it.
        judges: what asking judges about all clips would cost, a line each.
        lacks: what the model needs besides weights and is not here (a checkout, a program, a key), a sentence each.
        overlap: whether clips would be encoded while others are made, and why; empty where none would be scored.
    """

    model: str
    run: str
    suite: str
    clips: int
    there: int
    each: str | None
    plan: Mapping[str, Any] | None
    notes: Sequence[str]
    downloads: Sequence[Download]
    memory: Sequence[Estimate]
    time: Estimate
    disk: Estimate
    free_disk_bytes: int
    scoring: Mapping[str, str]
    judges: Sequence[str] = ()
    overlap: str = ""
    elsewhere: Sequence[str] = ()
    lacks: Sequence[str] = ()

    @property
    def to_fetch(self) -> Estimate:
        """Bytes of what is not here."""
        if not self.elsewhere:
            return self._listed
        listed = f"{self._listed.told}; " if self._listed.value != 0 else ""
        return Estimate(None, f"{listed}not known: {'; '.join(self.elsewhere)}")

    @property
    def _listed(self) -> Estimate:
        """Of `downloads` alone."""
        absent = [file for file in self.downloads if file.here is None]
        known = sum(file.size_bytes or 0 for file in absent)
        unknown = [file.part for file in absent if file.size_bytes is None]
        if not absent:
            return Estimate(None, "not known") if self.plan is None else Estimate(0, "nothing")
        if unknown and not known:
            return Estimate(None, "a size that nobody recorded")
        told = gigabytes(known) + (f", and {', '.join(unknown)} of a size that nobody recorded" if unknown else "")
        return Estimate(None if unknown else known, told)

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def look_ahead(
    job: GenerationJob,
    weights_dirs: Sequence[Path] = (),
    scoring: ScoringOptions | None = None,
    overlap: bool | None = None,
) -> DryRun:
    """What `job` would take; makes, fetches and loads nothing.

    Args:
        job: prepared.
        weights_dirs: folders with checkpoints.
        scoring: how the clips would be scored; None when they would not be.
        overlap: as asked for; see `javisbench.run.following`.

    Raises:
        JavisbenchError: the model and the suite do not fit, or a parameter is wrong.
    """
    from javisbench.weights import WeightStore

    store = WeightStore(weights_dirs)
    plan, notes = _planned(job)
    made = _sidecars(job)
    clips = len(job.clips)
    open_clips = clips - len(made)
    cards = cards_of(job.generator)
    scored = None if scoring is None else _scored(job, scoring)
    return DryRun(
        model=str(job.model["spec"]),
        run=named(job.run),
        suite=job.suite.name,
        clips=clips,
        there=len(made),
        each=None if plan is None else job.each(plan),
        plan=None if plan is None else {**asdict(plan), "fps": str(plan.fps), "notes": list(plan.notes)},
        notes=notes,
        downloads=downloads(job.generator, store),
        elsewhere=[_told_elsewhere(card) for card in cards if "recipe" in card and not card.get("files")],
        lacks=[told for part in _parts(job.generator) if (told := part.lacks())],
        memory=[_memory(card, job) for card in cards],
        time=_time(made, cards, open_clips),
        disk=_disk(made, plan, job, open_clips),
        free_disk_bytes=shutil.disk_usage(_existing(job.run)).free,
        scoring={} if scored is None else _lacking(scored),
        judges=[] if scored is None or scoring is None else _judges(scored, job, scoring),
        overlap="" if scored is None or scoring is None else _overlap(scored, job, scoring, overlap),
    )


def cards_of(generator: Generator) -> list[dict[str, Any]]:
    """The model cards of a generator, or of the stages of a cascade."""
    cards = read_cards("models")
    return [cards[part.card_id] for part in _parts(generator) if part.card_id in cards]


def _parts(generator: Generator) -> list[Generator]:
    """The stages of a cascade; of another generator itself."""
    return [stage.generator for stage in getattr(generator, "stages", ())] or [generator]


def downloads(generator: Generator, store: WeightStore) -> list[Download]:
    """The files of a generator, or of the stages of a cascade; files that no card lists are left out."""
    found: list[Download] = []
    for part in _parts(generator):
        for card in cards_of(part):
            found += [_download(file, part, store) for file in card.get("files", ())]
    return found


def _download(file: Mapping[str, Any], generator: Generator, store: WeightStore) -> Download:
    if "entry" in file:
        return _registered(file, store)
    source = str(file.get("source", "source not recorded"))
    here = _files_here(generator, store)
    if here:
        size = sum(path.stat().st_size for path in here)
        place = os.path.commonpath([path.absolute().parent for path in here])
        return Download(file["component"], source, size, gigabytes(size), file["licence"], place, None)
    fetch = f"hf download {source}" if source.count("/") == 1 and " " not in source else None
    return Download(
        file["component"], source, file.get("estimated_bytes"), str(file["size"]), file["licence"], None, fetch
    )


def _told_elsewhere(card: Mapping[str, Any]) -> str:
    told = f"which checkpoints {card['title']} needs, its own instructions say ({card['recipe']['checkout']})"
    parameters, known = card.get("parameters"), card.get("parameters_text")
    if isinstance(parameters, int):
        size = gigabytes(parameters * _BYTES["bfloat16"])
        return f"{told}; its network has {known or parameters}, which are {size} in 16 bits"
    return f"{told}; its size in parameters: {known}" if known else told


def _registered(file: Mapping[str, Any], store: WeightStore) -> Download:
    entry = store.entry(file["entry"])
    guessed = read_cards("weights")[entry.id].get("estimated_bytes")
    size = entry.total_bytes or guessed
    told = f"{'' if entry.total_bytes else 'about '}{gigabytes(size)}" if size else "size not recorded"
    try:
        here, fetch = str(store.find(entry.id)), None
    except MissingWeightsError:
        here, fetch = None, entry.fetch_command
    return Download(file["component"], entry.source, size, told, entry.licence, here, fetch)


def _files_here(generator: Generator, store: WeightStore) -> list[Path]:
    from javisbench.baselines.checkout import Checkout

    try:
        found = generator.files(store)
    except JavisbenchError:
        return []
    if isinstance(generator, Checkout):  # the code of a checkout comes without its checkpoints
        return list(found.get("weights", ()))
    return [path for paths in found.values() for path in paths]


def _planned(job: GenerationJob) -> tuple[Plan | None, list[str]]:
    from javisbench.baselines.registry import naming_package

    try:
        with naming_package(job.generator, "plan"):
            plan = job.generator.plan(job.suite.setting_to_make)
    except MissingWeightsError as error:
        return None, [f"not known before the model is here: {error.sentence}"]
    except GenerationError as error:
        if error.kind != "import":
            raise
        return None, [f"not known: {error.sentence}"]
    facts = job.suite.task_facts
    if not facts.makes_picture:
        plan = replace(plan, width=0, height=0, frames=0)
    if not facts.makes_sound:
        plan = replace(plan, audio_samples=0)
    return plan, list(plan.notes)


def _memory(card: Mapping[str, Any], job: GenerationJob) -> Estimate:
    """A lower bound: what the network's parameters take."""
    title, parameters = card["title"], card.get("parameters")
    told = [str(text) for name, text in card.get("memory", {}).items() if name != "time"]
    if not isinstance(parameters, int):
        return Estimate(None, f"{title}: {'; '.join(told) or 'not known: its card names no number of parameters'}")
    device = pick_device(job.settings.device) if job.settings.engine == "local" else "cuda"
    kind = str(job.params.get("dtype") or job.settings.dtype)
    if kind == "auto":
        kind = "bfloat16" if device.startswith("cuda") else "float32"
    least = parameters * _BYTES.get(kind, 4)
    return Estimate(
        least,
        f"{title}: at least {gigabytes(least)} on {device} ({parameters:,} parameters of the network in {kind}); "
        + ("its card: " + "; ".join(told) if told else "activations not measured"),
    )


def _time(made: Sequence[Mapping[str, Any]], cards: Sequence[Mapping[str, Any]], clips: int) -> Estimate:
    if not clips:
        return Estimate(0, "none: every clip is made")
    measured = [seconds for facts in made[:_READ_CLIPS] if (seconds := _seconds(facts)) is not None]
    if measured:
        # The files of a clip are written while the next one is made.
        each = max(statistics.fmean(part) for part in zip(*measured, strict=True))
        where = made[0].get("device_kind") or made[0].get("device") or "this machine"
        told = f"{each:.2f} s a clip, measured on {len(measured)} of this run, {where}"
        return Estimate(each * clips, f"{_hours(each * clips)} ({told})")
    rates = [card["rate"] for card in cards if "rate" in card]
    if rates and len(rates) == len(cards):
        each = sum(float(rate["seconds"]) for rate in rates)
        sources = "; ".join(f"{rate['source']}, on {rate['on']}" for rate in rates)
        return Estimate(each * clips, f"{_hours(each * clips)} ({each:g} s a clip: {sources}; not measured here)")
    return Estimate(None, "not known: nobody has measured this model here. `javisbench doctor SUITE --model ...` does")


def _seconds(facts: Mapping[str, Any]) -> tuple[float, float] | None:
    """Seconds that a clip took in the model and for writing its files, as its sidecar says."""
    made, written = facts.get("made_s"), facts.get("encode_s")
    return (made, written) if isinstance(made, int | float) and isinstance(written, int | float) else None


def _disk(made: Sequence[Mapping[str, Any]], plan: Plan | None, job: GenerationJob, clips: int) -> Estimate:
    sizes = [_size(job.run, facts) for facts in made[:_READ_CLIPS]]
    if sizes:
        each = statistics.fmean(sizes)
        return Estimate(each * clips, f"{gigabytes(each * clips)} ({gigabytes(each)} a clip, as those of this run)")
    if plan is None:
        return Estimate(None, "not known before the model is here")
    sound = plan.audio_samples * plan.channels * _WAV_SAMPLE_BYTES * clips
    told = f"{gigabytes(sound)} of sound (exact: samples x channels x 4 bytes) and " if sound else ""
    if not plan.frames:
        return Estimate(sound, told.removesuffix(" and "))
    return Estimate(None, f"{told}pictures, whose size is known after the first clips (it depends on what is seen)")


def _size(run: Path, facts: Mapping[str, Any]) -> int:
    paths = (run / "clips" / Path(name).name for name in facts.get("files", {}))
    return sum(_bytes(path) for path in paths if path.is_file())


def _bytes(path: Path) -> int:
    """Of a run at a URL the clips are there, and here are their names."""
    remote = Remote.read(path)
    return path.stat().st_size if remote is None else remote.size or 0


def _sidecars(job: GenerationJob) -> list[dict[str, Any]]:
    """What the sidecars of this job's clips hold; those that cannot be read are left out."""
    from javisbench.matching import clip_name

    found = []
    for sample, repeat in job.clips:
        path = job.run / "clips" / f"{clip_name(sample.id, repeat)}.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(facts, dict):
            found.append(facts)
    return found


def _scored(job: GenerationJob, scoring: ScoringOptions) -> ScorePlan:
    """What would be scored."""
    from javisbench.run.plan import make_plan
    from javisbench.run.scoring_job import resolve_protocols
    from javisbench.weights import WeightStore

    return make_plan(
        job.suite,
        resolve_protocols(scoring, job.suite),
        metrics=scoring.metrics,
        variants=scoring.encoders,
        weights=WeightStore(scoring.weights_dirs),
        # Real clips are not looked for: they cost no download that is not told otherwise.
        has_reference=True,
    )


def _judges(plan: ScorePlan, job: GenerationJob, scoring: ScoringOptions) -> list[str]:
    """What judging every clip would cost; a run that has answers asks for less."""
    from javisbench.run.judging.forecast import forecast_clips

    return [forecast.line for forecast in forecast_clips(plan, job.clips, scoring.judge)]


def _overlap(plan: ScorePlan, job: GenerationJob, scoring: ScoringOptions, asked: bool | None) -> str:
    from javisbench.run.following import overlap_of

    devices = pick_devices(scoring.device) if scoring.engine == "local" else ()
    return overlap_of(asked, job.generator, scoring.engine, devices, plan).told


def _lacking(plan: ScorePlan) -> dict[str, str]:
    """Metrics that would have no value, each with the reason."""
    return {
        metric: cell.note
        for part in plan.parts
        for metric, cell in part.unavailable.items()
        if cell.status == "missing_weights" and cell.note
    }


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def gigabytes(size: float) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _hours(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.1f} s"

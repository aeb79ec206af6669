"""The copies of good clips that a trial scores: stored once each, found again when the trial is taken up again.

clips/<sample id>/good.mp4, good.wav     the clip as it is; the picture without sound, the sound lossless
                  window-700.mp4, .wav   what windowed damages are compared with (margin in ms)
                  blurred=2.mp4          a damaged picture; its sound is good.wav
                  shift=160.wav          a damaged sound; its picture is that of the window
                  copies.json            which there are and why others are not, written last
"""

from __future__ import annotations

import logging
import shutil
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.damages import DAMAGES
from javisbench.damages.base import window_of
from javisbench.durable import read_json, write_json
from javisbench.errors import DamageError, JavisbenchError, MediaError, RunError, SystemFaultError
from javisbench.run.store_clip import storing
from javisbench.run.trial.material import kinds_of

if TYPE_CHECKING:
    import numpy as np

    from javisbench.clip import Clip
    from javisbench.damages.base import Partner
    from javisbench.run.progress import Progress, Stage
    from javisbench.run.trial.cases import TrialCase
    from javisbench.run.trial.material import Material
    from javisbench.suite import Sample

log = logging.getLogger(__name__)
GOOD = "good"
_RECORD = "copies.json"
_NO_SOUND = "the clip has no sound that could be damaged"
_MIB = 2**20


@dataclass(frozen=True)
class Copy:
    """One file pair to score, by names within the clip's folder.

    Attributes:
        picture: stem of the mp4.
        sound: stem of the wav.
        good: stem of both files of the good copy that it is compared with.
        prompt_of: id of the sample whose prompts it is scored with, or empty for its own.
    """

    picture: str
    sound: str
    good: str = GOOD
    prompt_of: str = ""


@dataclass
class Copies:
    """All copies of all usable clips.

    Attributes:
        folder: of the copies.
        samples: those whose clip could be used, in suite order.
        made: sample id to case name to its copy, or to why there is none.
        left_out: sample id to why its clip could not be used.
    """

    folder: Path
    samples: list[Sample] = field(default_factory=list)
    made: dict[str, dict[str, Copy | str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def files(self, sample_id: str, copy: Copy) -> tuple[Path, Path]:
        """Video and sound of a copy."""
        folder = self.folder / sample_id
        return folder / f"{copy.picture}.mp4", folder / f"{copy.sound}.wav"


def make_copies(
    material: Material,
    samples: Sequence[Sample],
    cases: Sequence[TrialCase],
    folder: Path,
    *,
    seed: int,
    workers: int,
    progress: Progress,
) -> Copies:
    """Store what is not there yet of the good clips and their damaged copies.

    Args:
        material: where good clips come from.
        samples: those to use.
        cases: damages with their doses.
        folder: of the copies.
        seed: of random damage.
        workers: threads that encode.
        progress: shown to the user.

    Raises:
        SystemFaultError: the disk has too little room for all of them.
        MediaError: a copy cannot be stored.
    """
    found = Copies(folder, left_out=material.missing())
    there = [sample for sample in samples if sample.id not in found.left_out]
    alone = [case for case in cases if case.damage.card.partner is None]
    origins = {sample.id: material.origin(sample) for sample in there}
    todo = []
    for sample in there:
        known = _recorded(folder / sample.id, origins[sample.id])
        if known is None or any(case.name not in known for case in alone):
            todo.append(sample)
        else:
            found.made[sample.id] = known
    with progress.stage("damaging", len(todo)) as stage, ThreadPoolExecutor(workers) as threads:
        maker = _Maker(found, seed, threads.map, progress, stage)
        maker.make(material, todo, alone, origins)
        found.samples = [sample for sample in there if sample.id in found.made]
        maker.make_with_partners([case for case in cases if case.damage.card.partner is not None], origins)
    return found


def _recorded(folder: Path, origin: str) -> dict[str, Copy | str] | None:
    """What was made of a clip before; None where nothing was, or of another origin."""
    try:
        record = read_json(folder / _RECORD) if (folder / _RECORD).is_file() else None
        if not isinstance(record, dict) or record.get("origin") != origin:
            return None
        return {
            name: entry if isinstance(entry, str) else Copy(**entry) for name, entry in dict(record["copies"]).items()
        }
    except SystemFaultError:
        raise
    except (RunError, KeyError, TypeError, ValueError):
        return None


@dataclass
class _Maker:
    found: Copies
    seed: int
    each: Callable[..., Any]
    progress: Progress
    stage: Stage
    told: bool = False

    def make(
        self, material: Material, todo: Sequence[Sample], cases: Sequence[TrialCase], origins: dict[str, str]
    ) -> None:
        """The copies for which a clip itself is enough."""
        for sample, clip in material.clips(todo):
            reason = clip.message if isinstance(clip, JavisbenchError) else _NO_SOUND if clip.audio is None else ""
            if reason or isinstance(clip, JavisbenchError):
                self.found.left_out[sample.id] = reason
                self.stage.advance(failed=sample.id)
                continue
            made = self._copies(sample, _on_grid(clip), cases)
            self._keep(sample.id, made, origins[sample.id])
            self._tell_size(sample.id, len(todo))
            self.stage.advance()

    def _copies(self, sample: Sample, clip: Clip, cases: Sequence[TrialCase]) -> dict[str, Copy | str]:
        from javisbench.media import write_sound

        folder = self.found.folder / sample.id
        made: dict[str, Copy | str] = {GOOD: Copy(GOOD, GOOD)}
        margins: dict[str, float] = {}
        jobs: list[tuple[TrialCase, str]] = []
        for case in cases:
            try:
                margin_s = case.damage.margin_s(clip, case.dose or 0.0) if case.damage.card.windowed else None
            except DamageError as error:
                made[case.name] = error.message
                continue
            good = GOOD if margin_s is None else f"window-{round(1000 * margin_s)}"
            if margin_s is not None:
                margins[good] = margin_s
            jobs.append((case, good))
        with storing(folder):
            write_sound(clip, folder / f"{GOOD}.wav")
        pictures = {GOOD: clip, **{name: window_of(clip, margin_s) for name, margin_s in margins.items()}}
        for name, window in pictures.items():
            with storing(folder):
                write_sound(window, folder / f"{name}.wav")
        list(self.each(lambda item: _write_picture(item[1], folder / f"{item[0]}.mp4"), pictures.items()))
        outcomes = self.each(lambda job: self._one(sample, clip, job[0], job[1], None), jobs)
        return made | {case.name: outcome for (case, _), outcome in zip(jobs, outcomes, strict=True)}

    def _one(self, sample: Sample, clip: Clip, case: TrialCase, good: str, other: Clip | None) -> Copy | str:
        """Make and store one copy; why it cannot be made, where it cannot."""
        from javisbench.media import write_sound

        card, folder = case.damage.card, self.found.folder / sample.id
        try:
            damaged = case.damage.apply(clip, case.dose or 0.0, self._rng(sample, case), other)
        except DamageError as error:
            return error.message
        except Exception as error:
            if DAMAGES.plugin(card.id) is None:
                raise
            # A damage of another package: its defect costs its own column.
            log.exception("The damage %s failed on %s", card.id, sample.id)
            return DAMAGES.defect(card.id, "apply", error)
        if card.stream in ("picture", "both"):
            _write_picture(damaged, folder / f"{case.name}.mp4")
        if card.stream in ("sound", "both"):
            try:
                with storing(folder):
                    write_sound(damaged, folder / f"{case.name}.wav")
            except MediaError as error:
                return error.message
        return Copy(
            case.name if card.stream in ("picture", "both") else good,
            case.name if card.stream in ("sound", "both") else good,
            good,
        )

    def _rng(self, sample: Sample, case: TrialCase) -> np.random.Generator:
        import numpy as np

        # Of the case's own name, so that the others asked for do not change it.
        return np.random.default_rng([self.seed, sample.index, zlib.crc32(case.name.encode())])

    def make_with_partners(self, cases: Sequence[TrialCase], origins: dict[str, str]) -> None:
        """The copies that take something of another clip: of its stored sound, or of its prompts."""
        for place, sample in enumerate(self.found.samples):
            partners: dict[str, Sample | str] = {}
            made = self.found.made[sample.id]
            for case in cases:
                kind = case.damage.card.partner
                assert kind is not None
                partner = partners.setdefault(kind, self._partner(place, kind))
                # Which clip is next depends on which others can be used: these are made anew.
                made[case.name] = partner if isinstance(partner, str) else self._from(sample, partner, case)
            if cases:
                self._keep(sample.id, made, origins[sample.id])

    def _partner(self, place: int, kind: Partner) -> Sample | str:
        samples = self.found.samples
        own = kinds_of(samples[place])
        if kind != "any" and not own:
            return "the clip is of no category of sound, family or group"
        for step in range(1, len(samples)):
            other = samples[(place + step) % len(samples)]
            shared = bool(own & kinds_of(other))
            if kind == "any" or shared == (kind == "same"):
                return other
        return {"any": "there is no other clip", "same": "no other clip is of its category"}.get(
            kind, "all other clips are of its category"
        )

    def _from(self, sample: Sample, partner: Sample, case: TrialCase) -> Copy | str:
        if case.damage.card.stream == "prompt":
            return Copy(GOOD, GOOD, prompt_of=partner.id) if partner.prompts else "the other clip has no prompt"
        own, other = (_stored_sound(self.found.folder / name.id / f"{GOOD}.wav") for name in (sample, partner))
        return self._one(sample, own, case, GOOD, other)

    def _keep(self, sample_id: str, made: dict[str, Copy | str], origin: str) -> None:
        self.found.made[sample_id] = made
        copies = {name: entry if isinstance(entry, str) else vars(entry) for name, entry in made.items()}
        write_json(self.found.folder / sample_id / _RECORD, {"origin": origin, "copies": copies})

    def _tell_size(self, sample_id: str, clips: int) -> None:
        """After the first clip: how large all copies will be.

        Raises:
            SystemFaultError: the disk has too little room for them.
        """
        if self.told:
            return
        self.told = True
        one = sum(path.stat().st_size for path in (self.found.folder / sample_id).iterdir())
        wanted, free = one * clips, shutil.disk_usage(self.found.folder).free
        sizes = f"{one / _MIB:.1f} MiB a clip, about {wanted / _MIB:.0f} MiB in all; {free / _MIB:.0f} MiB are free"
        self.progress.say(f"Copies in {self.found.folder}: {sizes}")
        if wanted > free:
            raise SystemFaultError(
                f"{self.found.folder} has no room for the copies: {sizes}. Free space and run the same command again; "
                f"fewer damages, or --limit, need less.",
                kind="no_space",
            )


def _on_grid(clip: Clip) -> Clip:
    """The clip with its sound rounded to 16 bits, as it is stored: damage is done to what the good copy holds."""
    import numpy as np

    assert clip.audio is not None
    sound = np.clip(np.rint(clip.audio.astype(np.float64) * 32768), -32768, 32767) / 32768
    return replace(clip, audio=sound.astype(np.float32))


def _write_picture(clip: Clip, path: Path) -> None:
    from javisbench.media import write_clip

    with storing(path.parent):
        write_clip(replace(clip, audio=None, sample_rate=None, audio_source="none"), path, sidecar=False)


def _stored_sound(path: Path) -> Clip:
    """A stored sound under a single black frame."""
    from fractions import Fraction

    import numpy as np
    import soundfile

    from javisbench.clip import Clip

    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return Clip(np.zeros((1, 2, 2, 3), np.uint8), Fraction(1), np.ascontiguousarray(sound.T), rate, "sidecar")

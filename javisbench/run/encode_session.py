"""The encoders, store and settings of a job, and what becomes of an encoder that fails."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from javisbench.errors import FeatureError, JavisbenchError, PluginError, SystemFaultError
from javisbench.media import DecodeLimits
from javisbench.metrics.encoders import ENCODERS
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.run.features import FeatureStore, contents, feature_key
from javisbench.system_faults import Places, fault_of, is_out_of_memory, tried_again

if TYPE_CHECKING:
    from javisbench.metrics.encoders.base import Encoder, EncoderCard, Features, Intake
    from javisbench.reference.wanted import EncoderChoice

log = logging.getLogger(__name__)
Encoded = dict["FeatureSpec", Any]
T = TypeVar("T")
Precision: TypeAlias = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
COMPILED = "compiled"
_BATCHES_AHEAD = 2
# Clips are gone through one by one: what was known of earlier ones is not asked for again soon.
_MOST_PLACES = 4096


@dataclass
class EncodeSession:
    """Encoders, store and settings of one job; networks are loaded when the first clip needs them.

    Attributes:
        encoders: by name.
        store: where features go.
        device: torch device of the networks in this process.
        workers: decoding processes, each with a thread in which frames are prepared and encoders without a network run.
        precision: what is faster than ``fp32`` is for the networks whose card allows it.
        compiled: whether networks whose encoder says so run as ``torch.compile`` makes them.
        batch_clips: clips or prompts that make a batch; None for as many as fill the device (`Encoder.full_batch`). On
            a CPU 1, so that results do not depend on sharding or resuming.
        limits: of decoding.
        feature_errors: by key, why a clip or prompt has no feature.
        broken: encoders of other packages that do not load: they are left out.
        devices: torch devices that share the clips (`javisbench.run.devices`).
        listed: where the clips were listed, to tell later whether a folder has gone (`javisbench.system_faults`).
    """

    encoders: Mapping[str, EncoderChoice]
    store: FeatureStore
    device: str
    workers: int
    batch_clips: int | None
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    precision: Precision = "fp32"
    compiled: bool = False
    feature_errors: dict[str, JavisbenchError] = field(default_factory=dict)
    broken: dict[str, PluginError] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu",)
    listed: Places = field(default_factory=Places)
    _loaded: dict[str, Encoder] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)
    _places: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    # Encoders that have made something here; and those whose last item found no memory: one may be too large, two in a
    # row are the machine's trouble.
    _worked: set[str] = field(default_factory=set)
    _starved: set[str] = field(default_factory=set)

    def with_store(self, store: FeatureStore) -> EncodeSession:
        """A session with the same networks that knows nothing but what is in `store`."""
        return replace(self, store=store, feature_errors={}, _places={})

    def key(self, content: str, spec: FeatureSpec) -> str:
        """The store's key of one feature of one clip or prompt."""
        choice = self.encoders[spec.encoder]
        ways = ways_of(choice.cls, self.precision, compiled=self.compiled)
        label = f"{choice.label}@{ways}" if ways else choice.label
        return feature_key(content, label, choice.cls.card.revision, choice.weights_hash, spec)

    def keys(self, content: str, spec: FeatureSpec) -> list[str]:
        """Where one feature of one clip or prompt may be stored, the best place first."""
        stream = self.encoders[spec.encoder].cls.stream(spec) if spec.subject == "clip" else "both"
        places = self._places.get((content, stream))
        if places is None:
            places = list(contents(self.store, content, stream))
            if len(places) > 1:  # of a clip that is not decoded yet, more will be known
                if len(self._places) >= _MOST_PLACES:
                    self._places.clear()
                self._places[content, stream] = places
        return [self.key(known, spec) for known in places]

    def stored(self, content: str, spec: FeatureSpec) -> Features:
        """A feature of a clip or prompt.

        Raises:
            FeatureError: there is none, and why.
        """
        keys = self.keys(content, spec)
        for key in keys:
            if key in self.store:
                return self.store.get(key)
        if spec.encoder in self.broken:
            raise FeatureError(self.broken[spec.encoder].message, kind="encoder_failed")
        error = next((self.feature_errors[key] for key in keys if key in self.feature_errors), None)
        raise error or FeatureError("The features are missing from the store.")

    @property
    def batches_ahead(self) -> int:
        """Batches that the device is given beside the one whose results are taken."""
        return 0 if self.device == "cpu" else _BATCHES_AHEAD

    def reduces(self, card: EncoderCard) -> bool:
        """Whether an encoder computes in less than fp32 here."""
        return self.precision != "fp32" and card.reduced_precision

    def encode(self, encoder: Encoder, items: Sequence[str], specs: list[FeatureSpec]) -> list[Encoded]:
        """Encode prompts in the session's precision; a defect on one item costs that item, not the run."""
        return self._guarded(encoder, items, specs, lambda some: encoder.encode(some, specs))

    def features(self, encoder: Encoder, intakes: Sequence[Intake], specs: list[FeatureSpec]) -> list[Encoded]:
        """Features of clips whose frames have come, in the session's precision; a defect costs its clip alone."""
        return self._guarded(encoder, intakes, specs, encoder.features)

    def start(
        self, encoder: Encoder, intakes: Sequence[Intake], specs: list[FeatureSpec]
    ) -> Callable[[], list[Encoded]]:
        """Set the features of clips going; what is returned waits for them, and costs no more than `features`."""
        try:
            with self.precise(encoder):
                going = encoder.start(intakes)
        except Exception as error:  # noqa: BLE001 - a defect of an encoder costs its clips, not the run
            made = self._apart(encoder, intakes, specs, encoder.features, error)
            return lambda: made

        def finished() -> list[Encoded]:
            try:
                made = _checked(going(), intakes, specs)
            except Exception as error:  # noqa: BLE001 - a defect of an encoder costs its clips, not the run
                return self._apart(encoder, intakes, specs, encoder.features, error)
            self._has_worked(encoder)
            return made

        return finished

    @contextmanager
    def precise(self, encoder: Encoder) -> Iterator[None]:
        """Inside, the encoder's network computes in the session's precision. Holds for the calling thread."""
        if encoder.card.host:
            yield
            return
        import torch

        with torch.inference_mode():
            if not self.reduces(encoder.card) or self.precision == "tf32":  # which holds for the process (`arithmetic`)
                yield
                return
            dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
            with torch.autocast(torch.device(self.device).type, dtype):
                yield

    def _guarded(
        self,
        encoder: Encoder,
        items: Sequence[T],
        specs: list[FeatureSpec],
        make: Callable[[Sequence[T]], list[Encoded]],
    ) -> list[Encoded]:
        try:
            with self.precise(encoder):
                made = _checked(make(items), items, specs)
        except Exception as error:  # noqa: BLE001 - a defect of an encoder costs its clips, not the run
            return self._apart(encoder, items, specs, make, error)
        self._has_worked(encoder)
        return made

    def _has_worked(self, encoder: Encoder) -> None:
        self._worked.add(encoder.card.name)
        self._starved.discard(encoder.card.name)

    def _apart(
        self,
        encoder: Encoder,
        items: Sequence[T],
        specs: list[FeatureSpec],
        make: Callable[[Sequence[T]], list[Encoded]],
        error: Exception,
    ) -> list[Encoded]:
        """What can be made of a batch that failed: of its halves where memory ran out, else of each item by itself.

        Raises:
            SystemFaultError: the system failed, and does not recover.
        """
        if len(items) > 1:
            log.warning("%s failed on a batch of %d (%s); trying it in parts", encoder.card.name, len(items), error)
            size = -(-len(items) // 2) if is_out_of_memory(error) else 1
            parts = [items[start : start + size] for start in range(0, len(items), size)]
            return [made for part in parts for made in self._guarded(encoder, part, specs, make)]

        def again() -> list[Encoded] | Exception:
            try:
                with self.precise(encoder):
                    return _checked(make(items), items, specs)
            except Exception as failure:  # noqa: BLE001 - as above
                return failure

        name = encoder.card.name
        # One that has never had room here does not fit, which is no passing trouble. And what runs on the host runs in
        # a thread of the reader, where nobody could end a wait.
        hopeless = name in self._starved - self._worked
        patience_s = 0.0 if encoder.card.host or hopeless else self.limits.patience_s
        outcome, fault = tried_again(error, again, fault_of, patience_s, name)
        if not isinstance(outcome, Exception):
            self._has_worked(encoder)
            return outcome
        if fault is not None and (fault.certain or name in self._starved & self._worked):
            raise SystemFaultError(f"{encoder.card.title} failed: {fault.reason}")
        if fault is not None:
            self._starved.add(name)
        if self.is_new(encoder, outcome):
            log.error("%s failed", encoder.card.name, exc_info=outcome)
        return [dict.fromkeys(specs, defect(encoder, outcome))]

    def is_new(self, encoder: Encoder, error: Exception) -> bool:
        """Whether a defect is another than those seen before: of thousands of clips with one, one traceback is told."""
        kind = (encoder.card.name, f"{type(error).__name__}: {error}")
        new = kind not in self._told
        self._told.add(kind)
        return new

    def encoder(self, name: str) -> Encoder:
        """The encoder, loaded.

        Raises:
            WeightsError: its weights do not fit.
            PluginError: it is another package's, and does not load.
        """
        if name not in self._loaded:
            choice = self.encoders[name]
            with ENCODERS.guarded(name, "load"):
                encoder = choice.load(self.device)
                if self.compiled:
                    encoder.compile()
                self._loaded[name] = encoder
        return self._loaded[name]

    def load(self, names: Iterable[str]) -> None:
        """Load encoders; those of other packages that do not load are noted as broken.

        Raises:
            WeightsError: the weights of one of this package's encoders do not fit.
        """
        for name in sorted(set(names) - self.broken.keys()):
            try:
                self.encoder(name)
            except PluginError as error:
                self.broken[name] = error

    def whole(self, missing: Mapping[str, list[FeatureSpec]]) -> dict[str, list[FeatureSpec]]:
        """What of `missing` is no broken encoder's."""
        return {name: specs for name, specs in missing.items() if name not in self.broken}

    def missing(self, content: str, specs: Iterable[FeatureSpec]) -> dict[str, list[FeatureSpec]]:
        """Encoder name to those of `specs` that are neither stored nor known to fail."""
        todo: dict[str, list[FeatureSpec]] = {}
        for spec in specs:
            if not any(key in self.store or key in self.feature_errors for key in self.keys(content, spec)):
                todo.setdefault(spec.encoder, []).append(spec)
        return {name: sorted(found, key=repr) for name, found in sorted(todo.items())}

    def keep(self, content: str, encoded: Encoded) -> int:
        """Store one item's features; remember its errors. Returns how many failed."""
        failed = 0
        for spec, features in encoded.items():
            key = self.keys(content, spec)[0]
            if isinstance(features, JavisbenchError):
                self.feature_errors[key] = features
                failed += 1
            else:
                self.feature_errors.pop(key, None)
                self.store.put(key, features)
        return failed

    def leave_device(self) -> None:
        """Free the networks, and the memory that the device keeps for more of them."""
        for encoder in self._loaded.values():
            encoder.close()
        if self._loaded and self.device != "cpu":
            import torch

            torch.cuda.empty_cache()
        self._loaded.clear()

    def close(self) -> None:
        """Free the networks and write what is pending."""
        self.store.flush()
        self.leave_device()


def ways_of(encoder: type[Encoder], precision: Precision, *, compiled: bool) -> str:
    """How an encoder computes where that is not in fp32 and step by step: ``bf16``, ``compiled``, ``bf16+compiled``."""
    reduced = [precision] if precision != "fp32" and encoder.card.reduced_precision else []
    return "+".join([*reduced, *([COMPILED] if compiled and encoder.compiled_parts else [])])


def prompt_hash(prompt: str) -> str:
    """Content hash of a prompt."""
    return hashlib.sha256(b"prompt\0" + prompt.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Inside, float32 means float32 in matrix products and convolutions, or TF32 where that is asked for; no gradients.

    Holds for the whole process.
    """
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _checked(made: Sequence[Encoded], items: Sequence[Any], specs: Sequence[FeatureSpec]) -> list[Encoded]:
    """What an encoder made of a batch, each item with all its features as arrays, or with the error of each.

    Raises:
        TypeError: it is something else.
    """
    import numpy as np

    if len(made) != len(items):
        raise TypeError(f"{len(items)} items gave {len(made)} results")
    for encoded in made:
        for spec in specs:
            features = encoded[spec]
            if isinstance(features, JavisbenchError):
                continue
            for name, array in features.items():
                if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                    raise TypeError(f"{spec.feature}/{name} is no array of numbers but {type(array).__name__}")
    return [{spec: encoded[spec] for spec in specs} for encoded in made]


def defect(encoder: Encoder, error: Exception) -> FeatureError:
    """What a clip or prompt has in place of the features that an encoder failed to make."""
    name = encoder.card.name
    if ENCODERS.plugin(name) is not None:
        return FeatureError(ENCODERS.defect(name, "encode", error), kind="encoder_failed")
    message = f"{encoder.card.title} failed: {type(error).__name__}: {error}. The log has the details."
    return FeatureError(message, kind="encoder_failed")

"""Statistics files: real features in one safetensors file, with what made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from javisbench.durable import sweep_earlier, write_bytes
from javisbench.errors import JavisbenchError, MediaError, ReferenceFeaturesError
from javisbench.metrics.encoders.base import FeatureSpec
from javisbench.system_faults import raise_if_system

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from javisbench.media import ClipSource
    from javisbench.reference.wanted import Wanted
    from javisbench.suite import Suite

REFERENCE_SCHEMA = 1
MAX_HEADER_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Feature:
    """One feature of a statistics file.

    Attributes:
        spec: what was asked of the encoder.
        encoder: encoder and variant (``i3d=kinetics400``).
        weights_sha256: of its weights.
        protocols: names of the protocols that prepare it so.
        sample_ids: one a row.
        rows: float32 ``(n, d)``; of FID ``(n, frames, d)``.
    """

    spec: FeatureSpec
    encoder: str
    weights_sha256: str
    protocols: tuple[str, ...]
    sample_ids: tuple[str, ...]
    rows: NDArray[Any]

    @property
    def name(self) -> str:
        """The array's name in the file."""
        prep = hashlib.sha256(repr(self.spec.prep).encode()).hexdigest()[:8]
        return f"{self.spec.encoder}/{self.spec.feature}/{prep}"


@dataclass(frozen=True)
class StoredReference:
    """A statistics file: features of a suite's real clips.

    Attributes:
        path: the file.
        facts: suite, its hash, the clips' hashes, versions, date.
        features: what it holds.
    """

    path: Path
    facts: Mapping[str, Any]
    features: tuple[Feature, ...]

    @classmethod
    def load(cls, path: Path) -> StoredReference:
        """Read and check a statistics file.

        Raises:
            ReferenceFeaturesError: it is damaged, or of another kind.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                facts = json.loads((file.metadata() or {})["javisbench_reference"])
                if facts["schema"] > REFERENCE_SCHEMA:
                    raise ReferenceFeaturesError(f"{path} was written by a newer javisbench. Update this one.")
                features = tuple(_feature(entry, file.get_tensor(entry["array"])) for entry in facts["features"])
        except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RecursionError, OSError) as error:
            raise_if_system(error, path)
            raise ReferenceFeaturesError(
                f"{path} is no statistics file of `javisbench reference build`: {error}."
            ) from error
        return cls(path, facts, features)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        from safetensors.numpy import save

        entries = [
            {
                "array": f.name,
                "encoder": f.encoder,
                "feature": f.spec.feature,
                "prep": [list(pair) for pair in f.spec.prep],
                "weights_sha256": f.weights_sha256,
                "protocols": list(f.protocols),
                "sample_ids": list(f.sample_ids),
            }
            for f in self.features
        ]
        facts = {**self.facts, "schema": REFERENCE_SCHEMA, "features": entries}
        arrays = {f.name: f.rows for f in self.features}
        sweep_earlier(self.path)
        write_bytes(self.path, save(arrays, metadata={"javisbench_reference": json.dumps(facts)}))

    def sources(self, suite: Suite) -> Sequence[ClipSource]:
        """None: the features are here."""
        return ()

    def check(self, suite: Suite, wanted: Wanted) -> None:
        """The feature must be here, of the same encoder and weights, with a row for every sample."""
        feature = self._find(wanted)
        absent = [sample.id for sample in suite if sample.id not in set(feature.sample_ids)]
        if self.facts.get("suite") != suite.name or self.facts.get("suite_hash") != suite.hash:
            raise ReferenceFeaturesError(
                f"{self.path.name} was made for the suite {self.facts.get('suite')} ({len(feature.sample_ids)} "
                f"samples); {suite.name} is another sample set. Build one: javisbench reference build --suite "
                f"{suite.name}"
            )
        if len(absent) == len(suite):
            raise ReferenceFeaturesError(f"{self.path.name} has no row for any of the {len(suite)} samples.")

    def _find(self, wanted: Wanted) -> Feature:
        for feature in self.features:
            if feature.spec == wanted.spec:
                self._check_encoder(feature, wanted)
                return feature
        made = sorted({name for feature in self.features for name in feature.protocols})
        raise ReferenceFeaturesError(
            f"{self.path.name} was made under {', '.join(made)} and holds nothing that {wanted.protocol.name} needs of "
            f"{wanted.encoder.cls.card.title}. Build it from the real clips: javisbench reference build --protocol "
            f"{wanted.protocol.base}"
        )

    def _check_encoder(self, feature: Feature, wanted: Wanted) -> None:
        if feature.encoder != wanted.encoder.label or feature.weights_sha256 != wanted.encoder.weights_hash:
            raise ReferenceFeaturesError(
                f"{self.path.name} was made with {feature.encoder} (weights {feature.weights_sha256[:8]}...), this run "
                f"uses {wanted.encoder.label} (weights {wanted.encoder.weights_hash[:8]}...). Both sides need the same."
            )

    def rows(
        self, suite: Suite, wanted: Wanted, encoded: Callable[[ClipSource], NDArray[Any] | JavisbenchError]
    ) -> Mapping[str, NDArray[Any] | JavisbenchError]:
        """The stored rows; samples whose real clip could not be read have none."""
        feature = self._find(wanted)
        rows: dict[str, NDArray[Any] | JavisbenchError] = {}
        stored = dict(zip(feature.sample_ids, feature.rows, strict=True))
        for sample in suite:
            missing = MediaError(f"{self.path.name} has no row for this sample.", kind="missing_reference_clip")
            rows[sample.id] = stored.get(sample.id, missing)
        return rows

    def describe(self) -> dict[str, Any] | None:
        """Kind, file, suite, and the protocols it was made under."""
        protocols = sorted({name for feature in self.features for name in feature.protocols})
        rows = max((len(feature.sample_ids) for feature in self.features), default=0)
        return {"kind": "statistics", "origin": self.path.name, "clips": rows, "protocols": protocols}


def _feature(entry: Mapping[str, Any], rows: NDArray[Any]) -> Feature:
    import numpy as np

    ids = tuple(str(sample_id) for sample_id in entry["sample_ids"])
    if rows.ndim not in (2, 3) or len(rows) != len(ids) or len(set(ids)) != len(ids) or not np.isfinite(rows).all():
        raise ValueError(
            f"{entry['array']} has {rows.shape} values for {len(ids)} samples, or values that are not finite"
        )
    encoder = str(entry["encoder"])
    prep = tuple((str(name), value) for name, value in entry["prep"])
    spec = FeatureSpec(encoder.partition("=")[0], str(entry["feature"]), prep)
    return Feature(spec, encoder, str(entry["weights_sha256"]), tuple(map(str, entry["protocols"])), ids, rows)

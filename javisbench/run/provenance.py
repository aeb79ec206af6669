"""What computed a run, and where the parts of one differ in it: versions of the software, and devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MadeWith = dict[str, set[str]]
Differences = dict[str, dict[str, list[str]]]


def made_with(manifest: Mapping[str, Any], sidecars: Iterable[Mapping[str, Any]]) -> MadeWith:
    """Component (``javisbench``, ``av``, ``torch``, ..., ``device``) to every version of it that made clips or scores.

    Args:
        manifest: the run's ``run.json``.
        sidecars: those of its clips; a run that went on after an update has clips of both versions.
    """
    found: MadeWith = {}
    for facts in (manifest, *sidecars):
        for component, version in _mapping(facts.get("versions")).items():
            found.setdefault(component, set()).add(str(version))
        if facts.get("device"):
            found.setdefault("device", set()).add(str(facts["device"]).partition(":")[0])
    hardware = _mapping(_mapping(manifest.get("scoring")).get("hardware"))
    if hardware:
        found.setdefault("device", set()).add("cuda" if hardware.get("gpu") else "cpu")
        found["processor"] = {str(hardware.get("gpu") or hardware.get("machine"))}
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    """What a file says, where it is of the form expected; these facts are for reading, and stand in for nothing."""
    return value if isinstance(value, Mapping) else {}


def differences(parts: Mapping[str, MadeWith]) -> Differences:
    """Components of which there is more than one version, each version with the parts that it made.

    Args:
        parts: what made each of them, by name.
    """
    found: Differences = {}
    for name, made in parts.items():
        for component, versions in made.items():
            for version in sorted(versions):
                found.setdefault(component, {}).setdefault(version, []).append(name)
    return {component: versions for component, versions in sorted(found.items()) if len(versions) > 1}


def told(component: str, versions: Mapping[str, Iterable[str]]) -> str:
    """One difference in words."""
    return f"{component} " + ", ".join(f"{version} ({', '.join(parts)})" for version, parts in versions.items())

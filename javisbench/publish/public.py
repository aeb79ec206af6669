"""Results as they leave the machine: without paths, users, hosts, commands, values of the environment, and secrets.

Numbers, ids, prompts and categories stay as they are: a result is recomputed from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from javisbench.private import Scrubber
from javisbench.results.cell import Cell
from javisbench.results.run_folder import Failure, StoredResult
from javisbench.run.manifest import slug


def scrubber(result: StoredResult) -> Scrubber:
    """What knows this machine, and where the result and its clips lie."""
    folders = (folder for folder in (result.path, result.folder, result.clips) if folder is not None)
    return Scrubber.of_this_machine(*(folder.absolute() for folder in folders))


def public_model(name: str, scrub: Scrubber) -> str:
    """A model's name; of a command the name of its program alone."""
    found = scrub.name(name) or "model"
    if found != name:
        scrub.changed.append(f"model: {found}")
    return found


def public_document(document: Mapping[str, Any], scrub: Scrubber) -> dict[str, Any]:
    """A summary, with the texts in it that tell of this machine rewritten."""
    run = dict(document["run"])
    model = public_model(str(run["model"]), scrub)
    if model != run["model"]:
        run |= {"model": model, "slug": slug(model)}
    for part in ("card", "reference", "precision"):
        if part in run:
            run[part] = scrub.value(run[part], part)
    failures = [
        {**row, "message": scrub.noted(row["message"], f"failures[{place}]")}
        if isinstance(row.get("message"), str)
        else row
        for place, row in enumerate(document.get("failures", ()))
    ]
    metrics = {name: _notes(slices, name, scrub) for name, slices in document["metrics"].items()}
    return {**document, "run": run, "metrics": metrics, "failures": failures}


def _notes(value: Any, where: str, scrub: Scrubber) -> Any:
    """Cells, and slices of cells, with their notes as others may see them."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: scrub.noted(member, where)
        if name == "note" and isinstance(member, str)
        else _notes(member, f"{where}.{name}", scrub)
        for name, member in value.items()
    }


def public_manifest(manifest: Mapping[str, Any], scrub: Scrubber) -> dict[str, Any]:
    """What an archive tells of how clips were made: settings, the generator's own word, its files' hashes, machine."""
    model, scoring = manifest.get("model", {}), manifest.get("scoring", {})
    return {
        "generation": scrub.value(manifest.get("generation"), "generation"),
        "identity": _identity(model.get("identity"), scrub),
        "weights": _file_hashes(model.get("weights")),
        "hardware": scrub.value(scoring.get("hardware"), "hardware"),
    }


def _identity(identity: Any, scrub: Scrubber) -> Any:
    """What a generator says of itself; of a program its name, not the command that started it."""
    if not isinstance(identity, Mapping):
        return None
    name = identity.get("model")
    rest = _without_commands({key: value for key, value in identity.items() if key != "model"}, str(name))
    public = {"model": public_model(name, scrub)} if isinstance(name, str) else {}
    return {**public, **scrub.value(rest, "identity")}


def _without_commands(value: Any, model: str) -> Any:
    """Parameters without a program's command line, which stands in them as its variant; stages of cascades, too."""
    if not isinstance(value, Mapping):
        return value
    own = str(value.get("model", model))
    kept = {key: member for key, member in value.items() if not (key == "variant" and "command:" in own)}
    return {
        key: _program_name(member) if key == "model" and isinstance(member, str) else _without_commands(member, own)
        for key, member in kept.items()
    }


def _program_name(model: str) -> str:
    return Scrubber().name(model)


def _file_hashes(weights: Any) -> Any:
    """Component to file name to SHA-256: files of several folders were named from the one that these share."""
    if not isinstance(weights, Mapping):
        return None
    found: dict[str, dict[str, str]] = {}
    for component, files in weights.items():
        names: dict[str, str] = {}
        for path, digest in files.items() if isinstance(files, Mapping) else ():
            name = str(path).rpartition("/")[2]
            names[name if name not in names else f"{len(names)}-{name}"] = digest
        found[str(component)] = names
    return found


def public_result(result: StoredResult) -> StoredResult:
    """A result as pages may show it; where its files lie stays known to this process."""
    scrub = scrubber(result)
    document = public_document(result.document, scrub)
    if document == result.document:
        return result
    model = public_model(result.model, scrub)
    return replace(
        result,
        model=model,
        slug=result.slug if model == result.model else slug(model),
        document=document,
        card=document["run"].get("card") if isinstance(document["run"].get("card"), Mapping) else result.card,
        metrics={name: {key: _cell(cell, scrub) for key, cell in cells.items()}
                 for name, cells in result.metrics.items()},
        failures=tuple(_failure(row, scrub) for row in result.failures),
        not_applicable=tuple(_failure(row, scrub) for row in result.not_applicable),
    )  # fmt: skip


def _cell(cell: Cell, scrub: Scrubber) -> Cell:
    return cell if cell.note is None else replace(cell, note=scrub.text(cell.note))


def _failure(row: Failure, scrub: Scrubber) -> Failure:
    return replace(row, message=scrub.text(row.message))

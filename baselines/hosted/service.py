"""`Service`: what is known of an HTTP API that makes clips: addresses, fields, words for states, limits.

Most such APIs work alike: a POST starts a job, a GET tells its state, another GET brings the file. They differ in
names, which stand here; a TOML file with the fields of `Service` as keys describes one (docs/generators.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import os
import re
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from javisbench.errors import GenerationError, UsageError
from javisbench.hub import is_this_machine
from javisbench.registry import did_you_mean

PLACEHOLDERS = ("prompt", "seed", "width", "height", "seconds", "fps", "aspect", "image", "idempotency")
_PLACE = re.compile(r"\{([a-z_]+)(:text|:base64)?\}")
# As `javisbench.private` knows variables whose values it takes out of records.
_SECRET = re.compile(r"(?i)(key|token|secret|password|credential)")
_JWT_S = 1800
_HEADER = re.compile(r"[A-Za-z0-9-]+: .*\{key\}.*")


@dataclass(frozen=True)
class Service:
    """An API.

    Paths to fields of an answer are names with dots between them, numbers for places in lists: ``data.videos.0.url``.
    Texts of `submit`, `body`, `poll` and `headers` may hold ``{prompt}``, ``{seed}``, ``{width}``, ``{height}``,
    ``{seconds}``, ``{fps}``, ``{aspect}``, ``{idempotency}``, and the names of `defaults`; a text that is only a place
    for a number becomes a number, with ``:text`` (``"{seconds:text}"``) it stays a text. ``{image}`` is the suite's
    picture as a ``data:`` address, ``{image:base64}`` the same without what stands before the comma.

    Attributes:
        submit: address of the POST that starts a job.
        body: what is posted, as JSON.
        name: as records call it.
        key: environment variable with the key; its name holds KEY, TOKEN, SECRET, PASSWORD or CREDENTIAL.
        auth: header with the key.
        secret: environment variable of a second key: ``{key}`` is then a JSON web token (HS256) that the first one
            issues and the second one signs.
        headers: further headers of the POST.
        idempotency: header of the POST that names the clip, so that the same one posted twice is one job; empty for
            services that know none.
        job: where the answer holds the job's id.
        poll: address of a GET that tells the state; ``{job}`` is the id. Empty: the answer to the POST is the result.
        status: where the state stands.
        done: states of a finished job (case does not matter).
        failed: states of a job that failed.
        gone: states of a job that the service no longer knows.
        result: where the address of the file stands; the same in the answer to the POST and to a GET.
        download: address of the file instead, with ``{job}``.
        keyed_download: whether downloading needs the key; it goes to the host of `submit` alone.
        reasons: where sentences on failures stand.
        code: where a failure's code stands.
        refused: codes that mean that the prompt was refused.
        refusals: where an answer holds something only if the prompt was refused.
        defaults: own names for places in `body`, each with its value; ``-M NAME=VALUE`` replaces it.
        seconds: the lengths on offer, seconds; empty for any.
        sizes: the sizes on offer (``1280x720``, pixels); empty for any.
        seed_below: seeds are taken modulo this.
        fps: of its clips, frames per second, for the plan; 0 where not known.
        poll_s: seconds between two looks at a job.
    """

    submit: str
    body: Mapping[str, Any]
    name: str = "service"
    key: str = ""
    auth: str = "Authorization: Bearer {key}"
    secret: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotency: str = "Idempotency-Key"
    job: str = "id"
    poll: str = ""
    status: str = "status"
    done: tuple[str, ...] = ("completed", "succeeded", "succeed", "success", "done", "true")
    failed: tuple[str, ...] = ("failed", "error", "cancelled", "canceled", "expired")
    gone: tuple[str, ...] = ("unknown", "not_found")
    result: str = "url"
    download: str = ""
    keyed_download: bool = False
    reasons: tuple[str, ...] = ("error.message", "message")
    code: str = "error.code"
    refused: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    seconds: tuple[float, ...] = ()
    sizes: tuple[str, ...] = ()
    seed_below: int = 2**31
    fps: float = 0.0
    poll_s: float = 5.0

    def __post_init__(self) -> None:
        for address in filter(None, (self.submit, self.poll, self.download)):
            check_address(address, self.name)
        if self.key and not (_SECRET.search(self.key) and _SECRET.search(self.secret or self.key)):
            raise UsageError(
                f"{self.name}: the variable {self.key} is not called like a secret, and would not be kept out of "
                f"records. Use a name with KEY, TOKEN, SECRET, PASSWORD or CREDENTIAL."
            )
        if not _HEADER.fullmatch(self.auth):
            raise UsageError(
                f"{self.name}: auth is a header with a place for the key ('X-Key: {{key}}'); {self.auth!r}."
            )
        known = {*PLACEHOLDERS, *self.defaults}
        for text in _texts([self.body, dict(self.headers), self.submit]):
            for name, _ in _PLACE.findall(text):
                if name not in known:
                    raise UsageError(
                        f"{self.name}: nothing is known as {{{name}}} in {text!r}.{did_you_mean(name, known)} Known: "
                        f"{', '.join(sorted(known))}."
                    )

    @classmethod
    def read(cls, path: Path) -> Service:
        """A description in TOML.

        Raises:
            UsageError: it cannot be read, or a key is not known, lacks or has a value of another type.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"The description {path} of an API cannot be read: {error}") from error
        return cls.of(table, path.stem, str(path))

    @classmethod
    def of(cls, table: Mapping[str, Any], name: str, where: str) -> Service:
        """A table of a description.

        Raises:
            UsageError: a key is not known, lacks or has a value of another type.
        """
        known = {f.name: f for f in fields(cls)}
        for key, value in table.items():
            if key not in known:
                raise UsageError(
                    f"{where} has an unknown key {key!r}.{did_you_mean(key, known)} Known: {', '.join(sorted(known))}."
                )
            wanted, fits = _FORMS[str(known[key].type)]
            wanted, fits = _NARROWER.get(key, (wanted, fits))
            if not fits(value):
                raise UsageError(f"{where}: {key} is {wanted}; got {value!r:.80}.")
        lacking = [key for key in ("submit", "body") if key not in table]
        if lacking:
            raise UsageError(
                f"{where} lacks {' and '.join(lacking)}: the address that starts a job, and what is posted."
            )
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
        return cls(**{"name": name, **values})

    def authorization(self) -> dict[str, str]:
        """The header with the key, read from the environment now.

        Raises:
            GenerationError: the variable is not set.
        """
        if not self.key:
            return {}
        header, _, value = self.auth.partition(": ")
        return {header: value.replace("{key}", self._key())}

    def _key(self) -> str:
        found = [os.environ.get(name, "").strip() for name in (self.key, self.secret) if name]
        if not all(found):
            names = " and ".join(filter(None, (self.key, self.secret)))
            raise GenerationError(f"{self.name} needs its key in the environment: set {names}.", kind="no_key")
        return found[0] if len(found) == 1 else _web_token(*found)

    def chosen_seconds(self, wanted: float) -> float:
        """The shortest length on offer that is not below `wanted`, or the longest."""
        if not self.seconds:
            return wanted
        enough = [length for length in sorted(self.seconds) if length >= wanted - 1e-9]
        return enough[0] if enough else max(self.seconds)

    def chosen_size(self, width: int, height: int) -> tuple[int, int]:
        """The size on offer whose shape, then area is nearest, pixels."""
        sizes = [tuple(map(int, size.lower().split("x"))) for size in self.sizes]
        if not sizes:
            return width, height

        def far(size: tuple[int, ...]) -> tuple[float, float]:
            shape = abs(math.log(size[0] / size[1] * height / width))
            return round(shape, 6), abs(math.log(size[0] * size[1] / width / height))

        best = min(sizes, key=far)
        return best[0], best[1]

    def filled(self, template: Any, values: Mapping[str, Any]) -> Any:
        """`template` with every place filled."""
        if isinstance(template, Mapping):
            return {name: self.filled(value, values) for name, value in template.items()}
        if isinstance(template, list | tuple):
            return [self.filled(value, values) for value in template]
        if not isinstance(template, str):
            return template
        whole = _PLACE.fullmatch(template)
        if whole and not whole[2]:
            return values[whole[1]]

        def value(place: re.Match[str]) -> str:
            text = str(values[place[1]])
            return text.partition(",")[2] if place[2] == ":base64" else text

        return _PLACE.sub(value, template)

    @property
    def takes_image(self) -> bool:
        """Whether what is posted has a place for a picture."""
        return any(place[0] == "image" for text in _texts(self.body) for place in _PLACE.findall(text))

    def address(self, template: str, job: str) -> str:
        """`template` with the job's id; one that is a path of its own (``models/a/operations/b``) keeps its slashes."""
        return template.replace("{job}", quote(job, safe="/"))

    def state(self, answer: Any) -> str:
        """``done``, ``failed``, ``gone`` or ``open``."""
        found = str(lookup(answer, self.status)).lower()
        words = {"done": self.done, "failed": self.failed, "gone": self.gone}
        return next((state for state, known in words.items() if found in map(str.lower, known)), "open")

    def trouble(self, answer: Any) -> tuple[bool, str]:
        """Of an answer that tells a failure: whether the prompt was refused, and why."""
        refusals = [str(found) for path in self.refusals if (found := lookup(answer, path)) not in (None, "", [], {})]
        reasons = [str(found) for path in self.reasons if (found := lookup(answer, path)) not in (None, "")]
        code = lookup(answer, self.code)
        told = ". ".join([*refusals, *reasons]) or "the service gave no reason"
        refused = bool(refusals) or (code is not None and str(code).lower() in map(str.lower, self.refused))
        return refused, f"{told} ({code})" if code not in (None, "") else told


def lookup(answer: Any, path: str) -> Any:
    """The value at a path with dots, or None."""
    for name in path.split("."):
        if isinstance(answer, Mapping):
            answer = answer.get(name)
        elif isinstance(answer, list) and name.isdigit() and int(name) < len(answer):
            answer = answer[int(name)]
        else:
            return None
    return answer


def check_address(address: str, who: str) -> None:
    """Refuse addresses that are not encrypted, but for this machine's own.

    Raises:
        UsageError: no https address.
    """
    try:
        parts = urlsplit(address)
        fine = parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.hostname or ""))
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(f"{who}: {address.partition('?')[0]} is no https address.")


def aspect(width: int, height: int) -> str:
    """The nearest usual shape of a picture: ``16:9``."""
    usual = ("16:9", "9:16", "4:3", "3:4", "1:1", "21:9")
    return min(
        usual, key=lambda shape: abs(math.log(width / height / (int(shape.split(":")[0]) / int(shape.split(":")[1]))))
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _all(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple) and all(map(fits, value))


_FORMS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", _is_text),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", _is_whole),
    "float": ("a number", _is_number),
    "tuple[str, ...]": ("a list of texts", lambda value: _all(value, _is_text)),
    "tuple[float, ...]": ("a list of numbers", lambda value: _all(value, _is_number)),
    "Mapping[str, str]": (
        "a table of texts",
        lambda value: isinstance(value, Mapping) and all(map(_is_text, value.values())),
    ),
    "Mapping[str, Any]": ("a table", lambda value: isinstance(value, Mapping)),
}
"""What a description may hold, by the type of the field: in words, and whether a value is that."""
_SIZE = re.compile(r"(?i)[1-9]\d{0,4}x[1-9]\d{0,4}")
_NARROWER: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "seconds": (
        "a list of numbers above 0",
        lambda value: _all(value, lambda length: _is_number(length) and length > 0),
    ),
    "sizes": (
        "a list of sizes such as '1280x720'",
        lambda value: _all(value, lambda size: _is_text(size) and _SIZE.fullmatch(size) is not None),
    ),
    "seed_below": ("a whole number above 0", lambda value: _is_whole(value) and value > 0),
    "fps": ("a number of frames per second from 0 to 1000", lambda value: _is_number(value) and 0 <= value <= 1000),
    "poll_s": ("a number of seconds from 0", lambda value: _is_number(value) and value >= 0),
}
"""Fields of which not every value of their type makes sense."""


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


def _web_token(issuer: str, secret: str) -> str:
    now = int(time.time())
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iss": issuer, "exp": now + _JWT_S, "nbf": now - 5})
    told = ".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{told}.{_encoded(hmac.new(secret.encode(), told.encode(), hashlib.sha256).digest())}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

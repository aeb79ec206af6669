"""What must not leave the machine or stand in a log: secrets, and who and where the user is.

Secrets are told by the names that they go by (``api_key``, ``--token``, ``HF_TOKEN``) and by their forms (``hf_...``);
paths by their shape, and by the folders that this process knows. Prompts, ids and numbers are not gone through: they
are what a result is made of.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WORD = r"(?:key|apikey|token|secret|passwd|password|passphrase|pwd|credentials?|authorization|bearer)"
_SECRET_NAME = re.compile(
    rf"(?i)(?:^|[^a-z]){_WORD}s?(?:$|[^a-z])|(?:api|access|secret|private)key|(?:auth|access)token"
)
_ENVIRONMENT_NAME = re.compile(r"(?i)(key|token|secret|password|passwd|credential)")
_LEAST_VALUE = 8
# --api-key=abc, API_KEY: abc, Authorization: Bearer abc; and --token abc or ['--token', 'abc'], known by the dashes.
_VALUE = r"(\"[^\"]*\"|'[^']*'|[^\s,;]+)"
_NAMED = re.compile(
    rf"(?i)((?<![\w.-])(?:[\w.-]*[_.-])?{_WORD}s?\s*[=:]\s*(?:Bearer\s+|Basic\s+)?"
    rf"|(?<![\w.-])--?(?:[\w.-]*[_.-])?{_WORD}s?(?:\s+|'\s*,\s*|\"\s*,\s*)(?!-)){_VALUE}"
)
_FORMS = re.compile(
    r"\b(?:hf_|sk-|ghp_|gho_|github_pat_|glpat-|xox[abp]-|AKIA|AIza)[A-Za-z0-9_-]{12,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
_ADDRESS = re.compile(r"(https?://)(?:[^\s/@?#]*@)?([^\s?#]*)(?:[?#]\S*)?")
_PATH = re.compile(r"(?<![^\s'\"`=:,;(\[{|])~?/(?:[^/\s'\"`,;:()<>|\[\]{}]+/)*[^/\s'\"`,;:()<>|\[\]{}]+/?")
# What many machines have in common tells nothing, and stands in ordinary sentences.
_COMMON = {"admin", "daemon", "debian", "docker", "jenkins", "local", "localhost", "nobody", "runner", "root", "test",
           "ubuntu", "user", "users", "video", "audio", "build", "default", "localdomain"}  # fmt: skip
HIDDEN = "<hidden>"


def is_secret_name(name: str) -> bool:
    """Whether a parameter or option is called like something secret: ``api_key``, ``hf-token``, ``password``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return _SECRET_NAME.search(spaced) is not None


def redacted(text: str) -> str:
    """`text` without the values of environment variables that are called like secrets."""
    for name, value in os.environ.items():
        if len(value) >= _LEAST_VALUE and _ENVIRONMENT_NAME.search(name):
            text = text.replace(value, f"<{name}>")
    return text


def shown_address(text: str) -> str:
    """`text` with every web address in it without what may be secret: a user's name and password, and the query."""
    return _ADDRESS.sub(r"\1\2", text)


def _file_name(path: re.Match[str]) -> str:
    return path[0].rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class Scrubber:
    """Takes out of text what others need not know.

    Attributes:
        folders: absolute folders of this user and process, the longest first.
        words: names of the user and of the machine.
        values: of environment variables, each with the variable's name.
        changed: what was changed: where, and what it became.
    """

    folders: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    changed: list[str] = field(default_factory=list)

    @classmethod
    def of_this_machine(cls, *folders: Path) -> Scrubber:
        """One that knows this user, machine, environment, and some more folders."""
        places = {str(folder) for place in (Path.home(), Path.cwd(), Path(tempfile.gettempdir()), *folders)
                  for folder in (place, place.resolve())}  # fmt: skip
        known = sorted((place for place in places if len(place) > 1), key=len, reverse=True)
        host = socket.gethostname()
        names = {_user(), os.environ.get("USER", ""), Path.home().name, host, host.partition(".")[0]}
        words = [name for name in names if len(name) > 2 and name.lower() not in _COMMON]
        # Folders and names among them are known for what they are.
        told = ((name, value) for name, value in os.environ.items() if value not in words and value[:1] not in "/~")
        values = {value: name for name, value in told if len(value) >= _LEAST_VALUE}
        longest = sorted(values.items(), key=lambda pair: len(pair[0]), reverse=True)
        return cls(tuple(known), tuple(sorted(words, key=len, reverse=True)), tuple(longest))

    def name(self, text: str) -> str:
        """A model's or folder's name without paths, secrets and arguments of a command."""
        text = re.sub(r"\bcommand:([^,]*)", _program, text)
        return self._plain(redacted(text))

    def text(self, text: str) -> str:
        """A message without paths, secrets, names of user and machine, and values of the environment."""
        for value, name in self.values:
            text = text.replace(value, f"<{name}>")
        text = self._plain(text)
        for word in self.words:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", HIDDEN, text)
        return text

    def _plain(self, text: str) -> str:
        text = shown_address(text).replace("file://", "")
        text = _FORMS.sub(HIDDEN, text)
        text = _NAMED.sub(rf"\1{HIDDEN}", text)
        for folder in self.folders:
            text = text.replace(f"{folder}/", "~/")
        return _PATH.sub(_file_name, text)

    def value(self, value: Any, where: str) -> Any:
        """A JSON value, with its texts as `text` gives them; members that are called like secrets are left out.

        Args:
            value: any value that JSON has.
            where: its place, for `changed`.
        """
        if isinstance(value, Mapping):
            found = {}
            for key, member in value.items():
                if is_secret_name(str(key)) and isinstance(member, str):
                    self.changed.append(f"{where}.{key}: left out")
                else:
                    found[self.noted(str(key), where)] = self.value(member, f"{where}.{key}")
            return found
        if isinstance(value, list | tuple):
            return [self.value(member, f"{where}[{place}]") for place, member in enumerate(value)]
        return self.noted(value, where) if isinstance(value, str) else value

    def noted(self, text: str, where: str) -> str:
        """As `text`, with a note of the change if there is one."""
        found = self.text(text)
        if found != text:
            self.changed.append(f"{where}: {found}")
        return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in many containers
        return ""


_LAUNCHERS = re.compile(r"(?:python|bash|sh|zsh|perl|ruby|node|env|conda|uv|poetry|srun|torchrun|accelerate)[\d.]*")
_SCRIPT = re.compile(r"[\w.~/][\w.~/-]*")


def _program(command: re.Match[str]) -> str:
    """Of a command the name of its program, or of the script that it runs."""
    words = command[1].split()
    name = Path(words[0]).name if words else ""
    if _LAUNCHERS.fullmatch(name):
        name = next((Path(word).name for word in words[1:] if _SCRIPT.fullmatch(word)), name)
    return f"command:{name}"

"""A judge behind an OpenAI-compatible endpoint: a service, or vLLM, llama.cpp or another server of one's own.

One POST with JSON to ``/chat/completions``, by httpx. The client of OpenAI's own package is built on it too, but takes
organisation, project and key from its own environment variables and sends them wherever it is pointed.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from javisbench.errors import UsageError
from javisbench.hub import is_this_machine, retry_after_s
from javisbench.private import redacted, shown_address
from javisbench.run.judging.judge import AskAgainError, RejectedError, Reply
from javisbench.run.judging.options import KEY_VARIABLE, URL_VARIABLE, JudgeOptions
from javisbench.text import printable

if TYPE_CHECKING:
    import httpx

    from javisbench.metrics.judges.inquiry import Inquiry, Part

log = logging.getLogger(__name__)
MAX_REPLY_BYTES = 4 * 2**20
_MAX_WORDS = 300
_CONNECT_S = 10.0
_BUSY = frozenset((408, 409, 425, 429))
_NOT_LET_IN = frozenset((401, 402, 403))
_HIDDEN_KEY = f"<{KEY_VARIABLE}>"


class Endpoint:
    """Asks a chat-completions endpoint.

    Args:
        url: up to ``/v1``.
        options: for the model's alias, the number of requests at once, and the time that an answer may take.

    Raises:
        UsageError: no such URL, a key in it, or httpx is not installed.
    """

    def __init__(self, url: str, options: JudgeOptions) -> None:
        try:
            import httpx
        except ImportError as error:
            raise UsageError(
                f"Judges at an endpoint need httpx ({error}). Install it with: pip install 'javisbench[judge]'",
                kind="missing_extra",
            ) from error
        parts = _split(url)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            told = shown_address(printable(url))
            raise UsageError(f"The judge's URL is http(s)://HOST/v1 or transformers:FOLDER; got {told!r:.200}.")
        if parts.username or parts.password or parts.query:
            raise UsageError(
                f"The judge's URL holds a user, a password or a query. Give the URL alone, and the key in "
                f"${KEY_VARIABLE}.",
                kind="secret_in_url",
            )
        self._where = shown_address(url.rstrip("/"))
        self._options = options
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise UsageError(f"${KEY_VARIABLE} holds something else than letters, digits and marks.")
        if self._key and parts.scheme == "http" and not is_this_machine(parts.hostname):
            log.warning("The key in $%s goes to %s unencrypted; https would hide it.", KEY_VARIABLE, parts.hostname)
        self._client: httpx.Client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(options.timeout_s, connect=min(_CONNECT_S, options.timeout_s)),
            follow_redirects=False,
            limits=httpx.Limits(max_connections=options.parallel),
        )

    @property
    def where(self) -> str:
        """Its URL."""
        return self._where

    @property
    def parallel(self) -> int:
        """As the options say."""
        return self._options.parallel

    def check(self) -> None:
        """Ask for the list of models, which costs nothing.

        Raises:
            UsageError: nobody answers there, or not to this key.
        """
        try:
            status, said, _ = self._send("GET", "/models", None, {})
        except AskAgainError as error:
            raise UsageError(
                f"No judge answers at {self._where}: {error.reason}. Start it, or give another URL (--judge-url, "
                f"${URL_VARIABLE}). Nothing was asked.",
                kind="no_endpoint",
            ) from error
        self._refuse_key(status, "")
        self._refuse_redirect(status, said)

    def ask(self, inquiry: Inquiry) -> Reply:
        """Send one inquiry."""
        body = json.dumps(request_body(inquiry, self._options.alias or inquiry.settings.model_name)).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": inquiry.key}
        status, said, answered = self._send("POST", "/chat/completions", body, headers)
        words = self._words(answered)
        self._refuse_key(status, words)
        self._refuse_redirect(status, said)
        if status in _BUSY or status >= 500:
            raise AskAgainError(f"{self._where} answers {status}{words}", retry_after_s(said.get("retry-after")))
        if status == 404:
            raise UsageError(
                f"{self._where}/chat/completions answers 404{words}. Give the URL up to /v1, and the name by which the "
                f"endpoint knows the model (--judge-alias).",
                kind="no_endpoint",
            )
        if status != 200:
            raise RejectedError(f"the endpoint answers {status}{words}")
        return self._reply(answered)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body, which is read up to a bound and for as long as an answer may take."""
        import httpx

        ends = time.monotonic() + self._options.timeout_s
        try:
            with self._client.stream(method, f"{self._where}{path}", content=body, headers=dict(headers)) as response:
                found = bytearray()
                for piece in response.iter_bytes():
                    found += piece
                    if len(found) > MAX_REPLY_BYTES:  # no answer is that long: what there is of it is kept as one
                        break
                    if time.monotonic() > ends:
                        raise AskAgainError(f"no whole answer in {self._options.timeout_s:g} s")
                return response.status_code, response.headers, bytes(found)
        except httpx.TimeoutException as error:
            raise AskAgainError(f"no answer in {self._options.timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise AskAgainError(self._clean(f"{type(error).__name__}: {error}")) from error

    def _refuse_key(self, status: int, words: str) -> None:
        if status in _NOT_LET_IN:
            told = f"the key in ${KEY_VARIABLE}" if self._key else f"a request without a key: set ${KEY_VARIABLE}"
            raise UsageError(f"{self._where} answers {status} to {told}{words}.", kind="wrong_key")

    def _refuse_redirect(self, status: int, said: Mapping[str, str]) -> None:
        if 300 <= status < 400:
            to = self._clean(said.get("location", ""))[:_MAX_WORDS]
            raise UsageError(
                f"{self._where} answers {status} and sends elsewhere{f', to {to}' if to else ''}. Redirects are not "
                f"followed, so that nobody else gets the key: give the URL that is meant.",
                kind="no_endpoint",
            )

    def _words(self, answered: bytes) -> str:
        """What an endpoint says of an error, after a colon."""
        text = answered[:20_000].decode("utf-8", "replace")
        try:
            found = json.loads(text)
            told = found.get("error", found.get("message", text)) if isinstance(found, dict) else text
            text = str(told.get("message", told)) if isinstance(told, dict) else str(told)
        except (ValueError, RecursionError):
            pass
        text = self._clean(text.strip())
        return f": {text[:_MAX_WORDS]}" if text else ""

    def _clean(self, text: str) -> str:
        """Without the key, should somebody have repeated it."""
        return printable(redacted(self._without_key(text)))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, _HIDDEN_KEY) if self._key else text

    def _reply(self, answered: bytes) -> Reply:
        """What an answer with status 200 says; of one that is no chat completion, its text."""
        text = self._without_key(answered.decode("utf-8", "replace"))
        try:
            found = json.loads(text)
            choice = found["choices"][0]
            message = choice["message"]
            content = _text_of(message.get("content"))
        except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
            return Reply(text[:20_000], finish="no_completion")
        usage = found.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        refusal = message.get("refusal")
        if content is None:  # what there is instead is kept, as it came
            content = "" if isinstance(refusal, str) else json.dumps(message)[:20_000]
        return Reply(
            text=content,
            refusal=refusal if isinstance(refusal, str) else "",
            finish=str(choice.get("finish_reason") or "stop")[:40],
            model=str(found.get("model") or "")[:200],
            input_tokens=_count(counts.get("prompt_tokens")),
            output_tokens=_count(counts.get("completion_tokens")),
        )


def _split(url: str) -> SplitResult | None:
    """The parts of a URL; None for what cannot be one."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if url.isprintable() and " " not in url.strip() else None


def _text_of(content: Any) -> str | None:
    """The words of a message, which some endpoints send in parts; None where there are none."""
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        texts = [part.get("text") for part in content]
        content = "".join(texts) if all(isinstance(text, str) for text in texts) else None
    return content if isinstance(content, str) else None


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**40 else 0


def request_body(inquiry: Inquiry, model: str) -> dict[str, Any]:
    """The JSON of a chat completion."""
    settings = inquiry.settings
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": inquiry.rules},
            {"role": "user", "content": [_content(part) for part in inquiry.parts]},
        ],
        inquiry.token_limit: settings.max_tokens,
    }
    if settings.temperature >= 0:
        body["temperature"] = settings.temperature
    if inquiry.seed is not None:
        body["seed"] = inquiry.seed
    if settings.structure == "json_schema":
        schema = {"name": "answers", "strict": True, "schema": inquiry.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif settings.structure == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _content(part: Part) -> dict[str, Any]:
    if part.kind == "text":
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode("ascii")
    if part.kind == "sound":
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}

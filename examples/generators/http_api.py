"""A model behind an HTTP API, where a description in TOML (hosted:FILE.toml, docs/generators.md) does not suffice.

    MY_API_URL=https://example.org/v1/videos MY_API_KEY=... javisbench eval --suite demo \\
        --model 'command:python examples/generators/http_api.py' -M batch=4 -M timeout_s=3600

A POST to $MY_API_URL starts a job ({"id": ...}), a GET of $MY_API_URL/ID tells its state ({"status": ..., "url": ...});
an API that answers the POST with the mp4 or with {"url": ...} works too. `serve` does the rest: it looks after several
jobs at a time, waits as long as a busy service asks (Retry-After) or ever longer, orders no clip twice (a header
Idempotency-Key, and a list of the jobs in the run's folder, with which a run that was killed goes on), and reports a
refused prompt once, with its reason. The key comes from the environment; javisbench records neither it nor messages
that hold it. Only https addresses (and this machine) are followed, and the key goes to the host of $MY_API_URL alone.

Change the fields to what your API wants; what must be computed (signatures, say) goes into methods.
"""

import os
import sys

from javisbench.baselines.hosted import Service, serve


class MyApi(Service):
    def authorization(self):
        return {"Authorization": f"Bearer {os.environ['MY_API_KEY']}"} if "MY_API_KEY" in os.environ else {}


url = os.environ.get("MY_API_URL", "")
if not url:
    sys.exit("Say where the API is: MY_API_URL=https://..., and its key in MY_API_KEY.")
serve(
    MyApi(
        name="my-api",
        key="MY_API_KEY",
        submit=url,
        body={
            "prompt": "{prompt}",
            "seed": "{seed}",
            "width": "{width}",
            "height": "{height}",
            "duration_s": "{seconds}",
        },
        poll=url + "/{job}",
        job="id",
        status="status",
        result="url",
        reasons=("error.message", "message"),
        refused=("content_policy_violation", "moderation_blocked"),
    )
)

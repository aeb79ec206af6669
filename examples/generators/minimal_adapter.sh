#!/usr/bin/env bash
# A model with a command line of its own, called once a clip. In batch mode javisbench fills in both places:
#
#   MODEL=./my_model javisbench eval --model 'command:./minimal_adapter.sh {requests} {out}' --suite demo
#
# $MODEL is called as: $MODEL --prompt TEXT --seed N --size WxH --seconds S --out FILE.mp4
set -euo pipefail
requests=$1 out=$2

# Prompts may hold anything but NUL, so fields are passed between NULs.
fields='import json, sys
for line in sys.stdin:
    r = json.loads(line)
    size = "%dx%d" % (r["width"], r["height"])
    print(r["id"], r["prompt"], r["seed"], size, r["duration_s"], sep="\0", end="\0")'

while IFS= read -r -d '' id && IFS= read -r -d '' prompt && IFS= read -r -d '' seed &&
      IFS= read -r -d '' size && IFS= read -r -d '' seconds; do
    # One failure must not end the others: its file is missing then, and javisbench says so.
    $MODEL --prompt "$prompt" --seed "$seed" --size "$size" --seconds "$seconds" --out "$out/$id.mp4" < /dev/null ||
        echo "no clip for $id" >&2
done < <(python3 -c "$fields" < "$requests")

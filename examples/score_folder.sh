#!/bin/sh
# Score a folder of clips from the shell: sh examples/score_folder.sh clips/ my_prompts.csv OUT
# A wrong row of the suite, or a clip that cannot be read, is told before anything is computed.
set -eu
clips=$1 suite=$2 out=$3

javisbench suites validate "$suite"
javisbench doctor "$clips" --suite "$suite" --metrics 'av_align,health_*' --sample 0
javisbench score "$clips" --suite "$suite" --metrics 'av_align,health_*' --name my-model --out "$out"
javisbench report "$out" --write "$out/tables"

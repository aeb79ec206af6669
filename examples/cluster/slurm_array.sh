#!/bin/bash
# Eight tasks of one GPU each, which know nothing of each other; a job after them joins what they made.
#
#   ID=$(sbatch --parsable slurm_array.sh)
#   sbatch --dependency=afterok:"$ID" --wrap "javisbench merge runs/javisdit/javisbench.shard-* --out runs/javisdit/javisbench"
#
# A task that was killed or preempted goes on where it was: Slurm starts it again, and what is done is not done again.
#SBATCH --job-name=javisbench
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --cpus-per-task=9
#SBATCH --requeue
set -euo pipefail

MODEL=${MODEL:-javisdit}
SUITE=${SUITE:-javisbench}
RUN=${RUN:-runs/$MODEL/$SUITE}
COUNT=${SLURM_ARRAY_TASK_COUNT:-8}
TASK=${SLURM_ARRAY_TASK_ID:-0}

# Weights and suite are fetched once beforehand, where there is a connection.
export HF_HUB_OFFLINE=1

javisbench eval --model "$MODEL" --suite "$SUITE" --shard "$TASK/$COUNT" --out "$RUN.shard-$TASK-of-$COUNT" --workers 8

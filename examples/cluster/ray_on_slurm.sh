#!/bin/bash
# A Ray cluster on four machines of Slurm for the time of one job.
#
#   sbatch ray_on_slurm.sh
#
# Clips, weights and runs lie where all machines see them; or clips and runs are URLs (CLIPS=s3://bucket/clips).
#SBATCH --job-name=javisbench-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --requeue
set -euo pipefail

MODEL=${MODEL:-javisdit}
SUITE=${SUITE:-javisbench}
RUN=${RUN:-runs/$MODEL/$SUITE}
PORT=${PORT:-6379}

mapfile -t NODES < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD=${NODES[0]}
ADDRESS="$(srun --nodes=1 --ntasks=1 --nodelist="$HEAD" hostname --ip-address | awk '{print $1}'):$PORT"
export RAY_USAGE_STATS_ENABLED=0 HF_HUB_OFFLINE=1

srun --nodes=1 --ntasks=1 --nodelist="$HEAD" \
  ray start --head --port="$PORT" --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$SLURM_GPUS_ON_NODE" --block &
until srun --overlap --nodes=1 --ntasks=1 --nodelist="$HEAD" ray health-check --address "$ADDRESS"; do sleep 2; done
# The others join as they come up; javisbench does not wait for them.
if [[ ${#NODES[@]} -gt 1 ]]; then
  srun --nodes=$((${#NODES[@]} - 1)) --ntasks=$((${#NODES[@]} - 1)) --exclude="$HEAD" \
    ray start --address="$ADDRESS" --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$SLURM_GPUS_ON_NODE" --block &
fi

# On the head, whose Ray the command speaks to.
srun --overlap --nodes=1 --ntasks=1 --nodelist="$HEAD" \
  javisbench eval --model "$MODEL" --suite "$SUITE" --out "$RUN" --engine ray --engine-address "$ADDRESS"

#!/bin/bash
# A hundred shards of pictures, a task each; the same command again draws only what is missing.
#
#   sbatch deploy/slurm_sample.sh
#
#SBATCH --job-name=t2igan-sample
#SBATCH --array=0-99
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=04:00:00
# For GPUs: #SBATCH --gpus-per-task=1
set -euo pipefail
t2igan sample --workdir=runs/base --prompts=captions.txt --out=shards \
    --shard="${SLURM_ARRAY_TASK_ID}/${SLURM_ARRAY_TASK_COUNT}"

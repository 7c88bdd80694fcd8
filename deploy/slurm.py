"""A Dask cluster on SLURM for sam-dash: prints the scheduler's address, and keeps so many jobs until Ctrl-C.

    pip install dask-jobqueue
    python deploy/slurm.py --jobs 8 --walltime 04:00:00        # with GPUs: --extra=--gres=gpu:1
    SAM_DASH_SCHEDULER=tcp://ADDRESS:8786 sam-dash run --preset digits

A job is one worker of one core. One whose time is up leaves; its runs go back to the queue, and go on from where they
were saved. The environment of this process (SAM_DASH_STORE, PGPASSFILE, ...) is SLURM's to hand on, as sbatch does.
"""

from __future__ import annotations

import argparse
import signal

from dask_jobqueue import SLURMCluster

from sam_dash.runs.environment import REPRODUCIBLE
from sam_dash.surroundings import ROOT


def main() -> None:
    """Keep the cluster until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="a Dask cluster on SLURM for sam-dash")
    parser.add_argument("--jobs", type=int, default=4, help="jobs at a time")
    parser.add_argument("--memory", default="4GB", help="of a job")
    parser.add_argument("--walltime", default="04:00:00", help="of a job")
    parser.add_argument("--port", type=int, default=8786, help="of the scheduler")
    parser.add_argument("--interface", help="network of the scheduler and its workers, such as ib0")
    parser.add_argument("--extra", action="append", default=[], help="a line for sbatch, such as --gres=gpu:1")
    args = parser.parse_args()
    exports = [f"export {name}={value}" for name, value in REPRODUCIBLE.items()]
    with SLURMCluster(
        cores=1, processes=1, memory=args.memory, walltime=args.walltime, interface=args.interface,
        job_extra_directives=args.extra, job_script_prologue=[*exports, f"export PYTHONPATH={ROOT}:$PYTHONPATH"],
        scheduler_options={"port": args.port, "dashboard": False},
    ) as cluster:  # fmt: skip
        cluster.adapt(minimum_jobs=args.jobs, maximum_jobs=args.jobs)  # what has ended is asked for anew
        print(cluster.scheduler_address, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()

"""The faults, each a function of a lab: it makes one happen to a command that trains, and says what the user saw, and
how many further commands it took until all runs were done.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sam_dash.runs.environment import REPRODUCIBLE
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Outcome, Report
from sam_dash.runs.spec import Measures, SweepSpec, Training
from sam_dash.runs.store import Store
from sam_dash.surroundings import ROOT, child
from tests.reliability.lab import Lab, NotRunError, interrupt

Found = tuple[int, str]
"""Further commands that it took, and what the user saw."""


class Fault(NamedTuple):
    """A fault: its name in the table, and what makes it. `seconds`: how long what lasts does, in the full table."""

    name: str
    make: Callable[..., Found]
    options: dict[str, object]


FAULTS: list[Fault] = []


def fault(name: str, **options: object) -> Callable[[Callable[..., Found]], Callable[..., Found]]:
    """Add a fault to the table."""

    def add(make: Callable[..., Found]) -> Callable[..., Found]:
        FAULTS.append(Fault(name, make, options))
        return make

    return add


def finished(lab: Lab, code: int, commands: int = 0) -> Found:
    """The command again, until it says that all is done: twice at most."""
    saw = f"exit {code}: {lab.last()}" if code else "nothing; exit 0"
    while code and commands < 3:
        code = lab.run()
        commands += 1
    return commands, saw


@fault("kill -9 of a worker, once", times=1)
@fault("kill -9 of a worker, five times (each run has three attempts)", times=5)
def worker_killed(lab: Lab, times: int) -> Found:
    """A worker that trains is killed; the nanny starts another."""
    process = lab.started_training()
    for _ in range(times):
        found = lab.until(lambda: lab.workers(process) if lab.training() else process.poll() is not None)
        if found is True:
            break
        with suppress(Exception):
            found[0].kill()
        time.sleep(1.0)
    return finished(lab, lab.end(process))


@fault("kill -9 of the engine")
def engine_killed(lab: Lab) -> Found:
    """The command's engine is killed while runs train."""
    process = lab.started_training()
    lab.engine(process).kill()
    return finished(lab, lab.end(process))


@fault("kill -9 of the command")
def command_killed(lab: Lab) -> Found:
    """The command itself; its engine leaves when its standard input closes."""
    process = lab.started_training()
    family = lab.family(process)
    process.kill()
    lab.end(process)
    lab.until(lambda: not any(p.is_running() and p.status() != "zombie" for p in family))
    commands, _ = finished(lab, 1)
    return commands, "the shell's “Killed”"


@fault("kill -9 of all its processes at once")
def all_killed(lab: Lab) -> Found:
    """As when memory runs out for all, or the power fails."""
    process = lab.started_training()
    for each in [*lab.family(process), process]:
        each.kill()
    lab.end(process)
    commands, _ = finished(lab, 1)
    return commands, "the shell's “Killed”"


STAGES: dict[str, Callable[[Lab], object]] = {
    "at once": lambda lab: time.sleep(0.05) or True,
    "while it imports": lambda lab: time.sleep(0.5) or True,
    "when the store is made": lambda lab: lab.path.is_file(),
    "when runs are queued": lambda lab: lab.counts()["queued"],
    "when its engine starts": lambda lab: lab.family(lab.started[0]),
    "when the first run trains": Lab.training,
    "when a run is done": lambda lab: lab.counts()["done"],
}


def ctrl_c(lab: Lab, stage: str) -> Found:
    """Ctrl-C at a stage."""
    process = lab.start()
    lab.until(lambda: STAGES[stage](lab) or process.poll() is not None)
    interrupt(process)
    code = lab.end(process)
    return finished(lab, code)


for _stage in STAGES:
    FAULTS.append(Fault(f"Ctrl-C {_stage}", ctrl_c, {"stage": _stage}))


@fault("a worker stopped by SIGSTOP", seconds=60)
def stopped(lab: Lab, seconds: float) -> Found:
    """Longer than a heartbeat is waited for."""
    process = lab.started_training()
    worker = lab.workers(process)[0]
    worker.suspend()
    time.sleep(seconds)
    with suppress(Exception):
        worker.resume()
    return finished(lab, lab.end(process))


@fault("the store locked by another", seconds=90)
def locked(lab: Lab, seconds: float) -> Found:
    """Somebody holds the store while runs train."""
    process = lab.started_training()
    connection = sqlite3.connect(lab.path, isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(seconds)
    connection.execute("ROLLBACK")
    connection.close()
    return finished(lab, lab.end(process))


@fault("the store deleted while runs train")
def deleted(lab: Lab) -> Found:
    """With its -wal and -shm, as `rm store.db*` does."""
    process = lab.started_training()
    for path in lab.folder.glob("store.db*"):
        path.unlink()
    return finished(lab, lab.end(process))


@fault("the store replaced by another while runs train")
def replaced(lab: Lab) -> Found:
    """An empty one, as where a copy is put in its place."""
    Store(lab.folder / "other.db").close()
    process = lab.started_training()
    for path in lab.folder.glob("store.db-*"):
        path.unlink()
    os.replace(lab.folder / "other.db", lab.path)
    return finished(lab, lab.end(process))


def _refused(lab: Lab, change: Callable[[], None]) -> Found:
    """A store that is changed between two commands is refused and left as it is; the one that was there is put back."""
    process = lab.started_training()
    interrupt(process)
    lab.end(process)
    shutil.copy(lab.path, lab.folder / "kept")
    change()
    before = lab.path.read_bytes()
    code = lab.run()
    saw = f"exit {code}: {lab.last()}"
    assert code == 2, saw
    assert lab.path.read_bytes() == before, "it was changed"
    for path in lab.folder.glob("store.db*"):
        path.unlink()
    shutil.move(lab.folder / "kept", lab.path)
    commands, _ = finished(lab, 1)
    return commands, saw


@fault("a store cut in half between two commands, then put back", how="half")
@fault("a store of garbage between two commands, then put back", how="garbage")
@fault("a store of a newer version between two commands, then put back", how="newer")
def changed(lab: Lab, how: str) -> Found:
    """What is no store of this version is refused."""

    def change() -> None:
        if how == "half":
            os.truncate(lab.path, lab.path.stat().st_size // 2)
        elif how == "garbage":
            lab.path.write_bytes(b"this is no database " * 1000)
        else:
            connection = sqlite3.connect(lab.path)
            connection.execute("update meta set value = '999' where name = 'schema'")
            connection.commit()
            connection.execute("pragma wal_checkpoint(truncate)")
            connection.close()

    return _refused(lab, change)


def _mounted(lab: Lab, megabytes: float) -> None:
    """Put the store on a file system of its own."""
    place = lab.folder / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1024)}k", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise NotRunError("a file system cannot be mounted here")
    lab.url = str(place / "store.db")


def _unmount(lab: Lab) -> None:
    subprocess.run(["umount", "-l", str(lab.folder / "disk")], check=False, capture_output=True)


@fault("the disk full for a while", seconds=20, lasting=False)
@fault("the disk full for longer than it is waited for", seconds=20, lasting=True)
def full(lab: Lab, seconds: float, lasting: bool) -> Found:
    """A file takes all the room that there is, and goes again: later, or when the command has given up."""
    _mounted(lab, 8)
    try:
        lab.more["SAM_DASH_PATIENCE"] = "5" if lasting else "600"
        process = lab.started_training()
        ballast = lab.path.parent / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        if lasting:
            code = lab.end(process)
            ballast.unlink()
        else:
            time.sleep(seconds)
            ballast.unlink()
            code = lab.end(process)
        lines = lab.said()
        assert len(lines) < 25, f"{len(lines)} lines: {lines[:8]}"
        return finished(lab, code)
    finally:
        shutil.copy(lab.path, lab.folder / "store.db")
        _unmount(lab)
        lab.url = str(lab.folder / "store.db")


@fault("the store's file system read-only between two commands, then not")
def read_only(lab: Lab) -> Found:
    """Remounted, as the system does after an error of the disk; nothing is written to the store then."""
    _mounted(lab, 64)
    place = str(lab.path.parent)
    try:
        process = lab.started_training()
        interrupt(process)
        lab.end(process)
        if subprocess.run(["mount", "-o", "remount,ro", place], check=False, capture_output=True).returncode:
            raise NotRunError("a file system cannot be remounted here")
        code = lab.run()
        saw = f"exit {code}: {lab.last()}"
        assert code == 2, saw
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        return finished(lab, 1)[0], saw
    finally:
        with suppress(OSError):
            shutil.copy(lab.path, lab.folder / "store.db")
        _unmount(lab)
        lab.url = str(lab.folder / "store.db")


@fault("the clock set back by a day between two commands")
def clock_back(lab: Lab) -> Found:
    """Of all processes of the second command, as Python tells it: under libfaketime 0.9.10 `time.sleep` fails."""
    process = lab.started_training()
    interrupt(process)
    code = lab.end(process)
    told = lab.folder / "told"
    told.mkdir()
    (told / "sitecustomize.py").write_text("import time\nreal = time.time\ntime.time = lambda: real() - 86400\n")
    lab.more["PYTHONPATH"] = f"{told}{os.pathsep}{ROOT}"
    found = finished(lab, code)
    ((first, last),) = lab.rows("select min(ended), max(started) from runs")
    assert first < time.time() - 80_000, "the clock was not set back"
    assert last is not None
    return found


@fault("memory runs out for a worker, and the kernel ends it")
def out_of_memory(lab: Lab) -> Found:
    """A worker that trains is put into a control group with no room."""
    group = Path("/sys/fs/cgroup/memory", f"sam-dash-{os.getpid()}")
    process = lab.started_training()
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text("256k")
    except OSError as error:
        raise NotRunError(f"no control group can be made here ({error})") from None
    try:
        worker = lab.workers(process)[0]
        (group / "cgroup.procs").write_text(str(worker.pid))
        found = finished(lab, lab.end(process))
        killed = int((group / "memory.oom_control").read_text().split()[-1])
        assert killed > 0, "the kernel has ended nothing"
        return found
    finally:
        with suppress(OSError):
            group.rmdir()


@fault("kill -9 of a Dask scheduler of another's, then started again")
def scheduler_killed(lab: Lab) -> Found:
    """Its runs are back in the queue; the same command goes on once there is one again."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    lab.more["SAM_DASH_SCHEDULER"] = f"tcp://127.0.0.1:{port}"
    env = child(**REPRODUCIBLE, XDG_DATA_HOME=str(lab.folder / "data"))
    cluster: list[subprocess.Popen[bytes]] = []

    def start(what: str, *options: str) -> None:
        line = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", "--no-dashboard", *options]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        cluster.append(subprocess.Popen(line, cwd=ROOT, env=env, **quiet))

    def both() -> None:
        start("scheduler", "--port", str(port))
        for _ in range(2):
            start("worker", lab.more["SAM_DASH_SCHEDULER"], "--nthreads", "1", "--no-nanny")

    try:
        both()
        process = lab.started_training()
        cluster[0].kill()
        code = lab.end(process)
        assert code == 2, code
        assert lab.counts()["queued"] > 0, lab.counts()
        both()
        return finished(lab, code)
    finally:
        for each in cluster:
            each.kill()
            each.wait()


@fault("PostgreSQL restarted while runs train", seconds=5)
def server_restarted(lab: Lab, seconds: float) -> Found:
    """Stopped at once, as by a crash, and started again some seconds later."""
    with server(lab.folder / "server") as (url, control):
        lab.url = url
        process = lab.started_training()
        control("-m", "immediate", "stop")
        time.sleep(seconds)
        control("start")
        found = finished(lab, lab.end(process))
        lab.kept = lab.numbers()
        return found


@contextmanager
def server(folder: Path, password: str = "") -> Iterator[tuple[str, Callable[..., None]]]:
    """A PostgreSQL server of its own on loopback, which asks for the password if there is one: its URL, with that, and
    what calls pg_ctl. NotRunError where there is none.
    """
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places or not find_spec("psycopg"):
        raise NotRunError("PostgreSQL, or psycopg, is not installed")
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # it does not run as root
    folder.mkdir()
    if as_user:
        shutil.chown(folder, "postgres")
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
                parent.chmod(0o755)
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    asks = "trust"
    if password:
        (folder / "password").write_text(password)
        asks = "scram-sha-256"
    secret = [f"--pwfile={folder / 'password'}"] if password else []
    run([*as_user, str(places[-1] / "initdb"), "-D", str(folder / "data"), "-A", asks, "-U", "me", *secret])

    def control(*what: str) -> None:
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        log = ["-D", str(folder / "data"), "-l", str(folder / "log"), "-o", options, "-w"]
        run([*as_user, str(places[-1] / "pg_ctl"), *log, *what])

    control("start")
    try:
        who = f"me:{password}" if password else "me"
        yield f"postgresql+psycopg://{who}@127.0.0.1:{port}/postgres", control
    finally:
        with suppress(subprocess.CalledProcessError):
            control("-m", "immediate", "stop")


@fault("two commands at once on one store")
def two(lab: Lab) -> Found:
    """Two engines; each run is made once."""
    first, second = lab.start(workers=1), lab.start(workers=1)
    codes = [lab.end(first), lab.end(second)]
    attempts = [n for (n,) in lab.rows("select attempt from runs")]
    assert attempts == [1] * len(lab.keys), attempts
    return finished(lab, max(codes))


@fault("an import beside training")
def imported(lab: Lab) -> Found:
    """The example's 40 runs are taken in while runs train."""
    from sam_dash.results.files import bundle
    from sam_dash.results.numbers import study

    example = study.from_folder(study.EXAMPLE)
    assert example is not None
    (lab.folder / "example.zip").write_bytes(bundle.write(example, None, None))
    process = lab.started_training()
    taken = subprocess.run(
        [sys.executable, "-m", "sam_dash", "import", str(lab.folder / "example.zip")], cwd=ROOT, check=False,
        capture_output=True, env=child(SAM_DASH_STORE=lab.url, XDG_DATA_HOME=str(lab.folder / "data")),
    )  # fmt: skip
    assert taken.returncode == 0, taken.stderr
    return finished(lab, lab.end(process))


WRITER = """
import sys
from tests.reliability.faults import write
write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


def write(url: str, claim: str, flushes: int) -> None:
    """One of many writers: a run of its own, begun, reported and finished."""
    store = Store(url, 30.0)
    leases = Leases(store)
    keys: list[str] = []
    while not keys:
        keys = leases.claim(claim, idle=1000)
    owner, _ = leases.begin(keys, claim)
    for i in range(flushes):
        leases.flush(owner, keys, Report(i + 1, flushes, "train", i, {"g_norm": np.full((len(keys), 1), float(i))}))
    for key in keys:
        assert leases.finish(owner, key, Outcome("done"), 1.0, {})
    store.close()


def writers(url: str, count: int, flushes: int) -> tuple[int, int]:
    """That many processes write to one store at once; runs not done, and values lost or doubled."""
    spec = SweepSpec(
        variants=("sgd",), seeds=tuple(range(count)), training=Training(epochs=1), measures=Measures(what=())
    )
    store = Store(url)
    store.submit(spec)
    command = [sys.executable, "-c", WRITER, url]
    processes = [subprocess.Popen([*command, f"w{i}.0", str(flushes)], cwd=ROOT, env=child()) for i in range(count)]
    codes = [process.wait(180) for process in processes]
    keys = [run.key for run in spec.runs()]
    undone = sum(status != "done" for status in store.statuses(keys).values()) + sum(map(bool, codes))
    found = store.series(keys)
    wrong = sum(
        abs(len(found.get(key, {}).get("g_norm", ())) - flushes)
        or int((found[key]["g_norm"] != np.arange(flushes)).sum())
        for key in keys
    )
    store.close()
    return undone, wrong

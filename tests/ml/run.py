#!/usr/bin/env python3
"""Trains real models as jobs of a private supervisor and says what came of it.

    run.py VENV [WORKLOAD…]

Each program of workloads/ runs outside first, once to warm the page cache and
once to be measured, then as a job under each profile that it is for. A job passes
when it succeeds and its RESULT line is that of the run outside. Times are those of
one run: on a busy machine the processor's ("cpu") say more than the clock's.

Needs root and the binaries of `make build`.
"""

import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
WORKLOADS = HERE / "workloads"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
LIMIT_SECONDS = 300
ROW = "{:<18} {:<9} {:<7} {:>9} {:>9} {:>6} {:>6}  {}"


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    profiles: tuple = ("default", "strict")
    options: tuple = ()


ALL = [
    Workload("sklearn_grid"),
    Workload("torch_loader"),
    Workload("torch_gloo", profiles=("default",), options=("--network", "loopback")),
    Workload("torch_compile"),
    Workload("xgboost_trees"),
    Workload("lightgbm_trees"),
    Workload("onnx_inference"),
    Workload("transformers_tiny"),
    Workload("jax_mlp"),
]


@dataclasses.dataclass
class Run:
    result: str
    seconds: float
    cpu_seconds: float
    said: str


def children_cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(command, **how):
    begin, cpu_begin = time.monotonic(), children_cpu_seconds()
    # A session of its own, so that nothing of it outlives a time-out.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        **how,
    )
    try:
        said, _ = process.communicate(timeout=LIMIT_SECONDS + 30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
    seconds = time.monotonic() - begin
    results = [line for line in said.splitlines() if line.startswith("RESULT ")]
    ok = process.returncode == 0 and len(results) == 1
    said = f"{said}\nstatus {process.returncode} after {seconds:.0f} s"
    return Run(results[0] if ok else "", seconds, children_cpu_seconds() - cpu_begin, said)


def outside(venv, workload, scratch):
    """The program as anybody would run it, with the variables that a job has."""
    home = tempfile.mkdtemp(dir=scratch)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "FETCHML_OUTPUT_DIR": home,
    }
    program = WORKLOADS / f"{workload.name}.py"
    return measured([venv / "bin/python", program], env=environment, cwd=WORKLOADS)


class Supervisor:
    """A private supervisor, started by the first command for it."""

    def __init__(self, directory, venv):
        self.directory = directory
        self.base = [TARGET / "release/fetchmlctl", f"--private={directory}"]
        self.venv = venv

    def run(self, workload, profile):
        command = [*self.base, "run", "--profile", profile, "--mount", f"{self.venv}:/venv"]
        command += ["--time-limit", f"{LIMIT_SECONDS}s", *workload.options]
        command += ["--env", "PYTHONDONTWRITEBYTECODE=1"]
        command += ["--", "/venv/bin/python", f"{workload.name}.py"]
        return measured(command, cwd=WORKLOADS)

    def report(self):
        """The exit report of the last job."""
        command = [*self.base, "--json", "status", "@last"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        jobs = json.loads(done.stdout)
        job = jobs[0] if isinstance(jobs, list) else jobs
        return job["report"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """It ends by itself when it is idle; nobody need wait for that."""
        wanted = f"--private\0{self.directory}\0".encode()
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGTERM)
                    while process.exists():
                        time.sleep(0.05)
            except OSError:
                # It is gone.
                continue


def judge(workload, profile, plain, job, report):
    """Prints the row of one job; the number of failures in it."""
    ok = bool(job.result) and job.result == plain.result
    usage = report["usage"]
    cpu = (usage["user_usec"] + usage["system_usec"]) / 1e6
    print(
        ROW.format(
            workload.name,
            profile,
            "ok" if ok else "FAILED",
            f"{plain.seconds:.1f} s",
            f"{job.seconds:.1f} s",
            f"{job.seconds / plain.seconds:.2f}",
            f"{cpu / plain.cpu_seconds:.2f}",
            ", ".join(f"{d['call']} ×{d['count']}" for d in report["denied"]) or "-",
        ),
        flush=True,
    )
    if ok:
        return 0
    print(f"outside: {plain.result}\ninside:\n{job.said}\n{report['summary']}", flush=True)
    return 1


def main():
    venv, *names = sys.argv[1:] or [""]
    venv = pathlib.Path(venv)
    chosen = [w for w in ALL if not names or w.name in names]
    if not (venv / "bin/python").exists() or not chosen:
        sys.exit(__doc__)
    failed = 0
    print(ROW.format("workload", "profile", "result", "outside", "inside", "ratio", "cpu", "denied"))
    with tempfile.TemporaryDirectory(prefix="fetchml-ml-") as scratch:
        with Supervisor(f"{scratch}/supervisor", venv) as supervisor:
            for workload in chosen:
                outside(venv, workload, scratch)
                plain = outside(venv, workload, scratch)
                if not plain.result:
                    failed += 1
                    print(f"{workload.name} fails outside as well:\n{plain.said}", flush=True)
                    continue
                for profile in workload.profiles:
                    job = supervisor.run(workload, profile)
                    failed += judge(workload, profile, plain, job, supervisor.report())
    print(f"{failed} failed" if failed else "all passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

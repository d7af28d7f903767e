#!/usr/bin/env python3
"""Checks a FetchML sandbox from inside: run it as a job.

    fetchmlctl run -- python3 tests/probe/probe.py
    fetchmlctl run --network loopback -- python3 tests/probe/probe.py --network loopback

prints one JSON object a check ({"id", "group", "expect", "got", "ok", "why"})
and a summary at the end. Exit status: 0 when every check holds, 1 when one does
not, 2 for wrong options. It only needs Python's standard library.

The expectations are those of docs/profiles.md, docs/run-contract.md and the
files below policies/. It does nothing that would harm a machine whose sandbox
fails it: arguments are such that a call which gets through has no effect.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from groups import (  # noqa: E402
    calls, descriptors, devices, entries, files, identity, kernel_files, memory_needs, namespaces,
    needs, network, numbers, process, processes, sockets, file_needs,
)
from harness import Context, Probe  # noqa: E402

GROUPS = (
    namespaces, identity, process, descriptors, calls, numbers, entries, sockets, network, files,
    kernel_files, devices, needs, memory_needs, file_needs, processes,
)


def arguments():
    parser = argparse.ArgumentParser(description="check a sandbox from inside")
    parser.add_argument(
        "--profile", default="default", choices=("default", "strict", "gpu", "notebook", "debug"),
        help="the profile that the job runs under",
    )
    parser.add_argument(
        "--network", default="none", choices=("none", "loopback"), help="the job's network",
    )
    parser.add_argument(
        "--only", metavar="PREFIX", help="run only the checks whose id begins so",
    )
    parser.add_argument("--failed", action="store_true", help="print only what fails")
    return parser.parse_args()


def main():
    asked = arguments()
    # Facts of the host that a test passes in; see tests/suites/sandbox/probe.rs.
    host = json.loads(os.environ.get("PROBE_HOST", "{}"))
    context = Context(asked.profile, asked.network, host)
    begun = time.monotonic()
    out = open(os.devnull, "w") if asked.failed else sys.stdout
    probe = Probe(context, out, asked.only)
    for group in GROUPS:
        probe.begin(group.__name__.rpartition(".")[2])
        group.run(probe, context)
    if asked.failed:
        for line in probe.failed:
            print(json.dumps(line))
    summary = probe.summary()
    summary["seconds"] = round(time.monotonic() - begun, 3)
    print(json.dumps(summary))
    # Kept with the job, for whoever started many.
    with open(os.path.join(os.environ.get("FETCHML_OUTPUT_DIR", "."), "probe.json"), "w", encoding="utf-8") as file:
        json.dump({"summary": summary, "failed": probe.failed}, file)
    return 1 if probe.failed else 0


if __name__ == "__main__":
    sys.exit(main())

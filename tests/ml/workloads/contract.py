"""What every workload says and where it writes. The runner compares the result
line of a job with that of the same program outside the sandbox."""

import json
import os
import pathlib
import sys


def outputs():
    """The job's output directory; outside of a job a temporary one of the runner."""
    return pathlib.Path(os.environ["FETCHML_OUTPUT_DIR"])


def expect(holds, what):
    """Ends the workload with a sentence unless `holds`."""
    if not holds:
        sys.exit(f"unexpected: {what}")


def result(**facts):
    """Prints the one line that the runner compares: figures rounded, so that
    another order of additions in another run does not count."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in facts.items()}
    print("RESULT " + json.dumps(rounded, sort_keys=True), flush=True)

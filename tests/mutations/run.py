#!/usr/bin/python3
"""Switches each layer of the sandbox off in turn and demands that a test notices.

    tests/mutations/run.py            every mutation
    tests/mutations/run.py ids caps   those whose name contains one of these words
    tests/mutations/run.py --check    only: does each still fit the code?

A mutation (mutations.toml) replaces a piece of text that occurs exactly once in
a file. The tree is copied, changed, built without optimisation and tried with the
tests that are to notice; the first that fails is enough. With `inside = true` the
tests build sandboxes in their own process, so they are built with the mutant. Exit status 0 when every
mutant was noticed, 1 when one survived or does not fit or build.

The copy and its build stay in $CARGO_TARGET_DIR/mutations (or target/mutations):
a later run builds only what changed.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PLACE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve() / "mutations"
TREE, TARGET = PLACE / "tree", PLACE / "target"
TRIPLE = "x86_64-unknown-linux-gnu"
ENVIRONMENT = {
    **os.environ,
    "CARGO_TARGET_DIR": str(TARGET),
    # Speed of building is what counts here.
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_INCREMENTAL": "true",
    "CARGO_PROFILE_RELEASE_STRIP": "none",
    # A test that cannot run here would look like one that noticed nothing.
    "CI": "true",
}


class Trouble(Exception):
    """A mutation cannot be tried."""


def main():
    words = [w for w in sys.argv[1:] if not w.startswith("-")]
    mutations = tomllib.loads((HERE / "mutations.toml").read_text())["mutation"]
    names = [m["name"] for m in mutations]
    if len(set(names)) != len(names):
        return "a name of mutations.toml is there twice"
    unfit = [problem for m in mutations if (problem := misfit(REPOSITORY, m))]
    if unfit:
        return "\n".join(unfit)
    if "--check" in sys.argv:
        print(f"{len(mutations)} mutations fit the code")
        return 0
    chosen = [m for m in mutations if not words or any(w in m["name"] for w in words)]
    copy_tree()
    began = time.monotonic()
    build(["daemon", "agent"])
    # Most mutants do not change it, and those that do leave theirs in its place.
    suite = shutil.copy2(build_suite(), PLACE / "suite")
    tests = sorted({t for m in chosen for t in m["tests"]})
    failed = first_failure(suite, tests)
    if failed:
        return f"without any mutation a test fails already: {failed}"
    say("", f"{len(tests)} tests pass without a mutation", began)
    outcomes = [attempt(suite, m) for m in chosen]
    bad = [(m["name"], why) for m, why in zip(chosen, outcomes) if why]
    print(f"\n{len(chosen) - len(bad)} of {len(chosen)} mutants were noticed")
    for name, why in bad:
        print(f"{name}: {why}")
    return 1 if bad else 0


def edits(mutation):
    """Further places first: what is moved must be gone before it appears elsewhere."""
    return [*mutation.get("also", []), mutation]


def misfit(root, mutation):
    for edit in edits(mutation):
        path = root / edit["file"]
        found = path.read_text().count(edit["find"]) if path.exists() else 0
        if found != 1:
            return (f"mutation {mutation['name']!r}: its text is {found} times in {edit['file']}, not once; "
                    "make it fit the code again in tests/mutations/mutations.toml")
    return None


def attempt(suite, mutation):
    """Why the mutant counts as bad; None when a test noticed it."""
    began = time.monotonic()
    files = {edit["file"] for edit in edits(mutation)}
    whole = {file: (TREE / file).read_text() for file in files}
    try:
        for edit in edits(mutation):
            path = TREE / edit["file"]
            path.write_text(path.read_text().replace(edit["find"], edit["replace"]))
        build(["agent", "daemon"] if any(map(needs_agent, files)) else ["daemon"])
        noticed = first_failure(build_suite() if mutation.get("inside") else suite, mutation["tests"])
    except Trouble as trouble:
        say("TROUBLE", mutation["name"], began)
        return str(trouble)
    finally:
        for file, text in whole.items():
            (TREE / file).write_text(text)
    if noticed:
        say("noticed", f"{mutation['name']}  by {noticed}", began)
        return None
    say("SURVIVED", mutation["name"], began)
    return "no test noticed it: " + ", ".join(mutation["tests"])


def needs_agent(file):
    return file.startswith(("agent/", "daemon/sys/", "daemon/api/"))


def say(word, text, began):
    print(f"{word:9} {time.monotonic() - began:5.0f} s  {text}", flush=True)


def copy_tree():
    """Brings the copy up to date; what did not change keeps its time for cargo."""
    listed = run(["git", "ls-files", "-co", "--exclude-standard", "-z"], REPOSITORY)
    files = [f for f in listed.split("\0") if f and (REPOSITORY / f).is_file()]
    for file in files:
        new, old = (REPOSITORY / file).read_bytes(), TREE / file
        if not old.exists() or old.read_bytes() != new:
            old.parent.mkdir(parents=True, exist_ok=True)
            old.write_bytes(new)
            old.chmod((REPOSITORY / file).stat().st_mode & 0o777)
    gone = {p for p in TREE.rglob("*") if p.is_file()} - {TREE / f for f in files}
    for path in gone:
        path.unlink()


def build(what):
    if "daemon" in what:
        cargo(["build", "--release", "--locked", "-p", "fetchmld", "-p", "fetchmlctl"], {})
    if "agent" in what:
        flags = {"RUSTFLAGS": "-C target-feature=+crt-static"}
        cargo(["build", "--release", "--locked", "-p", "fetchml-agent", "--target", TRIPLE], flags)


def build_suite():
    """The program of the sandbox suite."""
    out = cargo(["test", "--release", "--locked", "-p", "fetchml-tests", "--test", "sandbox", "--no-run"], {})
    return str(TREE / out.split("Executable")[1].split("(")[1].split(")")[0])


def cargo(arguments, more):
    done = subprocess.run(["cargo", *arguments], cwd=TREE, env={**ENVIRONMENT, **more}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise Trouble("it does not build:\n" + done.stdout[-2000:])
    return done.stdout


def run(command, cwd):
    return subprocess.run(command, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE).stdout


def first_failure(suite, tests):
    """The first of the tests that fails, or None.

    `sandbox` tests are named by their path in the suite; `package: filter` is a
    unit test, which is built with the mutant.
    """
    for test in tests:
        package, _, name = test.rpartition(": ")
        if package:
            command = ["cargo", "test", "--release", "--locked", "-p", package, "--", name]
        else:
            # A mutant may name the host or mount over it: let it be another one's.
            command = ["unshare", "--uts", "--mount", "--propagation", "private", suite, "--exact", name]
        # A file and no pipe: a supervisor that a failed test leaves would hold it open.
        with tempfile.TemporaryFile("w+") as output:
            try:
                status = subprocess.run(command, cwd=TREE, env=ENVIRONMENT, timeout=1800 if package else 180,
                                        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT).returncode
            except subprocess.TimeoutExpired:
                return f"{test} (hangs)"
            output.seek(0)
            said = output.read()
        if package and "could not compile" in said:
            raise Trouble("it does not build:\n" + said[-2000:])
        if status:
            return test
        if " 1 passed" not in said and not package:
            raise Trouble(f"there is no test {test!r}")
    return None


sys.exit(main())

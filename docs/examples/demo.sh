#!/bin/sh
# Trains a small classifier on real data inside the sandbox and shows what is
# left afterwards: metrics, exit report, outputs, audit chain. `make demo`
# builds what it needs and runs it.
#
# Everything happens in a fresh directory with a supervisor of its own, which
# needs neither systemd nor a bus. The directory is removed at the end, unless
# a step failed or FETCHML_DEMO_KEEP is set.
set -eu

cd "$(dirname "$0")/../.."
target=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
bin=$target/release
FETCHML_AGENT=$target/x86_64-unknown-linux-gnu/release/fetchml-agent
export FETCHML_AGENT

die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

# Prints its arguments as a person would type them.
show_command() {
    line=
    for word in "$@"; do
        case $word in
        '' | *[!A-Za-z0-9_./=:@%+,-]*)
            word="'$(printf '%s' "$word" | sed "s/'/'\\\\''/g")'"
            ;;
        esac
        line="$line $word"
    done
    printf '$%s\n' "$line"
}

# step "what for" command...: announces the command, runs it, insists on success.
number=0
step() {
    number=$((number + 1))
    printf '\n== %d. %s\n' "$number" "$1"
    shift
    show_command "$@"
    status=0
    "$@" || status=$?
    [ "$status" -eq 0 ] || die "step $number ended with status $status"
}

# The supervisor leaves by itself when nothing has used it for a while. It is
# asked to leave now because its directory is about to go. Found by its program
# and by the directory on its command line, so that no other one is meant.
stop_supervisor() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" 2>/dev/null) in
        */fetchmld | */fetchmld' (deleted)') ;;
        *) continue ;;
        esac
        tr '\0' '\n' <"$process/cmdline" 2>/dev/null | grep -qF -- "$private" || continue
        kill -TERM "${process#/proc/}" 2>/dev/null || true
        waited=0
        while [ -d "$process" ] && [ "$waited" -lt 50 ]; do
            sleep 0.1
            waited=$((waited + 1))
        done
    done
}

clean_up() {
    status=$?
    trap - EXIT
    stop_supervisor
    if [ "$status" -ne 0 ]; then
        printf '\ndemo: FAILED; what it left is in %s\n' "$private" >&2
        if [ -s "$private/run/fetchmld.log" ]; then
            printf 'demo: last lines of the supervisor:\n' >&2
            tail -n 20 "$private/run/fetchmld.log" >&2
        fi
    elif [ -n "${FETCHML_DEMO_KEEP:-}" ]; then
        printf '\nkept: %s\n' "$private"
    else
        rm -rf --one-file-system "$private"
    fi
    exit "$status"
}

# The root of a container often is an overlay, which can neither map the ids of
# a job nor carry the overlay that keeps its changes apart.
on_overlay() {
    [ "$(stat -f -c %T -- "$1")" = overlayfs ]
}

in_every_job() {
    case $(readlink -f "$1") in
    /usr/* | /opt/*) [ -x "$1" ] ;;
    *) false ;;
    esac
}

# Decides which Python the job runs: sets $python, and $prefix where the
# interpreter lives outside what the default profile shows of this machine.
choose_python() {
    prefix=
    # Where a job looks a bare name up, whatever this shell's PATH is.
    found=$(PATH=/usr/local/bin:/usr/bin:/bin && command -v python3) || found=
    for python in "$found" /usr/bin/python3; do
        if [ -n "$python" ] && in_every_job "$python"; then
            [ "$python" != "$found" ] || python=python3
            return
        fi
    done
    command -v python3 >/dev/null || die "python3 was not found: install it, as in 'apt-get install python3'"
    prefix=$(python3 -c 'import sys; print(sys.base_prefix)')
    python=$prefix/bin/python3
    [ -x "$python" ] || die "no interpreter at $python: install python3 below /usr"
    ! in_every_job "$python" || prefix=
}

[ "$(id -u)" -eq 0 ] || die "run it as root: a supervisor of one's own makes namespaces and mounts"
for program in "$bin/fetchmlctl" "$bin/fetchmld" "$FETCHML_AGENT"; do
    [ -x "$program" ] || die "$program is missing: run 'make demo', which builds it"
done
choose_python

place=${TMPDIR:-/tmp}
if on_overlay docs/examples || on_overlay "$place"; then
    place=/dev/shm
fi
private=$(mktemp -d "$place/fetchml-demo.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cat <<INTRO
FetchML demo: 1,797 handwritten digits (docs/examples/digits/README.md says
where they are from), a network with one hidden layer in plain Python, no
network access, no privilege, a root file system it cannot write.

To type the commands yourself, first:
INTRO
printf '$ export PATH=%s:$PATH\n' "$bin"
show_command export "FETCHML_AGENT=$FETCHML_AGENT"
PATH=$bin:$PATH
export PATH

project=docs/examples
if on_overlay "$project"; then
    printf '\nThis directory is on an overlay file system, the job gets a copy in memory:\n'
    project=$private/project
    show_command cp -a docs/examples "$project"
    cp -a docs/examples "$project"
fi

set -- run --name digits --time-limit 10m --dir "$project"
if [ -n "$prefix" ]; then
    set -- "$@" --mount "$prefix:$prefix:ro"
fi
step "train, and follow it live" \
    fetchmlctl "--private=$private" "$@" -- "$python" train.py

step "why it ended, and which layers of the sandbox held" \
    fetchmlctl "--private=$private" status digits

step "what it left" \
    fetchmlctl "--private=$private" outputs digits

step "its metrics, read back from its outputs" \
    fetchmlctl "--private=$private" metrics digits

step "who did what" \
    fetchmlctl "--private=$private" audit show

step "that nobody changed that account since" \
    fetchmlctl "--private=$private" audit verify

printf '\nThe demo is complete: all %d steps succeeded.\n' "$number"

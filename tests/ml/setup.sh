#!/bin/bash
# Makes the virtual environment of the machine-learning tests, once, and prints
# where it is: about 2.5 GB to fetch from PyPI, 5 GB on the disk.
#
# It is kept in FETCHML_TEST_CACHE (default /var/cache/fetchml-tests) under a
# name that holds the hash of requirements.txt, this script and the interpreter;
# an older one is removed. The interpreter is the system's: a job sees /usr and
# nothing of pyenv or conda.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${FETCHML_TEST_CACHE:-/var/cache/fetchml-tests}
python=/usr/bin/python3

hash=$({ cat "$here/requirements.txt" "${BASH_SOURCE[0]}"; "$python" --version; } | sha256sum | cut -c1-12)
result=$cache/ml-$hash
mkdir -p "$cache"
exec 9>"$cache/ml.lock"
flock 9
if [ -e "$result/complete" ]; then
    echo "$result"
    exit 0
fi

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "setup: $python cannot make virtual environments: apt-get install python3-venv" >&2
    exit 1
fi
for old in "$cache"/ml-*; do
    if [ -d "$old" ]; then
        rm -rf --one-file-system "$old"
    fi
done
trap 'rm -rf --one-file-system "$result"' EXIT
echo "setup: making $result" >&2
"$python" -m venv "$result"
"$result/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
    --no-deps --only-binary :all: --requirement "$here/requirements.txt" >&2
"$result/bin/python" -c 'import jax, lightgbm, onnx, onnxruntime, sklearn, torch, transformers, xgboost'
touch "$result/complete"
trap - EXIT
echo "$result"

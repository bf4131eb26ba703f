#!/usr/bin/env bash
# Make one of the project's Python environments, or bring it up to date. Called by the Makefile:
#     tools/environment.sh 3.11 .venv STAMP              engine, add-on tests in Blender 5.0, demo, checks
#     tools/environment.sh 3.13 .venv-5.2 STAMP 5.2.3    add-on tests in Blender 5.2; skipped where there is no Python 3.13
#     tools/environment.sh 3.11 .venv-4.2 STAMP 4.2.23   add-on tests in an older Blender
# STAMP is written last, so an interrupted run is simply done again. Safe to run twice.
set -euo pipefail
version=$1 folder=$2 stamp=$3 blender=${4:-}
cd "$(dirname "$0")/.."

# A candidate must run: a version manager's shim may exist for a version that is not switched on.
find_python() {
    local candidate
    for candidate in "$folder/bin/python" "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python \
                     "$HOME"/.local/share/uv/python/cpython-"$version".*/bin/python /opt/homebrew/bin/"python$version" python3; do
        if "$candidate" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

if ! python=$(find_python); then
    if [ "$version" = 3.13 ]; then
        echo "No Python 3.13 here: the tests in Blender 5.2 are skipped."
        exit 0
    fi
    echo "Slipcast needs Python $version, and none was found." >&2
    echo "Install it (for example: apt install python$version python$version-venv, brew install python@$version, or" >&2
    echo "pyenv install $version) and run the same command again." >&2
    exit 1
fi

# Two makes at once: the second waits, then finds everything in place.
if command -v flock >/dev/null; then
    mkdir -p build
    exec 9>"build/.environment-$folder.lock"
    flock 9
    [ ! -e "$stamp" ] || exit 0
fi

echo "Setting up $folder (Python $version); the first time this downloads about 1 GB and takes some minutes."
if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    [ "$python" != "$folder/bin/python" ] || python=$("$python" -c "import sys; print(sys._base_executable)")
    "$python" -m venv --clear "$folder"
fi
pip=("$folder/bin/python" -m pip install --disable-pip-version-check)
[ -t 1 ] || pip+=(--quiet)      # a person sees that it goes on, a log does not need to
if [ -z "$blender" ]; then
    "${pip[@]}" --constraint constraints.txt --editable ".[dev]"
else
    "${pip[@]}" --constraint "constraints-$version.txt" "bpy==$blender" pyzmq pytest pytest-timeout
    "${pip[@]}" --no-deps --editable .
fi
rm -f "$folder"/.slipcast-*
touch "$stamp"

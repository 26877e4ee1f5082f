#!/usr/bin/env bash
# Runs tests under a sanitizer:  tools/sanitize.sh address|thread [PYTHON] [pool|ops|buffer|all...] [pytest arguments...]
# By default those of the native pool; ops are the kernels', buffer the replay buffer's.
# Builds the extension apart (build/sanitize-*) and leaves the one in the source tree alone. Needs g++.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
kind="${1:?expected address or thread}"
python="$(command -v "${2:-python}")"
shift $(($# < 2 ? $# : 2))
case "$kind" in
    address) flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined"; runtime=libasan.so ;;
    thread) flags="-fsanitize=thread"; runtime=libtsan.so ;;
    *) echo "sanitizer: expected address or thread, got $kind" >&2; exit 2 ;;
esac

# The instrumented extension beside links to the package's Python files.
build="$root/build/sanitize-$kind"
suffix="$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
cmake -S "$root" -B "$build" -G Ninja -DIBRL_CUDA=OFF -DIBRL_MUJOCO=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_CXX_FLAGS="$flags -fno-omit-frame-pointer -g" \
    -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" >/dev/null
cmake --build "$build"
overlay="$build/overlay"
rm -rf "$overlay"
mkdir -p "$overlay/ibrl_fast"
for entry in "$root"/ibrl_fast/*; do
    [[ "$entry" == *_core*.so ]] || ln -s "$entry" "$overlay/ibrl_fast/"
done
cp "$build/_core$suffix" "$overlay/ibrl_fast/"

# Python and MuJoCo are not instrumented: leaks are their own matter, and so are races inside libmujoco's memory.
# Mesa's LLVM holds more locks at a time than the thread sanitizer can keep in mind.
suppressions="$build/suppressions.txt"
printf 'race:libmujoco\ncalled_from_lib:libmujoco\nrace:libgallium\ncalled_from_lib:swrast_dri.so\ncalled_from_lib:libLLVM\nmutex:libgcc_s\nmutex:libOSMesa\nrace:libOSMesa\n' >"$suppressions"
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=0:exitcode=86"
export UBSAN_OPTIONS="print_stacktrace=1"
export TSAN_OPTIONS="exitcode=86:die_after_fork=0:suppressions=$suppressions"
export PYTHONPATH="$overlay" LD_PRELOAD="$(g++ -print-file-name=$runtime) $(g++ -print-file-name=libstdc++.so)"
export OMP_NUM_THREADS=1

# The thread sanitizer stops where a library that it was told to leave alone is unloaded: Mesa's driver stays open.
# Tests of any other extension than the instrumented one would find nothing: they do not begin.
cat >"$overlay/sanitized.py" <<'PLUGIN'
import ctypes, glob, os
import pytest

LIBRARIES = [ctypes.CDLL(path) for path in glob.glob("/usr/lib/*/dri/swrast_dri.so")]


def pytest_configure(config):
    from ibrl_fast import _core

    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ibrl_fast")
    if os.path.dirname(os.path.realpath(_core.__file__)) != os.path.realpath(folder):
        pytest.exit(f"sanitizer: expected the extension in {folder}, got {_core.__file__}", returncode=3)
PLUGIN

# setarch: the thread sanitizer wants the classic address layout. A fork of a sanitized process is not a test of ours,
# nor are limits of memory. Not in the source tree, whose own extension would come first.
groups=()
while (($#)) && [[ "$1" =~ ^(pool|ops|buffer|all)$ ]]; do groups+=("$1"); shift; done
((${#groups[@]} + $#)) || groups=(pool)
tests=("$@")
for group in "${groups[@]}"; do
    if [[ "$group" == pool || "$group" == all ]]; then
        tests+=("$root"/python_tests/envs/test_env_pool{,_faults}.py "$root"/python_tests/faults/test_pool_*.py)
    fi
    [[ "$group" == ops || "$group" == all ]] && tests+=("$root/python_tests/ops")
    [[ "$group" == buffer || "$group" == all ]] && tests+=("$root"/python_tests/data/test_replay_buffer*.py)
done
for ((i = 0; i < ${#tests[@]}; ++i)); do
    [[ "${tests[i]}" == python_tests/* ]] && tests[i]="$root/${tests[i]}"
done
cd "$overlay"
setarch "$(uname -m)" -R "$python" -m pytest -q -p no:cacheprovider -p sanitized -c "$root/pyproject.toml" --rootdir "$root" \
    -m "not slow" -k "not forked and not growth and not fork_is_told and not system_refuses" "${tests[@]}"
echo "no $kind errors"

#!/usr/bin/env bash
# Runs the native pool's tests under a sanitizer:  tools/sanitize.sh address|thread [PYTHON] [pytest arguments...]
# Builds the extension apart (build/sanitize-*) and leaves the one in the source tree alone. Needs g++.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
kind="${1:?expected address or thread}"
python="${2:-python}"
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
printf 'race:libmujoco\ncalled_from_lib:libmujoco\nrace:libgallium\ncalled_from_lib:swrast_dri.so\ncalled_from_lib:libLLVM\nmutex:libgcc_s\n' >"$suppressions"
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=0:exitcode=86"
export UBSAN_OPTIONS="print_stacktrace=1"
export TSAN_OPTIONS="exitcode=86:die_after_fork=0:suppressions=$suppressions"
export PYTHONPATH="$overlay" LD_PRELOAD="$(g++ -print-file-name=$runtime) $(g++ -print-file-name=libstdc++.so)"
export OMP_NUM_THREADS=1

# The thread sanitizer stops where a library that it was told to leave alone is unloaded: Mesa's driver stays open.
cat >"$overlay/keep_open.py" <<'PLUGIN'
import ctypes, glob

LIBRARIES = [ctypes.CDLL(path) for path in glob.glob("/usr/lib/*/dri/swrast_dri.so")]
PLUGIN

# setarch: the thread sanitizer wants the classic address layout. A fork of a sanitized process is not a test of ours.
tests=("$@")
[[ ${#tests[@]} -gt 0 ]] || tests=(python_tests/envs/test_env_pool.py python_tests/envs/test_env_pool_faults.py)
cd "$root"
setarch "$(uname -m)" -R "$python" -m pytest -q -p no:cacheprovider -p keep_open -m "not slow" -k "not forked and not growth" "${tests[@]}"
echo "no $kind errors"

#!/usr/bin/env bash
# Builds the extension into the source tree, incrementally:  tools/build_core.sh [PYTHON] [cmake arguments...]
# For example:  tools/build_core.sh .venv/bin/python -DIBRL_CUDA=OFF
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
python="${1:-python}"
shift || true

# One build folder for each kind of interpreter, so that switching does not rebuild everything.
suffix="$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
build="$root/build/core$suffix"
cmake -S "$root" -B "$build" -G Ninja \
    -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" "$@"
cmake --build "$build"

# Replaced in one step: processes that have the old one open keep it.
cp "$build/_core$suffix" "$root/ibrl_fast/.core_new.so"
mv -f "$root/ibrl_fast/.core_new.so" "$root/ibrl_fast/_core$suffix"
echo "built ibrl_fast/_core$suffix"

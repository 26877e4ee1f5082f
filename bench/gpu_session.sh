#!/usr/bin/env bash
# One sitting on a GPU machine, under nine minutes, without network:  bench/gpu_session.sh [--dry-run] [OUT_DIR]
# Needs python3 with torch, pybind11, pytest, numpy, h5py and matplotlib, nvcc, cmake and ninja; no simulator.
# Builds the extension with CUDA, runs every CUDA test, then the GPU benches. OUT_DIR (bench/results) gets the JSON
# files and session.txt with every table. --dry-run goes the same way on a machine without a GPU: the CUDA kernels
# are compiled where nvcc is there, the CUDA tests are skipped one by one, the benches run shortly on the CPU.
set -uo pipefail
cd "$(dirname "$0")/.."
device=cuda
if [[ "${1:-}" == "--dry-run" ]]; then
    device=cpu
    shift
fi
out="$(mkdir -p "${1:-bench/results}" && cd "${1:-bench/results}" && pwd)"
python="$(command -v python3)"
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1 MPLBACKEND=Agg
exec > >(tee "$out/session.txt") 2>&1

failures=0
# step SECONDS NAME COMMAND...: runs a step inside its share of the time and goes on if it fails.
step() {
    local limit="$1" name="$2" begin="$SECONDS"
    shift 2
    [[ "$device" == cuda ]] || limit=$((limit * 6)) # a dry run's machine may be small
    printf '\n=== %s\n' "$name"
    timeout --kill-after=5 "$limit" "$@"
    local status=$?
    printf '=== %s: %s after %d s\n' "$name" "$([[ $status -eq 0 ]] && echo passed || echo "FAILED ($status)")" $((SECONDS - begin))
    [[ $status -eq 0 ]] || failures=$((failures + 1))
    return "$status"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "no GPU driver"

# the build, on all cores; without it there is nothing to test
cuda=ON
[[ "$device" == cpu ]] && cuda=AUTO
step 180 "build (IBRL_CUDA=$cuda)" tools/build_core.sh "$python" "-DIBRL_CUDA=$cuda" || exit 1

# CUDA tests of the parts that can be imported here; a part that needs a simulator is named and left out
tests=()
for part in ops nn data agents training deploy; do
    [[ -d "python_tests/$part" ]] || continue
    if "$python" -c "import ibrl_fast.$part" 2>/dev/null; then
        tests+=("python_tests/$part")
    else
        echo "left out: python_tests/$part (ibrl_fast.$part does not import here)"
    fi
done
step 150 "CUDA tests" "$python" -m pytest -q -m cuda -p no:cacheprovider "${tests[@]}"

# the benches that are there; every one takes --device and --out
if [[ "$device" == cuda ]]; then
    [[ -f bench/bench_ops.py ]] && step 100 "ops" "$python" bench/bench_ops.py --device cuda --out "$out"
    [[ -f bench/bench_update.py ]] && step 100 "update rounds" "$python" bench/bench_update.py --device cuda --out "$out"
    [[ -f bench/bench_replay.py ]] && step 60 "replay" "$python" bench/bench_replay.py --device cuda --out "$out"
else
    step 100 "ops" "$python" bench/bench_ops.py --device cpu --rounds 1 --no-compile --out "$out"
fi

printf '\n%d step(s) failed; results in %s\n' "$failures" "$(basename "$out")"
exit $((failures > 0))

#!/usr/bin/env bash
# One sitting on a GPU machine, under nine minutes, without network:
#   bench/gpu_session.sh [--dry-run] [--train "PRESET [bench_train.py's options]"] [OUT_DIR]
# Needs python3 with torch, pybind11, pytest, numpy, h5py and matplotlib, nvcc, cmake and ninja; no simulator.
# Builds the extension with CUDA, runs every CUDA test, then the GPU benches. OUT_DIR (bench/results) gets the JSON
# files, marked as drafts unless the tree is a clean commit, and session.txt with every table. --dry-run goes the same
# way on a machine without a GPU: the CUDA kernels are compiled where nvcc is there, the CUDA tests are skipped one by
# one, the benches run shortly on the CPU (into OUT_DIR, so give another one).
# --train runs a whole training after that (it needs the simulator and takes minutes more).
set -uo pipefail
cd "$(dirname "$0")/.."
device=cuda
train=""
while [[ "${1:-}" == --* ]]; do
    case "$1" in
        --dry-run) device=cpu ;;
        --train) train="${2:?expected a preset after --train}" && shift ;;
        *) echo "gpu_session.sh: expected --dry-run or --train, got $1" >&2 && exit 2 ;;
    esac
    shift
done
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

# CUDA tests of the files that can be imported here; one that needs what is not installed is named and left out
tests=(python_tests/{ops,nn,data,agents,training,deploy,faults})
while read -r file; do
    echo "left out: $file (it cannot be imported here)"
    tests+=("--ignore=$file")
done < <("$python" -m pytest --collect-only -q -m cuda -p no:cacheprovider "${tests[@]}" 2>&1 |
    sed -n 's/^ERROR \(python_tests[^ ]*\).*/\1/p')
step 150 "CUDA tests" "$python" -m pytest -q -m cuda -p no:cacheprovider "${tests[@]}"

# the benches; every one takes --device, --out, --variant and --draft
draft=()
changes="$(git status --porcelain -- . ':!bench/results' 2>&1)" # outside git: its error
if [[ "$device" == cpu || -n "$changes" ]]; then
    draft=(--draft)
    echo "results are drafts: this is no clean commit, or a dry run"
fi
if [[ "$device" == cuda ]]; then
    step 60 "ops" "$python" bench/bench_ops.py --device cuda --no-compile --out "$out" "${draft[@]}"
    step 60 "replay" "$python" bench/bench_replay.py --device cuda --out "$out" "${draft[@]}"
    step 110 "update rounds" "$python" bench/bench_update.py --device cuda --out "$out" "${draft[@]}"
    # compiling takes long and may fail: by itself, and last
    step 80 "update rounds, torch.compile" "$python" bench/bench_update.py --device cuda --sizes state \
        --compile --no-captured --variant cuda_compile --out "$out" "${draft[@]}"
else
    step 60 "ops" "$python" bench/bench_ops.py --device cpu --rounds 1 --no-compile --out "$out" "${draft[@]}"
    step 60 "replay" "$python" bench/bench_replay.py --device cpu --quick --out "$out" "${draft[@]}"
    step 60 "update rounds" "$python" bench/bench_update.py --device cpu --quick --sizes quickstart --out "$out" "${draft[@]}"
fi

# a whole run from pixels, where a simulator is installed and it is asked for: beyond the nine minutes
if [[ -n "$train" ]]; then
    step 560 "a whole run" "$python" bench/bench_train.py $train --device "$device" --out "$out" "${draft[@]}"
fi

printf '\n%d step(s) failed; results in %s\n' "$failures" "$(basename "$out")"
exit $((failures > 0))

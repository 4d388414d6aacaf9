#!/usr/bin/env bash
# Measures what a build costs and prints a table: wall clock, processor seconds, peak memory.
#
#   tests/measure.sh [RECIPE]        3 runs each, the middle one is shown
#
# "Cold" means that every package is in the download cache and nothing else is: no configured tree, no
# image. Rivals are measured in the same run if they are installed: mmdebstrap and mkosi make the tree
# alone, from the same wishes; mkosi finds its packages in its own cache. Run it on an idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."

recipe=${1:-recipes/qemu-x86_64.toml}
runs=${RUNS:-3}
cargo build --quiet --release
composer=$PWD/target/release/goni-compose
place=$(mktemp -d "${TMPDIR:-/tmp}/goni-measure.XXXXXX")
trap 'rm -rf "$place"' EXIT
export GONI_COMPOSE_CACHE=$place/cache

# Runs a command; leaves wall, user+sys and its peak memory in `row`.
measure() {
    local peak=0 sum pid status times
    times=$place/times
    { TIMEFORMAT='%R %U %S'; time "$@" >"$place/log" 2>&1; } 2>"$times" &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        # The resident memory of the program, in KiB; not that of what it starts.
        sum=$({ ps -o rss= --ppid "$pid" || true; } | awk '{ s += $1 } END { print s + 0 }')
        if [ "$sum" -gt "$peak" ]; then peak=$sum; fi
        sleep 0.05
    done
    status=0
    wait "$pid" || status=$?
    if [ "$status" -ne 0 ]; then cat "$place/log" >&2; exit "$status"; fi
    row=$(awk -v peak="$peak" '{ printf "%.1f %.1f %.0f", $1, $2 + $3, peak / 1024 }' "$times")
}

# The middle of several runs, by wall clock; `prepare` comes before each.
middle() {
    local label=$1 prepare=$2 rows=() i
    shift 2
    for ((i = 0; i < runs; i++)); do
        "$prepare"
        measure "$@"
        rows+=("$row")
    done
    read -r wall cpu peak < <(printf '%s\n' "${rows[@]}" | sort -n | sed -n "$(((runs + 1) / 2))p")
    printf '| %-42s | %8s s | %8s s | %6s MiB |\n' "$label" "$wall" "$cpu" "$peak"
}

nothing() { :; }
cold() { rm -rf "$GONI_COMPOSE_CACHE/trees" "$place/out"; }
other_payload() { printf '#!/bin/sh\n# %s\n' "$RANDOM$RANDOM" >"$place/payload"; }
no_tree() { rm -rf "$place/tree"; }

build=("$composer" --quiet --out "$place/out" build "$recipe")
"${build[@]}" >/dev/null 2>&1 # brings every package into the cache
printf '| %-42s | %10s | %10s | %10s |\n|---|---|---|---|\n' "$recipe" wall processor 'peak memory'
middle "cold, to verified raw and qcow2" cold "${build[@]}"
middle "one payload changed" other_payload "${build[@]}" --payload "goni-http=$place/payload"
"${build[@]}" >/dev/null 2>&1
middle "nothing changed" nothing "${build[@]}"
raw=$(ls "$place"/out/*.raw)
cp -r "$place/out" "$place/other"
other=$place/other/$(basename "$raw")
middle "check" nothing "$composer" check "$recipe"
middle "plan" nothing "$composer" plan "$recipe"
middle "lock, nothing changed" nothing "$composer" lock "$recipe"
middle "why, of the recipe" nothing "$composer" --out "$place/out" why "$recipe" /usr/bin/systemctl
middle "why, of the image" nothing "$composer" why "$raw" /usr/bin/systemctl
middle "diff of an image and its copy" nothing "$composer" diff "$raw" "$other"
runs=1 middle "build --twice, everything at hand" nothing "${build[@]}" --twice
# The same wishes; a rival's own closure, with an initrd generator where ours has none.
packages=$(sed -n '/^request.packages = \[/,/^\]/s/^ *"\([^"]*\)",$/\1/p' "${recipe%.toml}.lock" | paste -sd,)
if command -v mmdebstrap >/dev/null; then
    middle "mmdebstrap, the tree alone" no_tree \
        mmdebstrap --variant=essential --include="$packages" trixie "$place/tree"
else
    echo "mmdebstrap is not installed: not measured"
fi
if command -v mkosi >/dev/null; then
    mkosi=(mkosi --distribution debian --release trixie --format directory --bootable no --package "$packages"
        --package-cache-dir "$place/mkosi" --output-directory "$place" --output tree --force build)
    mkdir -p "$place/mkosi" "$place/nowhere"
    cd "$place/nowhere"
    "${mkosi[@]}" >/dev/null 2>&1 # brings every package into its cache
    middle "mkosi, the tree alone" no_tree "${mkosi[@]}"
else
    echo "mkosi is not installed: not measured"
fi

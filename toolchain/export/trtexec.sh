#!/bin/sh
# Builds this bundle's models with the TensorRT of this device, and times them: for JetPack 4 and 5, whose Python is too old for
# thinwave. Needs nothing but trtexec, which comes with JetPack.
#
#   sh trtexec.sh [PRECISIONS [PROCESSES [SECONDS]]]
#
# PRECISIONS is "fp32 fp16" where nothing is said, or int8 where the bundle has that alone; int8 is for Xavier and Orin. It
# leaves trtexec-times/ beside itself; read it with
#   thinwave profile BUNDLE --from-trtexec trtexec-times --target jetson-nano
# Close other programs, and set the power mode and the clocks first (nvpmodel, jetson_clocks).
set -eu
cd "$(dirname "$0")"
if [ -f trtexec-fp32.onnx ]; then there="fp32 fp16"; else there=int8; fi
precisions=${1:-$there}
processes=${2:-10}
seconds=${3:-3}
length=@LENGTH@
for number in "$processes" "$seconds"; do
  case $number in
    '' | *[!0-9]* | 0*) echo "trtexec.sh: $number is no whole number over 0" >&2; exit 2 ;;
  esac
done
# TensorRT 8 is told which types it may use, and chooses by layer.
choose() {
  case $1 in
    fp32) model=trtexec-fp32.onnx flags=--noTF32 ;;
    fp16) model=trtexec-fp32.onnx flags=--fp16 ;;
    int8) model=trtexec-int8.onnx flags="--int8 --fp16" ;;
    *) echo "trtexec.sh: $1 is none of fp32, fp16, int8" >&2; exit 2 ;;
  esac
}
for precision in $precisions; do
  choose "$precision"
  if [ ! -f "$model" ]; then
    echo "trtexec.sh: this bundle holds no $model" >&2
    exit 2
  fi
done

trtexec=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)
if [ ! -x "$trtexec" ]; then
  echo "trtexec.sh: trtexec is not here, neither on the PATH nor in /usr/src/tensorrt/bin; install JetPack's TensorRT" >&2
  exit 2
fi
# What is this device? Of what it calls itself only what JSON and any encoding hold as it is. Files of another device may lie
# under another root.
root=${THINWAVE_ROOT:-}
plain() { tr '\000\n' '  ' | tr -cd '\040\041\043-\133\135-\176' | sed 's/ *$//'; }
device=$(plain 2>/dev/null < "$root/proc/device-tree/model") || device=
device_tree=$(plain 2>/dev/null < "$root/proc/device-tree/compatible") || device_tree=
if [ -z "$device_tree" ]; then
  echo "trtexec.sh: this device does not say what it is ($root/proc/device-tree/compatible): of these times thinwave will not know" \
    "whose they are; a container hides it, run this on the device itself" >&2
fi
# Modes have numbers that differ by board and release, and names; without its name it is known by its number.
mode=$(sed -n 's/.*pmode:0*\([0-9][0-9]*\).*/\1/p' "$root/var/lib/nvpmodel/status" 2>/dev/null | head -n 1) || mode=
space='[[:space:]]'
name=$(sed -n "s/^$space*<$space*POWER_MODEL$space$space*ID=0*${mode:-none}$space$space*NAME=\([^[:space:]>]*\).*/\1/p" \
  "$root/etc/nvpmodel.conf" 2>/dev/null | head -n 1 | plain) || name=
mode=${name:-$mode}
version=$(dpkg-query -W -f '${Version}' libnvinfer8 2>/dev/null || dpkg-query -W -f '${Version}' tensorrt 2>/dev/null || echo unknown)

for precision in $precisions; do
  choose "$precision"
  out=trtexec-times/$precision
  rm -rf "$out"
  mkdir -p "$out"
  shape=iq:1x2x$length
  echo "$precision: building"
  # shellcheck disable=SC2086
  "$trtexec" --onnx="$model" $flags --minShapes="$shape" --optShapes="$shape" --maxShapes="iq:64x2x$length" \
    --saveEngine="$out/engine" --buildOnly > "$out/build.log" 2>&1 ||
    { tail -n 3 "$out/build.log" >&2; echo "trtexec.sh: trtexec did not build $model; all it said is in $out/build.log" >&2; exit 2; }
  number=0
  while [ "$number" -lt "$processes" ]; do
    number=$((number + 1))
    echo "$precision: process $number of $processes"
    "$trtexec" --loadEngine="$out/engine" --shapes="$shape" --warmUp=500 --duration="$seconds" --iterations=1024 \
      --useSpinWait --exposeDMA --exportTimes="$out/times-$(printf %02d "$number").json" > "$out/run.log" 2>&1 ||
      { tail -n 3 "$out/run.log" >&2; echo "trtexec.sh: trtexec did not run; all it said is in $out/run.log" >&2; exit 2; }
  done
  rm -f "$out/engine"
  # Last: a folder that has it is whole.
  printf '{"model_sha256": "%s", "precision": "%s", "batch": 1, "tensorrt": "%s", "device": "%s", "machine": "%s", ' \
    "$(sha256sum "$model" | cut -d ' ' -f 1)" "$precision" "$version" "${device:-unknown}" "$(uname -m)" > "$out/about.partial"
  printf '"device_tree": "%s", "power_mode": %s}\n' "$device_tree" "${mode:+\"}${mode:-null}${mode:+\"}" >> "$out/about.partial"
  mv "$out/about.partial" "$out/about.json"
done
echo "done: thinwave profile BUNDLE --from-trtexec trtexec-times --target NAME reads trtexec-times"

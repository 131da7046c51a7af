#!/bin/sh
# Makes FOLDER/root, Debian 12's arm64 Python, and FOLDER/site, aarch64 wheels of what the device package needs, for qemu's user
# emulation. Needs root for apt's list of packages, and pip. Nothing is installed on this machine.
#
#   sh make_root.sh FOLDER PIP...
set -eu
folder=$1
shift
[ -f "$folder/complete" ] && exit 0
rm -rf "$folder"
mkdir -p "$folder/packages" "$folder/root" "$folder/wheels" "$folder/site"

added=no
restore() { [ "$added" = no ] || { dpkg --remove-architecture arm64; apt-get update -qq; }; }
trap restore EXIT
# A shell that a signal ends runs no trap of EXIT.
trap 'exit 130' INT TERM HUP
if ! dpkg --print-foreign-architectures | grep -qx arm64; then
  added=yes
  dpkg --add-architecture arm64
fi
apt-get update -qq
(
  cd "$folder/packages"
  for name in python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libssl3 \
    libffi8 libbz2-1.0 liblzma5 libuuid1 libcrypt1 libgomp1; do
    apt-get download -qq -o APT::Sandbox::User=root "$name:arm64"
  done
)
for package in "$folder"/packages/*.deb; do
  dpkg -x "$package" "$folder/root"
done
# The newest numpy and ONNX Runtime that were seen to run under qemu 7.2.
"$@" download --quiet --disable-pip-version-check --dest "$folder/wheels" --only-binary=:all: --python-version 3.11 \
  --implementation cp --abi cp311 --abi abi3 --abi none \
  --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
  numpy==1.26.4 onnxruntime==1.23.2 click pydantic rich h5py sigmf
for wheel in "$folder"/wheels/*.whl; do
  python3 -m zipfile -e "$wheel" "$folder/site"
done
touch "$folder/complete"

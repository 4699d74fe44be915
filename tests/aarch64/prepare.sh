#!/usr/bin/env bash
# Puts a CPython for aarch64 into build/aarch64, with an emulator that runs it here; nothing outside that folder changes.
#
# The arm64 packages of Debian or Ubuntu are unpacked into a folder, not installed: apt is given a state of its own for
# them. The wheels are those that pip would install on a Jetson, onnxruntime the newest that JetPack 6 can have.
# What is there already is not fetched again.
#
#     tests/aarch64/prepare.sh [PYTHON WITH PIP]
set -euo pipefail

onnxruntime=1.23.2
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$root/build/aarch64
python=${1:-$root/.venv/bin/python}
done=$folder/prepared

say() { echo "aarch64: $*"; }
stop() { say "$*" >&2; exit 3; }

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
  stop "apt-get and dpkg-deb are missing; this needs Debian or Ubuntu"
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || stop "this is $(uname -sm); the comparison is with Linux x86_64"
[ -x "$python" ] || stop "$python is missing; run make check first, or name another Python"

wanted="$(. /etc/os-release && echo "$ID $VERSION_ID") onnxruntime $onnxruntime $(sha256sum <"$0" | cut -c1-16)"
if [ -f "$done" ] && [ "$(cat "$done")" = "$wanted" ]; then
  say "$folder is prepared"
  exit 0
fi
rm -rf "$folder"
mkdir -p "$folder"/{apt/state/lists/partial,apt/cache/archives/partial,debs,root,emulator,site}

cat >"$folder/apt/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Dir::State "$folder/apt/state";
Dir::State::status "/dev/null";
Dir::Cache "$folder/apt/cache";
CONF
if [ "$(. /etc/os-release && echo "$ID")" = ubuntu ]; then
  # Debian's mirrors carry every architecture; Ubuntu's carry arm64 at another address.
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  keys=/usr/share/keyrings/ubuntu-archive-keyring.gpg
  for suite in "$release" "$release-updates"; do
    echo "deb [signed-by=$keys] ${UBUNTU_PORTS:-http://ports.ubuntu.com/ubuntu-ports} $suite main universe"
  done >"$folder/apt/sources.list"
  printf 'Dir::Etc::SourceList "%s";\nDir::Etc::SourceParts "/dev/null";\n' "$folder/apt/sources.list" \
    >>"$folder/apt/apt.conf"
fi

say "asking for the list of arm64 packages"
arm64() { APT_CONFIG=$folder/apt/apt.conf "$@"; }
arm64 apt-get update -qq

version=$(arm64 apt-cache depends --important python3 | sed -n 's/.*Depends: \(python3\.[0-9]*\)$/\1/p' | head -1)
[ -n "$version" ] || stop "the package python3 depends on no python3.x that could be found"
# What the interpreter and the wheels load; a folder without /bin/sh, so that scripts still run with the host's.
packages=()
for name in "$version" "$version-minimal" "lib$version-minimal" "lib$version-stdlib" \
  libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libbz2-1.0 liblzma5 libuuid1 libcrypt1 \
  libffi8 libssl3 libssl3t64 libsqlite3-0 media-types; do
  if arm64 apt-cache show "$name" >/dev/null 2>&1; then packages+=("$name"); fi
done
say "unpacking ${#packages[@]} arm64 packages of $version"
(cd "$folder/debs" && arm64 apt-get download -qq "${packages[@]}")
for package in "$folder"/debs/*.deb; do dpkg-deb -x "$package" "$folder/root"; done

if command -v qemu-aarch64-static >/dev/null; then
  emulator=$(command -v qemu-aarch64-static)
else
  say "unpacking qemu-user-static"
  mkdir -p "$folder/debs/host"
  (cd "$folder/debs/host" && apt-get -o APT::Sandbox::User="$(id -un)" download -qq qemu-user-static) ||
    stop "qemu-user-static cannot be had: apt-get update && apt-get install qemu-user-static"
  dpkg-deb -x "$folder"/debs/host/*.deb "$folder/debs/host"
  emulator=$folder/emulator/qemu-aarch64-static
  cp "$folder/debs/host/usr/bin/qemu-aarch64-static" "$emulator"
fi
rm -r "$folder/debs"

say "wheels for aarch64, $version"
platforms=()
for glibc in 17 24 26 27 28 31 34 35; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done
"$python" -m pip install --quiet --disable-pip-version-check --target "$folder/site" --only-binary=:all: \
  --python-version "${version#python}" --implementation cp "${platforms[@]}" --platform manylinux2014_aarch64 \
  "onnxruntime==$onnxruntime" numpy pillow matplotlib jinja2 rich typer polygraphy nvidia-ml-py \
  onnx pytest hypothesis jsonschema \
  >"$folder/pip.log" 2>&1 || stop "pip failed: $(tail -3 "$folder/pip.log")"

# The name in argv[0] is what Python takes for its own: it is this script, so that what tests start is emulated as well.
cat >"$folder/python" <<PYTHON
#!/bin/sh
PYTHONHOME=$folder/root/usr PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}$folder/site" \
exec $emulator -0 $folder/python -L $folder/root $folder/root/usr/bin/$version "\$@"
PYTHON
chmod +x "$folder/python"
say "$("$folder/python" -c '
import platform, numpy, onnxruntime
print(f"Python {platform.python_version()} on {platform.machine()}, numpy {numpy.__version__}, onnxruntime {onnxruntime.__version__}")')"
echo "$wanted" >"$done"

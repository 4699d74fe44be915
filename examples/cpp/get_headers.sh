#!/usr/bin/env bash
# Unpacks ONNX Runtime's C++ headers into build/cpp, from Debian's libonnxruntime-dev; nothing outside build/ changes.
#
# The wheel of onnxruntime has the library and no headers. Debian has the headers from release 13 on; older ones and
# their derivatives can unpack that package all the same. They fit every library of their own version or later.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$root/build/cpp
[ ! -f "$folder/include/onnxruntime_cxx_api.h" ] || exit 0
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if ! command -v apt-get >/dev/null || [ ! -f "$keys" ]; then
  echo "this needs apt-get and $keys; elsewhere take the include folder of a release of ONNX Runtime" >&2
  exit 3
fi
rm -rf "$folder"
mkdir -p "$folder"/apt/{state/lists/partial,cache/archives/partial}
mirror=$(apt-cache policy | sed -n 's/^ *[0-9-]* \(http[^ ]*\/debian\) .*/\1/p' | head -1)
if [ -z "$mirror" ]; then
  echo "apt knows no mirror of Debian here; take the include folder of a release of ONNX Runtime" >&2
  exit 3
fi
echo "deb [signed-by=$keys] $mirror trixie main" >"$folder/apt/sources.list"
cat >"$folder/apt/apt.conf" <<CONF
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Dir::State "$folder/apt/state";
Dir::State::status "/dev/null";
Dir::Cache "$folder/apt/cache";
Dir::Etc::SourceList "$folder/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
CONF
export APT_CONFIG=$folder/apt/apt.conf
apt-get update -qq
(cd "$folder/apt" && apt-get download -qq libonnxruntime-dev)
dpkg-deb -x "$folder"/apt/libonnxruntime-dev_*.deb "$folder/apt/package"
mv "$folder/apt/package/usr/include/onnxruntime" "$folder/include"
rm -r "$folder/apt"
echo "the headers are in $folder/include"

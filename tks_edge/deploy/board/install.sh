#!/bin/sh
# Installs the runtime of tks-edge on this board, tests every artifact and measures them, all in one folder.
# One script for both ways onto a board: `tks-edge deploy` hands it to the board over SSH, a bundle carries it.
set -u

# Settings, written by whoever hands out this script.
folder=
steps=
python=
machine=
wheel=
extras=
offline=
backend=
preset=quick
# End of the settings.

marker=.tks-edge-board
mark="This folder was made by tks-edge, which removes it whole when it is asked to."

# What programs say is looked at below, so they say it in English.
export LC_ALL=C PYTHONUTF8=1

usage() {
  cat <<'TEXT'
usage: sh install.sh [--backend NAME] [--preset NAME] [--no-report]
       sh install.sh --remove

Makes an environment in this folder, without network, looks at the board, tests every artifact against its golden
pair, measures them, and writes report/report.html. Run again, it goes on where it stopped.

  --backend NAME   what runs the artifacts (default: tensorrt where it can run, else the first that can)
  --preset NAME    how long each is measured: quick 3 s, standard 10 s, long 60 s, mlperf 600 s
  --no-report      install and test only
  --remove         remove this folder whole, the report included
TEXT
}

say() {
  printf '%s\n' "$*"
}

# Exit codes as everywhere in tks-edge: 1 a check failed, 2 wrong use, 3 this board lacks something.
fail() {
  code=$1
  shift
  printf 'error: %s\n' "$*" >&2
  exit "$code"
}

# Ends with the cause that a program's output shows: fail_for WHAT OUTPUT.
fail_for() {
  last=$(printf '%s\n' "$2" | grep -v '^ *$' | grep -v '^hint: ' | tail -n 1)
  case $2 in
    *'No space left on device'* | *'Disk quota exceeded'* | *'File too large'*)
      fail 3 "the board's disk is full: $1 did not fit into $root. Free some space and run the same command again." ;;
    *NewConnectionError* | *'Temporary failure in name resolution'* | *'Network is unreachable'* | *ConnectTimeout* | \
      *ReadTimeout* | *ProxyError* | *'Connection refused'*)
      fail 3 "$1 failed: pip on the board cannot reach its package index. Connect the board to a network and run" \
        "again, or bring the wheels along: tks-edge bundle, or tks-edge deploy --wheels FOLDER." ;;
    *'Permission denied'* | *'Read-only file system'* | *'cannot create directory'*)
      fail 2 "$1 failed: $last. Choose a --folder on the board that can be written to." ;;
    *'No matching distribution found'*)
      fail 3 "$1 failed: $last. The package index (or the folder of wheels) has none for Python $version on" \
        "$(uname -m); a folder of wheels must have been made for that Python and machine." ;;
  esac
  fail 3 "$1 failed on the board: $last"
}

is_ours() {
  [ -f "$root/$marker" ] && [ "$(head -n 1 "$root/$marker")" = "$mark" ]
}

prepare() {
  if [ -e "$root" ] && ! [ -d "$root" ]; then
    fail 2 "$root on the board is not a folder. Choose another --folder."
  fi
  if [ -d "$root" ] && ! is_ours && [ -n "$(ls -A "$root")" ]; then
    fail 2 "$root on the board is not empty and was not made by tks-edge. Choose another --folder."
  fi
  # The mark comes first: whatever happens afterwards, --remove knows this folder.
  output=$({ mkdir -p -- "$root" && printf '%s\n' "$mark" >"$root/$marker"; } 2>&1) ||
    fail_for "the folder $root" "$output"
}

remove() {
  if ! [ -d "$root" ]; then
    say "nothing to remove: there is no folder $root"
    return
  fi
  real=$(CDPATH='' cd -- "$root" && pwd -P) || exit 1
  home=$(CDPATH='' cd -- "${HOME:-/}" && pwd -P) || exit 1
  if ! is_ours || [ "$real" = "$home" ] || [ "$real" = / ]; then
    fail 2 "$real was not made by tks-edge (no $marker in it), so it is left as it is. Give the --folder of the deploy."
  fi
  cd / || exit 1
  rm -rf -- "$real" || fail 2 "$real cannot be removed completely; see above."
  if [ -L "$root" ]; then
    rm -f -- "$root"
  fi
  say "removed: $real"
}

verify() {
  output=$(cd "$root" && sha256sum -c --quiet SHA256SUMS 2>&1) ||
    fail 2 "this bundle is damaged: $(printf '%s\n' "$output" | head -n 1). Copy it again, and unpack it again."
}

find_python() {
  if [ -n "$python" ]; then
    interpreter=python$python
    # The version asked for may be the system's own, under its plain name.
    if ! "$interpreter" -c pass >/dev/null 2>&1; then
      interpreter=python3
    fi
  else
    interpreter=python3
  fi
  version=$("$interpreter" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    fail 3 "this board has no $interpreter. Install it: sudo apt install python3 python3-venv"
}

check() {
  if [ -n "$machine" ] && [ "$machine" != "$(uname -m)" ]; then
    fail 3 "this bundle is for $machine, and this board is $(uname -m). Make one for it: tks-edge bundle --platform" \
      "$(uname -m)"
  fi
  find_python
  if [ -n "$python" ] && [ "$version" != "$python" ]; then
    fail 3 "Python $python is asked for, and this board's $interpreter is $version. Install python$python, or run the" \
      "command on the host again with --python $version."
  fi
  "$interpreter" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail 3 "this board's $interpreter is Python $version; 3.10 or newer is needed. JetPack 5 (Python 3.8) is out of" \
      "scope: update to JetPack 6, or install a newer Python and name it with --python."
  if ! "$interpreter" -c 'import venv, ensurepip' 2>/dev/null; then
    package=python3-venv
    if [ "$interpreter" != python3 ]; then
      package=$interpreter-venv
    fi
    fail 3 "Python $version on this board cannot make environments (venv or ensurepip is missing)." \
      "Install them: sudo apt install $package"
  fi
}

# The extras without those that the system has in a build of its own (onnxruntime-gpu, a vendor's): the plain one from
# the index would hide it.
own_extras() {
  "$environment/bin/python" -c '
import sys
from importlib import metadata, util

def foreign(name):
    if util.find_spec(name) is None:
        return False
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return True
    return False

wanted = [name for name in sys.argv[1].split(",") if name]
print(",".join(name for name in wanted if not foreign(name)))
' "$1"
}

# The extra `trt` where this Python sees TensorRT and the wheel has that extra.
tensorrt_extra() {
  "$environment/bin/python" -c '
import sys, zipfile
from importlib import util

with zipfile.ZipFile(sys.argv[1]) as wheel:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    offered = "Provides-Extra: trt" in wheel.read(name).decode().splitlines()
print(",trt" if offered and util.find_spec("tensorrt") is not None else "")
' "$root/wheels/$wheel"
}

# cuda-bindings of a newer CUDA than the driver of a Jetson do not load: its major version is held.
cuda_limit() {
  "$environment/bin/python" -c '
import json, sys

try:
    with open(sys.argv[1], encoding="utf-8") as file:
        major = int(json.load(file)["cuda"]["version"].split(".")[0])
except (OSError, ValueError, KeyError):
    sys.exit()
print(f"cuda-bindings<{major + 1}")
' "${CUDA_HOME:-/usr/local/cuda}/version.json"
}

# pip as this folder needs it: nothing asked, nothing kept outside of the folder.
install() {
  if [ "$offline" = yes ]; then
    export PIP_NO_INDEX=1 PIP_FIND_LINKS=. # the wheels of this folder, in which pip runs below
  fi
  output=$(cd "$root/wheels" && PIP_CACHE_DIR="$root/cache/pip" TMPDIR="$root/tmp" "$environment/bin/python" -m pip \
    --disable-pip-version-check --no-input --retries 2 install --quiet "$@" 2>&1) ||
    fail_for "installing the runtime" "$output"
}

environment() {
  find_python
  environment=$root/env
  stamp=$environment/.tks-edge-installed
  base="$version $(command -v "$interpreter")"
  contents="$(sha256sum <"$root/wheels/$wheel" | cut -c 1-64) $extras"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(printf '%s\n%s' "$base" "$contents")" ]; then
    say "the environment is there already: Python $version"
    return
  fi
  output=$(mkdir -p -- "$root/tmp" "$root/cache/pip" 2>&1) || fail_for "the environment" "$output"
  set --
  if [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$base" ]; then
    # Same Python: only what changed. Without its stamp the environment counts as broken until this is done.
    rm -f -- "$stamp"
    set -- --force-reinstall --no-deps
  else
    say "making an environment with Python $version ($(command -v "$interpreter"))"
    # venv by itself would keep for itself why its ensurepip failed. The system's packages come last, so that the
    # environment has a pip of its own.
    output=$("$interpreter" -m venv --clear --without-pip "$environment" 2>&1 &&
      TMPDIR=$root/tmp "$environment/bin/python" -I -m ensurepip --upgrade --default-pip 2>&1 &&
      "$interpreter" -m venv --system-site-packages --without-pip "$environment" 2>&1) ||
      fail_for "making the environment" "$output"
  fi
  say "installing the runtime: some minutes, where much has to be fetched"
  wanted=$(own_extras "$extras") && wanted=$wanted$(tensorrt_extra) || exit 1
  wanted=${wanted#,}
  limit=
  case ",$wanted," in
    *,trt,*) limit=$(cuda_limit) ;;
  esac
  install "./$wheel${wanted:+[$wanted]}" ${limit:+"$limit"}
  if [ $# -gt 0 ]; then
    # A wheel of the same version with other contents is not replaced otherwise.
    install "$@" "./$wheel"
  fi
  output=$({ printf '%s\n%s\n' "$base" "$contents" >"$stamp" && rm -rf -- "$root/tmp" "$root/cache/pip"; } 2>&1) ||
    fail_for "the environment" "$output"
}

runtime() {
  sh "$root/tks-edge-runtime" "$@"
}

# Runs a command of the runtime whose document goes to results/NAME.json, and its text to standard output.
documented() {
  name=$1
  shift
  output=$(mkdir -p -- "$root/results" 2>&1) || fail_for "the results" "$output"
  { runtime "$@" --json 2>&3 >"$root/results/$name.json"; } 3>&1
}

doctor() {
  documented doctor doctor || fail $? "no backend can run on this board; see above. Give --extras onnxruntime."
  backends=$("$root/env/bin/python" -c '
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    print(*json.load(file)["backends"])
' "$root/results/doctor.json") || exit 1
  if [ -z "$backend" ]; then
    case " $backends " in
      *' tensorrt '*) backend=tensorrt ;;
      *) backend=${backends%% *} ;;
    esac
    say "the artifacts are run by $backend (can run here: $backends)"
  fi
}

build() {
  if [ "$backend" = tensorrt ]; then
    for artifact in "$root"/artifacts/*.onnx; do
      runtime build "$artifact" || fail $? "building the engine of $(basename "$artifact") failed; see above."
    done
  fi
}

self_test() {
  documented self-test self-test "$root/artifacts" --backend "$backend" || failed=$?
}

report() {
  # A self-test that failed is in the report, as a row that says so.
  if [ "$failed" -le 1 ]; then
    say "measuring (preset $preset)"
    runtime report "$root/artifacts" --output "$root/report" --preset "$preset" --backend "$backend" || failed=$?
  fi
}

main() {
  failed=0
  if [ -n "$folder" ]; then
    case $folder in
      /*) root=$folder ;;
      *) root=${HOME:-.}/$folder ;;
    esac
  else
    root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P) || exit 1
  fi
  while [ $# -gt 0 ]; do
    case $1 in
      --backend | --preset)
        [ $# -ge 2 ] || fail 2 "$1 needs a name; see --help."
        if [ "$1" = --backend ]; then backend=$2; else preset=$2; fi
        shift ;;
      --no-report) steps=$(printf '%s' "$steps" | sed 's/ report//') ;;
      --remove) steps=remove ;;
      --help | -h) usage; exit 0 ;;
      *) fail 2 "unknown option $1; see --help." ;;
    esac
    shift
  done
  for step in $steps; do
    case $step in
      prepare) prepare ;;
      verify) verify ;;
      check) check ;;
      environment) environment ;;
      doctor) doctor ;;
      build) build ;;
      self-test) self_test ;;
      report) report ;;
      remove) remove ;;
    esac
  done
  exit "$failed"
}

main "$@"

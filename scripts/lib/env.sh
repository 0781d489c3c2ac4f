# Sourced by every script: the repository's root, Debian packages, and the locked Python environment.
# Nothing here leans on what a machine already has but Debian, Python 3.11 or later, and root or sudo.
# shellcheck shell=bash
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# need_debian PACKAGE...: installs those that are missing.
need_debian() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "installing Debian packages: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

find_python() {
    local candidate
    for candidate in python3.11 python3 python3.12 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    need_debian python3
    command -v python3
}

# need_venv runtime|dev: makes .venv from scripts/locks/NAME.txt, once for each state of the lock.
# "dev" holds all of "runtime", so a venv made for the tests serves the demo too.
need_venv() {
    local want=$1 python stamp
    stamp=$(cat "scripts/locks/$want.txt" pyproject.toml | sha256sum | cut -d' ' -f1)
    if [ -x .venv/bin/meshca ] && grep -qs "^$want $stamp\$" .venv/meshca-lock; then return; fi
    (
        flock 9 # two scripts at once make it once
        if [ -x .venv/bin/meshca ] && grep -qs "^$want $stamp\$" .venv/meshca-lock; then exit; fi
        python=$(find_python)
        "$python" -c 'import ensurepip, venv' 2>/dev/null || need_debian python3-venv
        say "making .venv from scripts/locks/$want.txt"
        [ -x .venv/bin/python ] || "$python" -m venv .venv
        .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "scripts/locks/$want.txt"
        .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
        {
            echo "$want $stamp"
            [ "$want" = runtime ] || echo "runtime $(cat scripts/locks/runtime.txt pyproject.toml | sha256sum | cut -d' ' -f1)"
        } >.venv/meshca-lock
    ) 9>.venv.lock
}

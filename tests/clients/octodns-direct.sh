#!/bin/sh
# octoDNS against the API at CLOUDFLARE_BASE_URL: sync a zone, then the plan must be empty; change
# one record, sync, and the plan must be empty again.
#
#   CLOUDFLARE_BASE_URL=http://127.0.0.1:8788/client/v4 CLOUDFLARE_API_TOKEN=… sh octodns-direct.sh
#
# CLIENT_ZONE names the zone (example.net); its records are replaced by those in octodns/.
# OCTODNS_VENV is the virtual environment (.tools/venv); it is made when it is missing.
set -eu

: "${CLOUDFLARE_BASE_URL:?is not set}" "${CLOUDFLARE_API_TOKEN:?is not set}"
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
zone=${CLIENT_ZONE:-example.net}
venv=${OCTODNS_VENV:-$here/../../.tools/venv}
export CLOUDFLARE_BASE_URL CLOUDFLARE_API_TOKEN

if [ ! -x "$venv/bin/octodns-sync" ]; then
    echo "installing octoDNS into $venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet octodns==1.22.0 octodns-cloudflare==1.2.0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/zones"
cp "$here/octodns/zone.yaml" "$work/zones/$zone.yaml"
sed "s/ZONE/$zone/" "$here/octodns/config.yaml" > "$work/config.yaml"
cd "$work"

fail() {
    echo "FAIL  $1"
    cat "$work/log"
    exit 1
}

sync() {
    "$venv/bin/octodns-sync" --config-file config.yaml "$@" > "$work/log" 2>&1
}

sync --doit --force || fail "the first sync"
echo "ok    the zone is synced"

sync || fail "the plan after the first sync"
grep -q "No changes were planned" "$work/log" || fail "the plan after the first sync is not empty"
echo "ok    the plan after it is empty"

sed 's/192\.0\.2\.11/192.0.2.99/; s/value: target/value: moved/' "$work/zones/$zone.yaml" > "$work/changed"
mv "$work/changed" "$work/zones/$zone.yaml"
sync --doit --force || fail "the sync of a change"
grep -q "No changes were planned" "$work/log" && fail "the change was not seen"
echo "ok    a change is synced"

sync || fail "the plan after the change"
grep -q "No changes were planned" "$work/log" || fail "the plan after the change is not empty"
echo "ok    the plan after it is empty"
echo "all checks passed"

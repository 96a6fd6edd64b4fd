#!/usr/bin/env bash
# Exchanges the identity of a GitHub Actions job for a Zonekeeper key. Reads ZONEKEEPER_URL,
# ZONEKEEPER_AUDIENCE and ZONEKEEPER_PRINCIPAL; needs nothing but curl.
set -euo pipefail

fail() {
  echo "::error title=Zonekeeper login::$1"
  echo "$1" >&2
  exit 1
}

# The text of one member of a flat JSON answer. What is read here holds no escapes: tokens, keys and codes.
member() {
  sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" | head -n 1
}

url="${ZONEKEEPER_URL:-}"
url="${url%/}"
[ -n "$url" ] || fail "The input url is missing."
audience="${ZONEKEEPER_AUDIENCE:-}"
audience="${audience:-$url}"
[ -n "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" ] || fail "This job may not ask for its identity: give it 'permissions: id-token: write'."

# Tokens go through standard input, as other processes can see arguments.
identity="$(
  curl -sS --fail --get --config - --data-urlencode "audience=$audience" "$ACTIONS_ID_TOKEN_REQUEST_URL" <<<"header = \"Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN\""
)" || fail "GitHub gave this job no identity."
token="$(member value <<<"$identity")"
[ -n "$token" ] || fail "GitHub gave this job no identity."
echo "::add-mask::$token"

answer="$(
  printf %s "$token" | curl -sS --data-urlencode "grant_type=urn:ietf:params:oauth:grant-type:token-exchange" \
    --data-urlencode "subject_token_type=urn:ietf:params:oauth:token-type:id_token" \
    --data-urlencode "principal=${ZONEKEEPER_PRINCIPAL:-}" \
    --data-urlencode "subject_token@-" "$url/oauth/token"
)" || fail "Zonekeeper at $url cannot be reached."
key="$(member access_token <<<"$answer")"
[ -n "$key" ] || fail "Zonekeeper gave no key: $(member error_description <<<"$answer")"
echo "::add-mask::$key"

{
  echo "CLOUDFLARE_API_TOKEN=$key"
  echo "CLOUDFLARE_API_BASE_URL=$url/client/v4"
} >>"$GITHUB_ENV"
echo "CLOUDFLARE_API_TOKEN and CLOUDFLARE_API_BASE_URL are set for the steps that follow."

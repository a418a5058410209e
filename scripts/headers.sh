#!/bin/sh
# Renews include/ from the sources of the C ABI.
set -eu
cd "$(dirname "$0")/.."
LTO_RENEW_HEADERS=1 "${CARGO:-cargo}" test --quiet --test header the_committed_header_is_current

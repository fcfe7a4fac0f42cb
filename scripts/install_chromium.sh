#!/usr/bin/env bash
# Install Debian's Chromium for the tests of the page and of the documentation, which drive it by Playwright.
# Debian or Ubuntu, as root. Does nothing where a Chromium is installed already.
set -euo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" -ne 0 ]; then echo "run this as root, or install chromium yourself" >&2; exit 1; fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium >/dev/null

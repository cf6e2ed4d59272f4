#!/bin/sh
# Install Chromium and playwright for the browser tests: install.sh PYTHON
# Exit code 1 and one line if Chromium or playwright cannot be installed.
set -u
has_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! has_browser >/dev/null; then
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) >/dev/null 2>&1
fi
if ! has_browser >/dev/null; then
    echo "Chromium is not installed, and apt-get could not install it"
    exit 1
fi
"$1" -m pip install --quiet --disable-pip-version-check 'playwright>=1.50' || { echo "playwright could not be installed"; exit 1; }

#!/bin/sh
# Installs what the browser tests need beside the project's own environment: install.sh PYTHON
# Exit code 1, and a line that says so, where there is no Chromium and none can be installed.
set -u
has_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! has_browser >/dev/null; then
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium) >/dev/null 2>&1
fi
if ! has_browser >/dev/null; then
    echo "no Chromium here, and apt-get could not install one"
    exit 1
fi
"$1" -m pip install --quiet --disable-pip-version-check 'playwright>=1.50' || { echo "no playwright to be had"; exit 1; }

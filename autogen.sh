#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes configure from configure.ac; needs autoconf, automake and libtool.
set -e
cd "$(dirname "$0")"
exec autoreconf --install --force "$@"

# SPDX-License-Identifier: MIT
# Stands in for the C tests where configure did not find the Check library.
echo 1..1
echo "not ok 1 - the C tests need the Check library (Debian, Ubuntu: apt-get install check), then configure again"

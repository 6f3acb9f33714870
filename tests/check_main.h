/* SPDX-License-Identifier: MIT */
/* What every C test file includes. A file defines check_suite(); main() is tests/check_main.c. */
#ifndef MT_CHECK_MAIN_H
#define MT_CHECK_MAIN_H

#include <check.h>

/* The tests of this program. */
Suite *
check_suite(void);

#endif

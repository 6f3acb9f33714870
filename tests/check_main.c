/* SPDX-License-Identifier: MIT */
/* main() of every C test program: runs its suite; tests/run-check asks for TAP.
   Each test runs in its own process (fork mode), so a failed assert on a micro-thread's stack
   or a crash takes nothing else with it. */
#include "check_main.h"

#include <stdlib.h>

int
main(void)
{
    SRunner *runner = srunner_create(check_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

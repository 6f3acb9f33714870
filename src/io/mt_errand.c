/* SPDX-License-Identifier: MIT */
#include "io/mt_errand.h"

int
mt_errand_wait(struct mt_sched *sched, struct mt_errand *errand, struct mt_fd_clause *also)
{
    struct mt_wait wait;
    struct mt_clause clause;
    mt_wait_init(&wait, sched);
    mt_wait_add(&wait, &clause, MT_WAIT_ERRAND, errand);
    if (also) {
        mt_wait_add(&wait, &also->base, MT_WAIT_ERRAND, NULL);
        int error = sched->reactor_ops->watch(sched->reactor, also);
        if (error) {
            mt_wait_withdraw(&wait);
            return error;
        }
    }
    errand->wait = &wait;
    int result = mt_wait_park_through(&wait);
    errand->wait = NULL;
    return result;
}

/* SPDX-License-Identifier: MIT */
#include "core/mt_thread.h"

#include "core/mt_sched.h"

void
mt_thread_init(struct mt_thread *thread)
{
    *thread = (struct mt_thread){.state = MT_THREAD_NEW};
    mt_link_init(&thread->live);
    mt_deferred_init(&thread->done);
}

void
mt_thread_cancel_wait(struct mt_thread *thread)
{
    bool is_parked = thread->state == MT_THREAD_WAITING;
    /* One that is to run signal handlers will look at its wait after them. */
    if (is_parked || (thread->state == MT_THREAD_READY && thread->is_interrupted))
        mt_wait_end(thread->wait, MT_ECANCELED);
}

void
mt_thread_interrupt(struct mt_thread *thread)
{
    if (thread->state == MT_THREAD_WAITING) {
        thread->is_interrupted = true;
        mt_sched_ready(thread);
    }
}

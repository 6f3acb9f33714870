/* SPDX-License-Identifier: MIT */
/* Waiting for descriptors. For the scheduler's own micro-threads. */
#ifndef MT_IO_H
#define MT_IO_H

#include "base/mt_base.h"
#include "core/mt_sched.h"

/* Park until fd can do events (MT_FD_READ or MT_FD_WRITE).
   is_kept: fd's owner calls mt_io_forget() before it closes fd, so the watcher may stay armed.
   Returns 0, MT_ENOMEM, a system error (EBADF: closed meanwhile) or an error of mt_wait_park(). */
int
mt_io_wait(struct mt_sched *sched, int fd, int events, mt_time deadline, bool is_kept);

/* Park for `span` ns. fd is kept. Returns 0, EBADF when it was closed meanwhile, or an error of
   mt_sleep(). */
int
mt_io_pause(struct mt_sched *sched, int fd, mt_time span);

/* fd is about to be closed, or its number has come to life anew: its waiters get EBADF. */
void
mt_io_forget(struct mt_sched *sched, int fd);

#endif

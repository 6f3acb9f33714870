/* SPDX-License-Identifier: MIT */
/* What the files of one scheduler have their work done by; for src/io's own use. */
#ifndef MT_FILE_MEANS_H
#define MT_FILE_MEANS_H

#include "io/mt_file.h"
#include "io/mt_uring.h"
#include "io/mt_worker.h"

struct mt_files {
    struct mt_sched *sched;
    struct mt_workers *workers; /* NULL until they are needed; owned */
    struct mt_uring *uring;     /* the same */
    bool is_forced;             /* nothing is tried at once */
    bool has_no_uring;          /* not wanted, or the kernel has none for us */
};

/* Whether the running micro-thread's calls must not park. */
static inline bool
mt_files_is_direct(const struct mt_files *files)
{
    return files->sched->current->is_direct;
}

/* Before a call: whether something is to be raised instead. Unlike mt_heed() it asks each time, since
   nobody knows beforehand whether the call will wait, and then it is too late. */
static inline int
mt_files_heed(struct mt_files *files)
{
    struct mt_sched *sched = files->sched;
    if (MT_LIKELY(!sched->current->is_pending) || mt_files_is_direct(files))
        return 0;
    return sched->hooks->check(sched, sched->current);
}

/* The ring, made if need be; NULL: workers do it. */
struct mt_uring *
mt_files_uring(struct mt_files *files);

/* mt_workers_run() by the workers, made if need be. */
int
mt_files_run(struct mt_files *files, struct mt_job *job);

#endif

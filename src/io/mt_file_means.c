/* SPDX-License-Identifier: MIT */
#include "io/mt_file_means.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"

#include <string.h>

enum {
    WORKERS_MOST = 8,
    STACK_SIZE = 256 * 1024 /* bytes; they make a system call and no more */
};

int
mt_files_new(struct mt_sched *sched, const char *preference, struct mt_files **result)
{
    struct mt_files *files = mt_alloc_zeroed(sizeof *files);
    if (!files)
        return MT_ENOMEM;
    files->sched = sched;
    bool is_threads = preference && strcmp(preference, "threads") == 0;
    files->is_forced = is_threads || (preference && strcmp(preference, "uring") == 0);
    files->has_no_uring = is_threads;
    *result = files;
    return 0;
}

void
mt_files_free(struct mt_files *files)
{
    if (files->uring)
        mt_uring_free(files->uring);
    if (files->workers)
        mt_workers_free(files->workers);
    mt_alloc_free(files);
}

void
mt_files_after_fork(struct mt_files *files)
{
    if (files->uring)
        mt_uring_abandon(files->uring);
    if (files->workers)
        mt_workers_abandon(files->workers);
    files->uring = NULL;
    files->workers = NULL;
}

struct mt_uring *
mt_files_uring(struct mt_files *files)
{
    if (!files->uring && !files->has_no_uring) {
        int error = mt_uring_new(files->sched, &files->uring);
        files->has_no_uring = error && error != MT_ENOMEM;
    }
    return files->uring;
}

const char *
mt_files_backend(struct mt_files *files)
{
    return mt_files_uring(files) ? "uring" : "threads";
}

int
mt_files_run(struct mt_files *files, struct mt_job *job)
{
    if (!files->workers) {
        int error = mt_workers_new(files->sched, WORKERS_MOST, STACK_SIZE, &files->workers);
        if (error)
            return error;
    }
    return mt_workers_run(files->workers, job);
}

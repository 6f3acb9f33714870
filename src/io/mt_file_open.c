/* SPDX-License-Identifier: MIT */
/* Opening files, and the other calls that a worker makes.

   A name whose way is in the kernel's memory is opened at once (Linux 5.12: RESOLVE_CACHED); else
   a worker does it. Opening a FIFO waits for the other side, possibly for ever: no worker is spent on
   that, the FIFO is opened without waiting and looked at from time to time. */
#include "io/mt_file_means.h"

#include "base/mt_error.h"
#include "io/mt_io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    OPEN_COST = 64,                      /* of one that went ahead at once */
    FIRST_PAUSE = 1000 * 1000,           /* ns between two looks at a FIFO */
    LONGEST_PAUSE = 50 * 1000 * 1000
};

/* A FIFO, which is opened elsewhere. Not the error of any errno value. */
enum { IS_FIFO = MT_ESYSTEM - 100000 };

/* linux/openat2.h, which older headers lack. */
struct how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
enum { RESOLVE_FROM_CACHE = 0x20, NUMBER_OF_OPENAT2 = 437 };

/* ---- in a worker ---- */

struct call {
    struct mt_job job;
    const char *path;
    int flags;
    mode_t mode;
    off_t size;
    int result; /* a descriptor, 0, -1 or IS_FIFO */
    int number; /* errno, if that is -1 */
};

static struct call *
call_of(struct mt_job *job)
{
    return MT_CONTAINER_OF(job, struct call, job);
}

static void
run_open(struct mt_job *job)
{
    struct call *call = call_of(job);
    struct stat status;
    if (!(call->flags & O_NONBLOCK) && stat(call->path, &status) == 0 && S_ISFIFO(status.st_mode)) {
        call->result = IS_FIFO;
        return;
    }
    call->result = open(call->path, call->flags, call->mode);
    call->number = errno;
}

static void
run_sync(struct mt_job *job)
{
    struct call *call = call_of(job);
    call->result = fsync(job->errand.fd);
    call->number = errno;
}

static void
run_truncate(struct mt_job *job)
{
    struct call *call = call_of(job);
    call->result = ftruncate(job->errand.fd, call->size);
    call->number = errno;
}

static void
run_flush(struct mt_job *job)
{
    struct call *call = call_of(job);
    int copy = fcntl(job->errand.fd, F_DUPFD_CLOEXEC, 0);
    call->result = copy < 0 ? copy : close(copy);
    call->number = errno;
}

/* Returns what the call did, or an error. */
static int
run(struct mt_files *files, struct call *call)
{
    if (mt_files_is_direct(files)) {
        call->job.run(&call->job);
    } else {
        int error = mt_files_run(files, &call->job);
        if (error)
            return error;
    }
    return call->result == -1 ? mt_error_from_errno(call->number) : call->result;
}

/* ---- opening ---- */

static void
make_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

/* Whether somebody has a FIFO open for writing, or had since we opened it. An empty one says so only
   to those who read: a copy of nothing is 0 without a writer and EAGAIN with one. */
static bool
has_had_writer(int fd, int scratch)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    if (poll(&poller, 1, 0) != 0)
        return true;
    return tee(fd, scratch, 1, SPLICE_F_NONBLOCK) != 0;
}

static int
pause_for(struct mt_sched *sched, mt_time *pause)
{
    int error = mt_sleep(sched, *pause);
    *pause = *pause * 2 < LONGEST_PAUSE ? *pause * 2 : LONGEST_PAUSE;
    return error;
}

static int
wait_for_writer(struct mt_sched *sched, int fd)
{
    int scratch[2];
    if (pipe2(scratch, O_CLOEXEC | O_NONBLOCK) < 0)
        return mt_error_from_errno(errno);
    mt_io_forget(sched, scratch[0]);
    mt_io_forget(sched, scratch[1]);
    mt_time pause = FIRST_PAUSE;
    int error = 0;
    while (!error && !has_had_writer(fd, scratch[1]))
        error = pause_for(sched, &pause);
    close(scratch[0]);
    close(scratch[1]);
    return error;
}

static int
open_fifo(struct mt_sched *sched, const char *path, int flags)
{
    mt_time pause = FIRST_PAUSE;
    int error = 0;
    int fd;
    for (;;) {
        fd = open(path, flags | O_NONBLOCK);
        if (fd >= 0)
            break;
        if (errno != ENXIO)
            return mt_error_from_errno(errno);
        error = pause_for(sched, &pause); /* nobody reads it yet */
        if (error)
            return error;
    }
    mt_io_forget(sched, fd);
    if ((flags & O_ACCMODE) == O_RDONLY)
        error = wait_for_writer(sched, fd);
    if (error) {
        close(fd);
        return error;
    }
    make_blocking(fd);
    return fd;
}

/* Opening a device can do something to it: not twice, and not in haste. */
static bool
is_device_name(const char *path)
{
    return strncmp(path, "/dev/", 5) == 0;
}

/* Returns a descriptor, IS_FIFO, or an error; EAGAIN: it cannot be done without waiting. */
static int
open_at_once(const char *path, int flags)
{
    /* These change the file system. */
    if ((flags & (O_CREAT | O_TRUNC | O_TMPFILE)) || is_device_name(path))
        return mt_error_from_errno(EAGAIN);
    struct how how = {.flags = (uint64_t)(flags | O_NONBLOCK), .resolve = RESOLVE_FROM_CACHE};
    int fd = (int)syscall(NUMBER_OF_OPENAT2, AT_FDCWD, path, &how, sizeof how);
    if (fd < 0) {
        /* Names that are in the cache may be wrong, too: these are answers, others are not. */
        bool is_answer = errno == ENOENT || errno == EACCES || errno == ENOTDIR || errno == EISDIR ||
                         errno == EMFILE || errno == ELOOP;
        return mt_error_from_errno(is_answer ? errno : EAGAIN);
    }
    struct stat status;
    if (flags & O_NONBLOCK)
        return fd;
    if (fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode)) {
        close(fd);
        return IS_FIFO;
    }
    make_blocking(fd);
    return fd;
}

int
mt_file_open(struct mt_files *files, const char *path, int flags, mode_t mode)
{
    struct mt_sched *sched = files->sched;
    flags |= O_CLOEXEC;
    int error = mt_files_heed(files);
    if (error)
        return error;
    int fd = files->is_forced ? mt_error_from_errno(EAGAIN) : open_at_once(path, flags);
    if (fd >= 0) {
        mt_io_forget(sched, fd);
        if (!mt_files_is_direct(files))
            mt_spend(sched, OPEN_COST);
        return fd;
    }
    if (mt_error_errno(fd) == EAGAIN) {
        struct call call = {.job = {.run = run_open, .errand = {.verb = "open a file", .fd = -1}},
                            .path = path, .flags = flags, .mode = mode};
        fd = run(files, &call);
        if (fd >= 0)
            mt_io_forget(sched, fd);
    }
    return fd == IS_FIFO ? open_fifo(sched, path, flags) : fd;
}

/* ---- the others ---- */

static int
run_on(struct mt_files *files, int fd, void (*function)(struct mt_job *), const char *verb, off_t size)
{
    struct call call = {.job = {.run = function, .errand = {.verb = verb, .fd = fd}}, .size = size};
    int error = mt_files_heed(files);
    return error ? error : run(files, &call);
}

int
mt_file_sync(struct mt_files *files, int fd)
{
    return run_on(files, fd, run_sync, "sync", 0);
}

int
mt_file_truncate(struct mt_files *files, int fd, off_t size)
{
    return run_on(files, fd, run_truncate, "truncate", size);
}

int
mt_file_flush(struct mt_files *files, int fd)
{
    struct call call = {.job = {.run = run_flush, .errand = {.verb = "flush", .fd = fd}}};
    int error;
    do /* part of closing a file, which goes ahead in a cancelled one, too */
        error = run(files, &call);
    while (error == MT_ECANCELED);
    return error;
}

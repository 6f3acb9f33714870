/* SPDX-License-Identifier: MIT */
/* Who waits for a completion also waits for the ring's descriptor. The reactor wakes one of them, who
   takes in all completions there are and so wakes the others. */
#include "io/mt_uring.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "io/mt_io.h"

#include <errno.h>
#include <liburing.h>

enum { ENTRIES = 64 }; /* requests that a round can make without a call of its own */

struct mt_uring {
    struct mt_sched *sched;
    struct io_uring ring;
    struct mt_mail submission; /* read once a round: hand over what was asked for */
    bool is_posted;            /* the submission is in the scheduler's mailbox */
    size_t under_way;          /* requests whose completion has not been taken in */
};

struct request {
    struct mt_errand errand;
    int result; /* a count or a negative errno; valid once done */
};

static void
post_submission(struct mt_uring *uring)
{
    if (uring->is_posted)
        return;
    uring->is_posted = true;
    mt_sched_post(uring->sched, &uring->submission);
}

static void
submit(struct mt_mail *mail)
{
    struct mt_uring *uring = MT_CONTAINER_OF(mail, struct mt_uring, submission);
    uring->is_posted = false;
    if (io_uring_submit(&uring->ring) < 0)
        post_submission(uring); /* the kernel is short of something just now */
}

static void
take_in(struct mt_uring *uring)
{
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
        struct request *request = io_uring_cqe_get_data(cqe);
        if (request) {
            request->result = cqe->res;
            uring->under_way--;
            mt_errand_finish(&request->errand);
        }
        io_uring_cqe_seen(&uring->ring, cqe);
    }
}

/* Without a wake-up by the reactor: the OS thread blocks. */
static void
take_in_blocking(struct mt_uring *uring)
{
    struct io_uring_cqe *cqe;
    (void)io_uring_submit(&uring->ring);
    (void)io_uring_wait_cqe(&uring->ring, &cqe);
    take_in(uring);
}

/* Positions of the descriptor itself came with Linux 5.6, as did plain reads and writes. */
static bool
is_good_enough(const struct io_uring_params *params)
{
    unsigned needed = IORING_FEAT_RW_CUR_POS | IORING_FEAT_NODROP;
    return (params->features & needed) == needed;
}

int
mt_uring_new(struct mt_sched *sched, struct mt_uring **result)
{
    struct mt_uring *uring = mt_alloc_zeroed(sizeof *uring);
    if (!uring)
        return MT_ENOMEM;
    struct io_uring_params params = {.flags = 0};
    int failure = io_uring_queue_init_params(ENTRIES, &uring->ring, &params);
    if (failure == 0 && !is_good_enough(&params)) {
        io_uring_queue_exit(&uring->ring);
        failure = -ENOSYS;
    }
    if (failure) {
        mt_alloc_free(uring);
        return mt_error_from_errno(-failure);
    }
    mt_io_forget(sched, uring->ring.ring_fd);
    uring->sched = sched;
    uring->submission.deliver = submit;
    *result = uring;
    return 0;
}

void
mt_uring_free(struct mt_uring *uring)
{
    mt_mailbox_drain(&uring->sched->mailbox);
    while (uring->under_way)
        take_in_blocking(uring);
    mt_uring_abandon(uring);
}

void
mt_uring_abandon(struct mt_uring *uring)
{
    mt_io_forget(uring->sched, uring->ring.ring_fd);
    io_uring_queue_exit(&uring->ring);
    mt_alloc_free(uring);
}

static struct io_uring_sqe *
get_sqe(struct mt_uring *uring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    if (!sqe && io_uring_submit(&uring->ring) >= 0)
        sqe = io_uring_get_sqe(&uring->ring);
    return sqe;
}

/* Ask for the request to be given up. Returns whether the question is on its way. */
static bool
cancel(struct mt_uring *uring, struct request *request)
{
    struct io_uring_sqe *sqe = get_sqe(uring);
    if (!sqe)
        return false;
    io_uring_prep_cancel(sqe, request, 0);
    io_uring_sqe_set_data(sqe, NULL);
    post_submission(uring);
    return true;
}

/* The request is prepared: park until it is done. */
static ssize_t
finish(struct mt_uring *uring, struct io_uring_sqe *sqe, struct request *request)
{
    io_uring_sqe_set_data(sqe, request);
    uring->under_way++;
    post_submission(uring);
    bool is_cancelled = false;
    while (!request->errand.is_done) {
        struct mt_fd_clause clause = {
            .fd = uring->ring.ring_fd, .events = MT_FD_READ, .is_kept = true};
        int error = mt_errand_wait(uring->sched, &request->errand, &clause);
        take_in(uring);
        if (request->errand.is_done)
            break;
        if (error == MT_ECANCELED && !is_cancelled)
            is_cancelled = cancel(uring, request);
        else if (error && error != MT_ECANCELED)
            take_in_blocking(uring);
    }
    int result = request->result;
    if (is_cancelled && (result == -ECANCELED || result == -EINTR))
        return MT_ECANCELED;
    return result < 0 ? mt_error_from_errno(-result) : result;
}

ssize_t
mt_uring_read(struct mt_uring *uring, int fd, void *buffer, size_t size)
{
    struct io_uring_sqe *sqe = get_sqe(uring);
    if (!sqe)
        return mt_error_from_errno(EAGAIN);
    struct request request = {.errand = {.verb = "read", .fd = fd}};
    io_uring_prep_read(sqe, fd, buffer, (unsigned)size, (uint64_t)-1);
    return finish(uring, sqe, &request);
}

ssize_t
mt_uring_write(struct mt_uring *uring, int fd, const void *data, size_t size)
{
    struct io_uring_sqe *sqe = get_sqe(uring);
    if (!sqe)
        return mt_error_from_errno(EAGAIN);
    struct request request = {.errand = {.verb = "write", .fd = fd}};
    io_uring_prep_write(sqe, fd, data, (unsigned)size, (uint64_t)-1);
    return finish(uring, sqe, &request);
}

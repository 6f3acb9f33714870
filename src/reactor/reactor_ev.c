/* SPDX-License-Identifier: MIT */
/* The reactor on libev, and the only file that knows libev.

   Each descriptor has a slot, each direction of it a watcher and a queue of waiters. A watcher stays
   armed after a wake, since starting and stopping cost an epoll_ctl each; it is stopped when it
   fires with nobody waiting. One event wakes one waiter: polling is level-triggered, so the next
   one has its turn at the next poll.

   A descriptor number says nothing about the file behind it. Where the owner tells us of every
   close (is_kept) what the kernel was told is trusted; elsewhere each wait tells it anew.

   libev aborts on a descriptor that was closed before it came to tell the kernel of it, so slots
   that have changed are looked at before each run, and all of them before libev begins anew.

   Callbacks only trigger. All calls but wake are made under the scheduler's lock; libev runs without
   it only inside the system call, so another OS thread that holds it may call forget() then. */
#include "reactor/reactor_ev.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "core/mt_wait.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_ROOM = 64 };

/* One direction of a descriptor. */
struct side {
    ev_io io;               /* active: the kernel has been told, or will be at the next run */
    struct mt_list waiters; /* clauses, oldest first; cancelled ones unlink themselves */
    bool is_kept;           /* what the kernel was told is about the file that fd now means */
};

struct slot {
    struct side read;
    struct side write;
    struct mt_link changed; /* in the reactor's list while libev has not run since a start or stop */
    uint32_t forgets; /* calls of forget(); waiters that have not had their turn compare it */
    int fd;
};

struct mt_reactor {
    struct ev_loop *loop;  /* NULL only when after_fork failed */
    int kernel_fd;         /* libev's own descriptor, or -1 */
    ev_async waker;        /* always active: a run with no descriptor blocks, too */
    ev_timer timer;        /* the time-out of the poll that runs */
    ev_fork rebuilder;     /* libev is about to make its kernel state anew */
    struct mt_reactor_host host;
    struct slot **slots;   /* by descriptor; NULL where there was never a wait; owned */
    size_t room;           /* length of slots */
    struct mt_list changed; /* slots whose watchers were started or stopped since the last run */
    size_t active;         /* watchers of slots that are active */
    size_t hint;           /* the descriptor at which has_waiters() last found somebody */
    bool is_blocking;      /* the poll that runs lets go of the lock around the system call */
    bool is_released;      /* it has done so just now */
    bool is_woken;         /* a wake() came that no blocking poll has seen */
    ev_io signals;         /* watches signal_ends[0] */
    int signal_ends[2];    /* a pipe, or -1 */
    volatile bool *signal_flag; /* raised when the pipe was written to; the caller's */
};

/* ---- slots ---- */

static inline struct slot *
slot_of(const struct mt_reactor *reactor, int fd)
{
    return fd >= 0 && (size_t)fd < reactor->room ? reactor->slots[fd] : NULL;
}

static inline bool
is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void
note_change(struct mt_reactor *reactor, struct slot *slot)
{
    if (!mt_link_is_linked(&slot->changed))
        mt_list_append(&reactor->changed, &slot->changed);
}

static void
start(struct mt_reactor *reactor, struct slot *slot, struct side *side)
{
    if (ev_is_active(&side->io))
        return;
    ev_io_start(reactor->loop, &side->io);
    reactor->active++;
    note_change(reactor, slot);
}

static void
stop(struct mt_reactor *reactor, struct slot *slot, struct side *side)
{
    if (!ev_is_active(&side->io))
        return;
    ev_io_stop(reactor->loop, &side->io);
    reactor->active--;
    note_change(reactor, slot);
}

/* Returns whether there was anybody. */
static bool
trigger_all(struct side *side, int result)
{
    struct mt_link *link;
    bool any = false;
    while ((link = mt_list_front(&side->waiters))) {
        mt_trigger(MT_CONTAINER_OF(link, struct mt_clause, link), result);
        any = true;
    }
    return any;
}

/* Stop both watchers; whoever waits gets EBADF. Returns whether there was anybody. */
static bool
give_up(struct mt_reactor *reactor, struct slot *slot)
{
    stop(reactor, slot, &slot->read);
    stop(reactor, slot, &slot->write);
    slot->read.is_kept = slot->write.is_kept = false;
    slot->forgets++;
    bool any = trigger_all(&slot->read, mt_error_from_errno(EBADF));
    return trigger_all(&slot->write, mt_error_from_errno(EBADF)) || any;
}

/* Give up the slot if its descriptor was closed without a word. Returns whether somebody was
   triggered. */
static bool
check_slot(struct mt_reactor *reactor, struct slot *slot)
{
    bool is_active = ev_is_active(&slot->read.io) || ev_is_active(&slot->write.io);
    return is_active && !is_open(slot->fd) && give_up(reactor, slot);
}

static bool
check_changed(struct mt_reactor *reactor)
{
    bool any = false;
    struct mt_link *link;
    while ((link = mt_list_front(&reactor->changed))) {
        struct slot *slot = MT_CONTAINER_OF(link, struct slot, changed);
        any |= check_slot(reactor, slot);
        mt_list_remove(link);
    }
    return any;
}

/* ---- libev's callbacks ---- */

static void
on_ready(struct mt_reactor *reactor, struct slot *slot, struct side *side, int events)
{
    if (MT_UNLIKELY(events & EV_ERROR)) {
        /* libev has stopped the watcher: the kernel refused. It checks for EBADF by itself, so
           most likely the user has used up /proc/sys/fs/epoll/max_user_watches. */
        reactor->active--;
        side->is_kept = false;
        (void)trigger_all(side, mt_error_from_errno(is_open(slot->fd) ? ENOSPC : EBADF));
        return;
    }
    struct mt_link *link = mt_list_front(&side->waiters);
    if (MT_LIKELY(link != NULL)) {
        mt_trigger(MT_CONTAINER_OF(link, struct mt_clause, link), 0);
        if (side->is_kept || !mt_list_is_empty(&side->waiters))
            return;
    }
    stop(reactor, slot, side);
}

static void
on_read(struct ev_loop *loop, ev_io *io, int events)
{
    struct slot *slot = MT_CONTAINER_OF(io, struct slot, read.io);
    on_ready(ev_userdata(loop), slot, &slot->read, events);
}

static void
on_write(struct ev_loop *loop, ev_io *io, int events)
{
    struct slot *slot = MT_CONTAINER_OF(io, struct slot, write.io);
    on_ready(ev_userdata(loop), slot, &slot->write, events);
}

static void
on_wake(struct ev_loop *loop, ev_async *waker, int events)
{
    (void)waker, (void)events;
    struct mt_reactor *reactor = ev_userdata(loop);
    reactor->is_woken = true;
}

static void
on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events; /* the scheduler looks at the clock itself */
}

/* libev tells the kernel about every descriptor anew: after an event for a file that is no longer
   behind its descriptor. It must not meet a closed one. */
static void
on_rebuild(struct ev_loop *loop, ev_fork *rebuilder, int events)
{
    (void)rebuilder, (void)events;
    struct mt_reactor *reactor = ev_userdata(loop);
    bool any = false;
    for (size_t fd = 0; fd < reactor->room; fd++)
        if (reactor->slots[fd])
            any |= check_slot(reactor, reactor->slots[fd]);
    if (any)
        ev_async_send(loop, &reactor->waker); /* do not block now */
}

static void
on_signal(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    struct mt_reactor *reactor = ev_userdata(loop);
    char bytes[64];
    while (read(io->fd, bytes, sizeof bytes) > 0)
        ;
    *reactor->signal_flag = true;
}

static void
on_release(struct ev_loop *loop)
{
    struct mt_reactor *reactor = ev_userdata(loop);
    if (!reactor->is_blocking)
        return;
    if (MT_UNLIKELY(ev_pending_count(loop) != 0))
        ev_async_send(loop, &reactor->waker); /* the kernel has refused something: do not block now */
    reactor->is_blocking = false;
    reactor->is_released = true;
    reactor->host.poll_begin(reactor->host.host);
}

static void
on_acquire(struct ev_loop *loop)
{
    struct mt_reactor *reactor = ev_userdata(loop);
    if (!reactor->is_released)
        return;
    int saved = errno; /* libev looks at it after this */
    reactor->is_released = false;
    reactor->host.poll_end(reactor->host.host);
    errno = saved;
}

/* ---- open and close ---- */

/* libev aborts when it finds no descriptor for its own use: see beforehand that there are two. */
static int
check_descriptors(void)
{
    int error = 0;
    int first = eventfd(0, EFD_CLOEXEC);
    int second = eventfd(0, EFD_CLOEXEC);
    if (second < 0)
        error = mt_error_from_errno(errno);
    if (first >= 0)
        close(first);
    if (second >= 0)
        close(second);
    return error;
}

/* The loop's own descriptor, or -1. libev tells it to nobody but a watcher that embeds one loop in
   another; stopped at once it leaves no trace. */
static int
find_kernel_fd(struct ev_loop *loop)
{
    if (!(ev_backend(loop) & ev_embeddable_backends()))
        return -1;
    ev_embed probe;
    ev_embed_init(&probe, NULL, loop);
    ev_embed_start(loop, &probe);
    int fd = probe.io.fd;
    ev_embed_stop(loop, &probe);
    return fd;
}

static int
open_loop(struct mt_reactor *reactor)
{
    reactor->loop = NULL;
    int error = check_descriptors();
    if (error)
        return error;
    /* Not the default loop: each OS thread has its own, and SIGCHLD is not ours. */
    reactor->loop = ev_loop_new(ev_recommended_backends() | EVFLAG_NOENV);
    if (!reactor->loop)
        return mt_error_from_errno(ENOSYS);
    ev_set_userdata(reactor->loop, reactor);
    ev_set_loop_release_cb(reactor->loop, on_release, on_acquire);
    ev_async_init(&reactor->waker, on_wake);
    ev_async_start(reactor->loop, &reactor->waker);
    ev_fork_init(&reactor->rebuilder, on_rebuild);
    ev_fork_start(reactor->loop, &reactor->rebuilder);
    ev_timer_init(&reactor->timer, on_timer, 0., 0.);
    reactor->kernel_fd = find_kernel_fd(reactor->loop);
    return 0;
}

static void
close_signals(struct mt_reactor *reactor)
{
    for (int i = 0; i < 2; i++) {
        if (reactor->signal_ends[i] >= 0)
            close(reactor->signal_ends[i]);
        reactor->signal_ends[i] = -1;
    }
}

static void
reactor_close(struct mt_reactor *reactor)
{
    if (reactor->loop)
        ev_loop_destroy(reactor->loop);
    close_signals(reactor);
    for (size_t fd = 0; fd < reactor->room; fd++)
        mt_alloc_free(reactor->slots[fd]);
    mt_alloc_free(reactor->slots);
    mt_alloc_free(reactor);
}

static int
reactor_open(const struct mt_reactor_host *host, struct mt_reactor **result)
{
    struct mt_reactor *reactor = mt_alloc_zeroed(sizeof *reactor);
    if (!reactor)
        return MT_ENOMEM;
    reactor->host = *host;
    reactor->signal_ends[0] = reactor->signal_ends[1] = -1;
    mt_list_init(&reactor->changed);
    int error = open_loop(reactor);
    if (error) {
        reactor_close(reactor);
        return error;
    }
    *result = reactor;
    return 0;
}

/* ---- polling ---- */

static mt_time
reactor_now(struct mt_reactor *reactor)
{
    (void)reactor;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * MT_SECOND + now.tv_nsec;
}

static void
reactor_poll(struct mt_reactor *reactor, mt_time timeout)
{
    bool has_triggered = check_changed(reactor);
    if (timeout == 0) {
        ev_run(reactor->loop, EVRUN_NOWAIT);
        return;
    }
    bool may_wait = !has_triggered && !reactor->is_woken;
    bool has_timer = may_wait && timeout != MT_FOREVER;
    if (has_timer) {
        /* libev counts from the time it knows, which is that of its last run. */
        ev_now_update(reactor->loop);
        ev_timer_set(&reactor->timer, (double)timeout / (double)MT_SECOND, 0.);
        ev_timer_start(reactor->loop, &reactor->timer);
    }
    reactor->is_blocking = true;
    ev_run(reactor->loop, may_wait ? EVRUN_ONCE : EVRUN_NOWAIT);
    reactor->is_blocking = false;
    reactor->is_woken = false;
    if (has_timer)
        ev_timer_stop(reactor->loop, &reactor->timer);
}

static void
reactor_wake(struct mt_reactor *reactor)
{
    ev_async_send(reactor->loop, &reactor->waker);
}

/* ---- descriptors ---- */

static int
add_slot(struct mt_reactor *reactor, int fd, struct slot **result)
{
    if ((size_t)fd >= reactor->room) {
        size_t room = reactor->room ? reactor->room : FIRST_ROOM;
        while (room <= (size_t)fd)
            room *= 2;
        struct slot **grown = mt_alloc_resize(reactor->slots, room * sizeof(struct slot *));
        if (!grown)
            return MT_ENOMEM;
        for (size_t i = reactor->room; i < room; i++)
            grown[i] = NULL;
        reactor->slots = grown;
        reactor->room = room;
    }
    struct slot *slot = mt_alloc_zeroed(sizeof *slot);
    if (!slot)
        return MT_ENOMEM;
    ev_io_init(&slot->read.io, on_read, fd, EV_READ);
    ev_io_init(&slot->write.io, on_write, fd, EV_WRITE);
    mt_list_init(&slot->read.waiters);
    mt_list_init(&slot->write.waiters);
    mt_link_init(&slot->changed);
    slot->fd = fd;
    *result = reactor->slots[fd] = slot;
    return 0;
}

static int
reactor_watch(struct mt_reactor *reactor, struct mt_fd_clause *clause)
{
    int fd = clause->fd;
    if (fd < 0 || (!clause->is_kept && !is_open(fd)))
        return mt_error_from_errno(EBADF);
    if (MT_UNLIKELY(fd == reactor->kernel_fd))
        return mt_error_from_errno(EINVAL); /* libev would abort */
    struct slot *slot = slot_of(reactor, fd);
    if (MT_UNLIKELY(!slot)) {
        int error = add_slot(reactor, fd, &slot);
        if (error)
            return error;
    }
    bool is_read = clause->events == MT_FD_READ;
    struct side *side = is_read ? &slot->read : &slot->write;
    clause->forgets = &slot->forgets;
    clause->forgets_before = slot->forgets;
    mt_list_append(&side->waiters, &clause->base.link);
    if (!clause->is_kept || !side->is_kept) {
        /* Setting the watcher anew makes libev tell the kernel even if all looks the same. */
        stop(reactor, slot, side);
        ev_io_set(&side->io, fd, is_read ? EV_READ : EV_WRITE);
        side->is_kept = clause->is_kept;
    }
    start(reactor, slot, side);
    return 0;
}

static void
reactor_forget(struct mt_reactor *reactor, int fd)
{
    struct slot *slot = slot_of(reactor, fd);
    if (slot)
        (void)give_up(reactor, slot);
}

static bool
reactor_is_watching(struct mt_reactor *reactor)
{
    return reactor->active > 0;
}

static bool
has_waiter_at(const struct mt_reactor *reactor, size_t fd)
{
    const struct slot *slot = reactor->slots[fd];
    return slot &&
           (!mt_list_is_empty(&slot->read.waiters) || !mt_list_is_empty(&slot->write.waiters));
}

static bool
reactor_has_waiters(struct mt_reactor *reactor)
{
    if (reactor->active == 0)
        return false;
    if (reactor->hint < reactor->room && has_waiter_at(reactor, reactor->hint))
        return true;
    for (size_t fd = 0; fd < reactor->room; fd++) {
        if (has_waiter_at(reactor, fd)) {
            reactor->hint = fd;
            return true;
        }
    }
    return false;
}

/* ---- signals and forks ---- */

static void
watch_signals(struct mt_reactor *reactor)
{
    ev_io_init(&reactor->signals, on_signal, reactor->signal_ends[0], EV_READ);
    ev_io_start(reactor->loop, &reactor->signals);
}

static int
reactor_signal_fd(struct mt_reactor *reactor, volatile bool *flag)
{
    if (reactor->signal_ends[0] < 0) {
        if (pipe2(reactor->signal_ends, O_CLOEXEC | O_NONBLOCK) < 0)
            return mt_error_from_errno(errno);
        watch_signals(reactor);
    }
    reactor->signal_flag = flag;
    return reactor->signal_ends[1];
}

/* The child must not share the pipe with its parent, but the host may go on using the number. */
static int
renew_signals(struct mt_reactor *reactor)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return mt_error_from_errno(errno);
    int error = 0;
    for (int i = 0; i < 2; i++) {
        if (dup3(ends[i], reactor->signal_ends[i], O_CLOEXEC) < 0)
            error = mt_error_from_errno(errno);
        close(ends[i]);
    }
    watch_signals(reactor);
    return error;
}

/* The kernel's state is shared with the parent: it is only closed, never told anything. Who still
   waits is the one who forked, in the middle of that wait (in a signal handler): it goes on. */
static int
reactor_after_fork(struct mt_reactor *reactor)
{
    if (reactor->loop)
        ev_loop_destroy(reactor->loop);
    mt_list_init(&reactor->changed);
    reactor->active = 0;
    reactor->is_blocking = reactor->is_released = reactor->is_woken = false;
    int error = open_loop(reactor);
    if (error)
        return error;
    for (size_t fd = 0; fd < reactor->room; fd++) {
        struct slot *slot = reactor->slots[fd];
        if (!slot)
            continue;
        mt_link_init(&slot->changed);
        ev_io_init(&slot->read.io, on_read, (int)fd, EV_READ);
        ev_io_init(&slot->write.io, on_write, (int)fd, EV_WRITE);
        if (!mt_list_is_empty(&slot->read.waiters))
            start(reactor, slot, &slot->read);
        if (!mt_list_is_empty(&slot->write.waiters))
            start(reactor, slot, &slot->write);
    }
    return reactor->signal_ends[0] < 0 ? 0 : renew_signals(reactor);
}

const struct mt_reactor_ops mt_reactor_ev = {
    .name = "libev",
    .open = reactor_open,
    .close = reactor_close,
    .now = reactor_now,
    .poll = reactor_poll,
    .wake = reactor_wake,
    .watch = reactor_watch,
    .forget = reactor_forget,
    .is_watching = reactor_is_watching,
    .has_waiters = reactor_has_waiters,
    .signal_fd = reactor_signal_fd,
    .after_fork = reactor_after_fork,
};

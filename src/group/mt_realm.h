/* SPDX-License-Identifier: MIT */
/* An OS thread with a scheduler of its own: how it is started, found, told to stop, and how its end is
   seen. What it runs is the host's business; here are only the thread and the channels by which the
   others reach it. Callable from any OS thread, unless a comment says otherwise. */
#ifndef MT_REALM_H
#define MT_REALM_H

#include "base/mt_base.h"
#include "base/mt_list.h"
#include "group/mt_channel.h"

enum { MT_REALM_ERROR_ROOM = 512 };

struct mt_realm {
    struct mt_link link;         /* among all, while the OS thread exists */
    pthread_mutex_t lock;        /* for living, and over what an interruption does */
    bool is_living;              /* host may be used by an interruption */
    void *host;                  /* the host's own */
    _Atomic size_t refs;
    _Atomic int64_t id;          /* the host's number for it; -1: none yet, or it could not be made */
    _Atomic bool is_ready;       /* it has come up */
    _Atomic bool is_stopping;
    _Atomic bool is_busy;        /* the host's: one that may be done by one caller at a time is under way */
    bool is_apart;               /* the host's: it shares no lock with others */
    _Atomic bool is_visited;     /* a visit is to come or under way */
    uint64_t progress;           /* the host's: what an interruption has seen the last time */
    unsigned interruptions;      /* the host's: how many there were since it was another */
    char error[MT_REALM_ERROR_ROOM]; /* why it did not come up; written before hello closes */
    void (*body)(struct mt_realm *realm);
    char *argument;              /* the host's; freed with mt_alloc_free() */

    /* None of them carries messages but requests. Of each side one end counts for this struct. */
    struct mt_channel *requests; /* what it is to do */
    struct mt_channel *hello;    /* the sending end closes when it is ready, or failed */
    struct mt_channel *stop;     /* the sending end closes when it is to stop */
    struct mt_channel *ended;    /* the sending end closes when nothing of it is left */
};

/* Start an OS thread that runs body(realm). Takes over the argument, also on failure.
   drop: for messages that can reach nobody. *realm: one reference for the caller.
   Returns 0, MT_ENOMEM, MT_ECLOSED after mt_realm_refuse(), or a system error. */
int
mt_realm_start(void (*body)(struct mt_realm *realm), char *argument, bool is_apart,
                void (*drop)(void *message), struct mt_realm **realm);

static inline struct mt_realm *
mt_realm_ref(struct mt_realm *realm)
{
    atomic_fetch_add_explicit(&realm->refs, 1, memory_order_relaxed);
    return realm;
}

void
mt_realm_unref(struct mt_realm *realm);

/* All of them, the oldest first, each with a new reference. Returns how many there are; only as many as
   `most` are stored. */
size_t
mt_realm_list(struct mt_realm **realms, size_t most);

/* The realm's own OS thread: it has come up, or failed: say so. */
void
mt_realm_announce(struct mt_realm *realm);

/* Tell it to stop. Twice is allowed. */
void
mt_realm_stop(struct mt_realm *realm);

/* The realm's own OS thread, without the host's lock: from now on, or from now on no longer,
   interruptions may use host. */
void
mt_realm_set_living(struct mt_realm *realm, bool is_living);

/* From an OS thread made for it, call visit(realm) if it is living, and wait for that. Blocks; not
   with the host's lock held. */
void
mt_realm_visit(struct mt_realm *realm, void (*visit)(struct mt_realm *realm));

/* The same without waiting, at some time from now on; nothing while such a visit is to come,
   which may take as long as the host's lock is held. Blocks nowhere. Returns 0, MT_ENOMEM or a
   system error. */
int
mt_realm_visit_soon(struct mt_realm *realm, void (*visit)(struct mt_realm *realm));

/* From an OS thread made for it, call visit(realm) for as long as it is living: `span` ns after
   one that returned true, else after ten times that. Returns 0, MT_ENOMEM or a system error. */
int
mt_realm_attend(struct mt_realm *realm, bool (*visit)(struct mt_realm *realm), mt_time span);

/* No more realms from now on; those that there are shall stop. */
void
mt_realm_refuse(void);

/* Whether the above was called: the process ends. */
bool
mt_realm_is_refusing(void);

/* Wait until no OS thread of a realm is left, up to `span` ns. Blocks; not with the host's lock held.
   Returns whether it came so far. */
bool
mt_realm_wait_all(mt_time span);

/* In the child of a fork: there are none here. */
void
mt_realm_after_fork(void);

#endif

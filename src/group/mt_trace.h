/* SPDX-License-Identifier: MIT */
/* A timeline in a file, in the JSON form of Chrome's trace events. Who sees something puts a note
   into a ring of bounded size and goes on: nothing waits, nothing is allocated but names. An OS thread
   of the trace's own makes text of the notes. When it is too slow notes are lost, and the file says how
   many. One lock of the callers' (the GIL) is held around each call, except where noted. */
#ifndef MT_TRACE_H
#define MT_TRACE_H

#include "core/mt_wait.h"

struct mt_trace;

enum mt_trace_kind {
    MT_TRACE_LOOP,   /* there is a scheduler: in the OS thread `loop` */
    MT_TRACE_NAME,   /* what a micro-thread is called */
    MT_TRACE_SPAWN,  /* at `until` it made the micro-thread with the id `number` */
    MT_TRACE_RUN,    /* it ran, and then waits for what `waits`, `number` and `more` say */
    MT_TRACE_FINISH, /* it ended at `until` */
    MT_TRACE_POLL    /* the loop had nothing to run, and waited for events */
};

enum { MT_TRACE_YIELDS = -1 }; /* in place of an enum mt_wait_kind: it waits for its turn only */

struct mt_trace_note {
    mt_time from;   /* monotonic ns; of what lasts */
    mt_time until;  /* monotonic ns */
    uint64_t id;    /* of the micro-thread */
    union {
        uint64_t number; /* what a wait is for: descriptor, id, ns, address; whom a spawn made */
        char *name;      /* UTF-8, of mt_alloc(); the trace frees it. NULL: made of the id */
    };
    uint32_t loop;  /* the system's number of the OS thread */
    uint8_t kind;   /* enum mt_trace_kind */
    int8_t waits;   /* enum mt_wait_kind, or MT_TRACE_YIELDS */
    uint16_t more;  /* further things that the same wait is for */
};

/* Make the file, or empty it, and begin. Blocks while the file is opened; no lock is needed.
   Returns 0, MT_ENOMEM or a system error. */
int
mt_trace_open(const char *path, struct mt_trace **trace);

/* Add a note; *note is copied. */
void
mt_trace_put(struct mt_trace *trace, const struct mt_trace_note *note);

/* Write what is left, complete the file, close it and free the trace. Nobody puts notes any more; no
   lock is needed. Blocks until it is done. Returns 0 or the first error of a write. */
int
mt_trace_close(struct mt_trace *trace);

/* In the child of a fork: the file is the parent's, and the OS thread is not here. */
void
mt_trace_abandon(struct mt_trace *trace);

#endif

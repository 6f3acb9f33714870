/* SPDX-License-Identifier: MIT */
/* The ends of a channel as the files of the binding see them. */
#ifndef MTPY_CHANNEL_H
#define MTPY_CHANNEL_H

#include "python/mtpy_clone.h"

#include "group/mt_channel.h"
#include "group/mt_message.h"

/* RecvChannel or SendChannel. An interpreter has one object for each end that is open in it. */
struct mtpy_end {
    PyObject_HEAD
    struct mt_channel *core;     /* a reference */
    struct mt_channel_seat seat; /* in core->seats while it is open */
    struct mt_channel_home home; /* the waits of this interpreter's micro-threads in it */
    struct mt_link link;         /* in state->ends while it is open */
    struct mtpy_state *state;    /* valid while it is open: the state closes all at its end */
    PyObject *weakrefs;
    enum mt_channel_side side;
    bool is_open;
};

/* The types, create_channel() and what the package needs. Returns 0, or -1 with an exception. */
int
mtpy_channel_add(struct mtpy_state *state);

/* The end of this interpreter: close all ends that are open in it. */
void
mtpy_channel_close_all(struct mtpy_state *state);

/* The object for an end that is open and counted for the caller; what it counted for is the object's
   then, or, if there is an object already, given back. Borrows the channel. New, or NULL with an
   exception, and then the end is closed. */
PyObject *
mtpy_end_wrap(struct mtpy_state *state, struct mt_channel *channel, enum mt_channel_side side);

/* Close it in this interpreter, if it is open: its waits there end. */
void
mtpy_end_close(struct mtpy_end *self);

/* How ends travel in messages. */
extern const struct mtpy_share mtpy_end_share;

/* Whether what this clause waits for can come from outside of this interpreter. */
bool
mtpy_channel_is_hopeful(struct mtpy_state *state, const struct mt_clause *clause);

/* "receive from <RecvChannel 3>". New, or NULL. */
PyObject *
mtpy_channel_describe(const struct mt_clause *clause);

/* ---- cases of select() ---- */

/* The end may be used here: 0, or -1 with a ValueError. */
int
mtpy_end_check_open(const struct mtpy_end *self);

/* Raise for an error of a wait on an end. Returns NULL. */
PyObject *
mtpy_end_raise(const struct mtpy_end *self, int error);

#endif

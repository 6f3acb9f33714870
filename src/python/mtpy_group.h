/* SPDX-License-Identifier: MIT */
/* Group: a with block whose members, micro-threads, all end before it does. Under the GIL. */
#ifndef MTPY_GROUP_H
#define MTPY_GROUP_H

#include "python/mtpy_scope.h"

struct mtpy_group;

/* A micro_thread that a group has spawned. */
struct mtpy_member {
    struct mtpy_thread thread; /* of member_type */
    struct mt_link link;       /* in one of the group's lists; unlinked once it needs nothing of it */
    struct mtpy_group *group;  /* borrowed, and valid while thread.is_member */
};

extern PyType_Spec mtpy_group_spec;

/* Run one that waits its turn, out of turn if need be. Never switches. */
void
mtpy_group_start(struct mtpy_member *member);

/* Its function has ended and its outcome is known. May wake the one that leaves the block. */
void
mtpy_group_note_end(struct mtpy_member *member);

/* Its process was forked away from it. */
void
mtpy_group_forget(struct mtpy_member *member);

/* In the child of a fork: nobody's turn comes any more in the groups whose blocks this one is in. */
void
mtpy_group_drop_queues(struct mtpy_thread *owner);

/* One that ends in the middle of blocks that it will never leave (a suspended generator's): their
   members are cancelled. */
void
mtpy_group_orphan_all(struct mtpy_thread *owner);

/* For waiting_for: new str, or NULL. */
PyObject *
mtpy_group_describe(const void *group);

#endif

/* SPDX-License-Identifier: MIT */
/* What is process-global. The map:

   object            protection   allocator   what it is
   next_serial       atomic       none        the number of the next scheduler
   next_channel      atomic       none        the number of the next channel
   forks             atomic       none        how often this process has been forked off another
   has_handler       atomic       none        whether the C library has our handler of fork()
   cached_blocks     atomic       none        blocks of one size that their owner gave back
   all               its lock     none        in mt_realm.c: the OS threads with schedulers of their own
   is_installed      atomic       none        mt_fault.c: the handler of SIGSEGV is there, for good
   before            is_installed none        mt_fault.c: who handled SIGSEGV before; never changes
   spare             atomic       malloc      in mt_message.c: the memory of a large message, for the next
   depot             atomic       malloc      in mt_message.c: small messages, for whoever makes the next ones
   depot_count       atomic       none        in mt_message.c: about how many these are
   buckets           one each     none        in mt_shared.c: who waits for words of shared memory

   Callable from any OS thread, with or without a GIL. */
#ifndef MT_GLOBAL_H
#define MT_GLOBAL_H

#include "base/mt_base.h"

enum { MT_GLOBAL_ID_BITS = 40 }; /* of a micro-thread's id; the bits above are its scheduler's */

/* A number that no other scheduler in the process has or had; from 0 on. */
uint64_t
mt_global_next_serial(void);

/* A number that no other channel in the process has or had; from 1 on. */
uint64_t
mt_global_next_channel(void);

/* What was made before a fork may have been in use by an OS thread that does not exist here: things
   note this number when they are made, and are left alone when it has changed. */
uint32_t
mt_global_forks(void);

/* In the child of a fork. */
void
mt_global_note_fork(void);

/* Have this called in the child before fork() returns there; the first caller's is kept for good.
   Returns 0 or MT_ENOMEM. */
int
mt_global_at_fork(void (*child)(void));

/* A block that mt_global_keep_block() kept, or NULL. All callers use blocks of one size and kind. */
void *
mt_global_reuse_block(void);

/* Keep a block for reuse. Returns false when enough are kept: then the caller frees it. */
bool
mt_global_keep_block(void *block);

#endif

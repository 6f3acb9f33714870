/* SPDX-License-Identifier: MIT */
/* The socket calls, waiting for the calling micro-thread only. Each makes its system call first and
   parks when that says EAGAIN. The lock is held throughout, since no call blocks.

   The descriptors are non-blocking and kept: their owner calls mt_io_forget() before each close.
   timeout: ns for the whole call; 0 never waits, and then what would have to wait is the system
   error EAGAIN; MT_FOREVER. The clock is read only if the call has to wait.

   Unless said otherwise they return a count >= 0, or a negative error: a system error (EBADF also
   when the descriptor was closed meanwhile), MT_ENOMEM, or an error of mt_wait_park(). After an
   error nothing was received or sent. */
#ifndef MT_SOCKET_H
#define MT_SOCKET_H

#include "base/mt_base.h"
#include "core/mt_sched.h"

#include <sys/socket.h>
#include <sys/types.h>

enum { MT_SOCKET_COST = 8 }; /* for mt_spend(): the kernel works, and the program around it computes */

/* With MSG_WAITALL and no time limit a stream is read until `size` bytes have come or it ends or
   fails, as on a blocking socket; what had come by then is returned, but lost when the wait is
   cancelled. */
ssize_t
mt_socket_recv(struct mt_sched *sched, int fd, void *buffer, size_t size, int flags,
               mt_time timeout);

/* *address_size: in the room in *address, out its length. */
ssize_t
mt_socket_recvfrom(struct mt_sched *sched, int fd, void *buffer, size_t size, int flags,
                   struct sockaddr *address, socklen_t *address_size, mt_time timeout);

ssize_t
mt_socket_recvmsg(struct mt_sched *sched, int fd, struct msghdr *message, int flags,
                  mt_time timeout);

/* May send less than all. */
ssize_t
mt_socket_send(struct mt_sched *sched, int fd, const void *data, size_t size, int flags,
               mt_time timeout);

ssize_t
mt_socket_sendto(struct mt_sched *sched, int fd, const void *data, size_t size, int flags,
                 const struct sockaddr *address, socklen_t address_size, mt_time timeout);

ssize_t
mt_socket_sendmsg(struct mt_sched *sched, int fd, const struct msghdr *message, int flags,
                  mt_time timeout);

/* Send all of it. *sent: how much went, also when it fails. Returns 0 or an error as above. */
int
mt_socket_send_all(struct mt_sched *sched, int fd, const void *data, size_t size, int flags,
                   size_t *sent, mt_time timeout);

/* Returns the new descriptor, non-blocking and close-on-exec; the caller's. address may be NULL. */
int
mt_socket_accept(struct mt_sched *sched, int fd, struct sockaddr *address, socklen_t *address_size,
                 mt_time timeout);

/* Returns 0 or an error; with timeout 0 that is EINPROGRESS while the connection is being made.
   After MT_ETIMEDOUT or MT_ECANCELED it is still being made. */
int
mt_socket_connect(struct mt_sched *sched, int fd, const struct sockaddr *address,
                  socklen_t address_size, mt_time timeout);

/* Copy from a file to a socket. offset: where to read, moved on by what was sent; NULL: the file's
   own position. May send less than all; 0 at the end of the file. */
ssize_t
mt_socket_sendfile(struct mt_sched *sched, int fd, int file, off_t *offset, size_t size,
                   mt_time timeout);

#endif

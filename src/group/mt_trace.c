/* SPDX-License-Identifier: MIT */
#include "group/mt_trace.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "group/mt_global.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    NOTES = 1 << 16,             /* places in the ring */
    WAKE_EACH = NOTES / 8,       /* notes after which the writer is woken */
    LOOK_EACH = 100 * 1000 * 1000, /* ns after which it looks by itself */
    TEXT_SIZE = 64 * 1024,       /* bytes of text that are written at once */
    LONGEST_NAME = 256,          /* bytes of a name that are shown */
    LONGEST_EVENT = 512 + 6 * LONGEST_NAME, /* bytes of one note's text: a byte may take six */
    NS_PER_US = 1000
};

struct mt_trace {
    struct mt_trace_note *notes; /* the ring; NOTES of them; owned */
    _Atomic uint64_t put;        /* how many were put into it */
    _Atomic uint64_t taken;      /* how many of these were written */
    _Atomic uint64_t lost;       /* how many found no place */
    pthread_t writer;
    pthread_mutex_t lock;        /* for `wake` */
    pthread_cond_t wake;         /* there is much to write, or it ends */
    bool is_ending;              /* under lock: nothing more comes */
    int fd;                      /* the file */
    int error;                   /* the writer's: the first failure, as an errno value; or 0 */
    mt_time last;                /* the writer's: the latest time in the file */
    bool has_events;             /* the writer's: the next one needs a comma before it */
    size_t size;                 /* the writer's: bytes in text */
    char text[TEXT_SIZE];        /* the writer's: not written yet */
};

/* ---- text ---- */

static void
flush(struct mt_trace *trace)
{
    size_t done = 0;
    while (done < trace->size && !trace->error) {
        ssize_t count = write(trace->fd, trace->text + done, trace->size - done);
        if (count >= 0)
            done += (size_t)count;
        else if (errno != EINTR)
            trace->error = errno;
    }
    trace->size = 0;
}

static void
add_bytes(struct mt_trace *trace, const char *bytes, size_t size)
{
    memcpy(trace->text + trace->size, bytes, size);
    trace->size += size;
}

static void
add(struct mt_trace *trace, const char *text)
{
    add_bytes(trace, text, strlen(text));
}

/* printf() would be the slowest part of the writer by far. */
static void
add_number(struct mt_trace *trace, uint64_t number, int least_digits)
{
    char digits[20];
    int place = (int)sizeof digits;
    do
        digits[--place] = (char)('0' + number % 10);
    while ((number /= 10) || (int)sizeof digits - place < least_digits);
    add_bytes(trace, digits + place, sizeof digits - (size_t)place);
}

static void
add_address(struct mt_trace *trace, uint64_t number)
{
    char digits[20];
    int size = snprintf(digits, sizeof digits, "0x%llx", (unsigned long long)number);
    add_bytes(trace, digits, (size_t)size);
}

/* ns as the microseconds that the format wants. */
static void
add_time(struct mt_trace *trace, const char *key, mt_time time)
{
    uint64_t ns = time > 0 ? (uint64_t)time : 0;
    add(trace, key);
    add_number(trace, ns / NS_PER_US, 1);
    add(trace, ".");
    add_number(trace, ns % NS_PER_US, 3);
}

/* Within quotes. A name that is cut is cut between characters. */
static void
add_name(struct mt_trace *trace, const char *name)
{
    size_t size = strlen(name);
    if (size > LONGEST_NAME) {
        size = LONGEST_NAME;
        while (size && ((unsigned char)name[size] & 0xC0) == 0x80)
            size--;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20) {
            char escaped[8];
            add_bytes(trace, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
        } else {
            if (c == '"' || c == '\\')
                add(trace, "\\");
            trace->text[trace->size++] = (char)c;
        }
    }
}

/* Its id without the part that says which scheduler it is of: tracks have small numbers. */
static uint64_t
track_of(uint64_t id)
{
    return id & (((uint64_t)1 << MT_GLOBAL_ID_BITS) - 1);
}

static void
add_default_name(struct mt_trace *trace, uint64_t id)
{
    add(trace, "micro_thread-");
    add_number(trace, id, 1);
}

/* What all events begin with; ends within the object. */
static void
begin_event(struct mt_trace *trace, const char *phase, const struct mt_trace_note *note,
            uint64_t track)
{
    add(trace, trace->has_events ? ",\n{\"ph\":\"" : "{\"ph\":\"");
    trace->has_events = true;
    if (trace->last < note->until)
        trace->last = note->until;
    add(trace, phase);
    add(trace, "\",\"pid\":");
    add_number(trace, note->loop, 1);
    add(trace, ",\"tid\":");
    add_number(trace, track, 1);
}

static void
add_wait(struct mt_trace *trace, const struct mt_trace_note *note)
{
    switch ((enum mt_wait_kind)note->waits) {
    case MT_WAIT_SLEEP:
        add(trace, "sleep ");
        add_number(trace, note->number / MT_SECOND, 1);
        add(trace, ".");
        add_number(trace, note->number % MT_SECOND / NS_PER_US, 6);
        add(trace, " s");
        return;
    case MT_WAIT_READ:
        add(trace, "read fd ");
        add_number(trace, note->number, 1);
        return;
    case MT_WAIT_WRITE:
        add(trace, "write fd ");
        add_number(trace, note->number, 1);
        return;
    case MT_WAIT_THREAD:
        add(trace, "end of ");
        add_default_name(trace, note->number);
        return;
    case MT_WAIT_DEFERRED: add(trace, "deferred "); break;
    case MT_WAIT_ENDS:     add(trace, "ends "); break;
    case MT_WAIT_GROUP:    add(trace, "Group "); break;
    case MT_WAIT_TAKE:     add(trace, "take from "); break;
    case MT_WAIT_PUT:      add(trace, "put into "); break;
    case MT_WAIT_LOCK:     add(trace, "lock "); break;
    case MT_WAIT_PERMIT:   add(trace, "semaphore "); break;
    case MT_WAIT_EVENT:    add(trace, "event "); break;
    case MT_WAIT_NOTICE:   add(trace, "notice of "); break;
    case MT_WAIT_ITEM:     add(trace, "queue "); break;
    case MT_WAIT_ERRAND:   add(trace, "file "); break;
    case MT_WAIT_WORD:     add(trace, "shared word "); break;
    case MT_WAIT_SEND:     add(trace, "send "); break;
    case MT_WAIT_RECV:     add(trace, "recv "); break;
    }
    add_address(trace, note->number);
}

static void
add_run(struct mt_trace *trace, const struct mt_trace_note *note)
{
    begin_event(trace, "X", note, track_of(note->id));
    add_time(trace, ",\"name\":\"running\",\"ts\":", note->from);
    add_time(trace, ",\"dur\":", note->until - note->from);
    add(trace, "}");
    if (note->waits == MT_TRACE_YIELDS)
        return;
    begin_event(trace, "i", note, track_of(note->id));
    add_time(trace, ",\"s\":\"t\",\"ts\":", note->until);
    add(trace, ",\"name\":\"waits: ");
    add_wait(trace, note);
    if (note->more) {
        add(trace, " or ");
        add_number(trace, note->more, 1);
        add(trace, " more");
    }
    add(trace, "\"}");
}

static void
add_note(struct mt_trace *trace, const struct mt_trace_note *note)
{
    switch ((enum mt_trace_kind)note->kind) {
    case MT_TRACE_LOOP:
        begin_event(trace, "M", note, 0);
        add(trace, ",\"name\":\"process_name\",\"args\":{\"name\":\"process ");
        add_number(trace, (uint64_t)getpid(), 1);
        add(trace, ", OS thread\"}}");
        begin_event(trace, "M", note, 0);
        add(trace, ",\"name\":\"thread_name\",\"args\":{\"name\":\"loop\"}}");
        break;
    case MT_TRACE_NAME:
        begin_event(trace, "M", note, track_of(note->id));
        add(trace, ",\"name\":\"thread_name\",\"args\":{\"name\":\"");
        if (note->name)
            add_name(trace, note->name);
        else
            add_default_name(trace, note->id);
        add(trace, "\"}}");
        mt_alloc_free(note->name);
        break;
    case MT_TRACE_SPAWN:
        begin_event(trace, "i", note, track_of(note->id));
        add_time(trace, ",\"s\":\"t\",\"ts\":", note->until);
        add(trace, ",\"name\":\"spawn\",\"args\":{\"id\":");
        add_number(trace, note->number, 1);
        add(trace, "}}");
        break;
    case MT_TRACE_RUN:
        add_run(trace, note);
        break;
    case MT_TRACE_FINISH:
        begin_event(trace, "i", note, track_of(note->id));
        add_time(trace, ",\"s\":\"t\",\"ts\":", note->until);
        add(trace, ",\"name\":\"finish\"}");
        break;
    case MT_TRACE_POLL:
        begin_event(trace, "X", note, 0);
        add_time(trace, ",\"name\":\"poll\",\"ts\":", note->from);
        add_time(trace, ",\"dur\":", note->until - note->from);
        add(trace, "}");
        break;
    }
}

/* ---- the writer ---- */

static void
write_what_is_there(struct mt_trace *trace)
{
    uint64_t put = atomic_load_explicit(&trace->put, memory_order_acquire);
    uint64_t taken = atomic_load_explicit(&trace->taken, memory_order_relaxed);
    while (taken != put) {
        if (trace->size > TEXT_SIZE - LONGEST_EVENT)
            flush(trace);
        add_note(trace, &trace->notes[taken % NOTES]);
        atomic_store_explicit(&trace->taken, ++taken, memory_order_release);
    }
    flush(trace);
}

static void
wait_for_more(struct mt_trace *trace)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_EACH;
    if (until.tv_nsec >= MT_SECOND) {
        until.tv_nsec -= MT_SECOND;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(&trace->wake, &trace->lock, &until);
}

static void *
writer_main(void *argument)
{
    struct mt_trace *trace = argument;
    add(trace, "[\n");
    pthread_mutex_lock(&trace->lock);
    while (!trace->is_ending) {
        pthread_mutex_unlock(&trace->lock);
        write_what_is_there(trace);
        pthread_mutex_lock(&trace->lock);
        uint64_t left = atomic_load(&trace->put) - atomic_load(&trace->taken);
        if (!trace->is_ending && left < WAKE_EACH)
            wait_for_more(trace);
    }
    pthread_mutex_unlock(&trace->lock);
    write_what_is_there(trace);
    uint64_t lost = atomic_load(&trace->lost);
    if (lost) {
        struct mt_trace_note all = {.loop = (uint32_t)getpid()};
        begin_event(trace, "i", &all, 0);
        add_time(trace, ",\"s\":\"g\",\"ts\":", trace->last);
        add(trace, ",\"name\":\"notes lost: ");
        add_number(trace, lost, 1);
        add(trace, "\"}");
    }
    add(trace, "\n]\n");
    flush(trace);
    return NULL;
}

/* Signals are for the OS threads that know what to do with them. Returns 0 or an errno value. */
static int
start_writer(struct mt_trace *trace)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int number = pthread_create(&trace->writer, NULL, writer_main, trace);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return number;
}

static void
free_trace(struct mt_trace *trace)
{
    mt_alloc_free(trace->notes);
    mt_alloc_free(trace);
}

/* ---- the calls ---- */

int
mt_trace_open(const char *path, struct mt_trace **result)
{
    struct mt_trace *trace = mt_alloc_zeroed(sizeof *trace);
    if (!trace)
        return MT_ENOMEM;
    trace->notes = mt_alloc_zeroed(NOTES * sizeof *trace->notes);
    if (!trace->notes) {
        free_trace(trace);
        return MT_ENOMEM;
    }
    trace->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (trace->fd < 0) {
        int number = errno;
        free_trace(trace);
        return mt_error_from_errno(number);
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&trace->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&trace->lock, NULL);
    int number = start_writer(trace);
    if (number) {
        close(trace->fd);
        free_trace(trace);
        return mt_error_from_errno(number);
    }
    *result = trace;
    return 0;
}

void
mt_trace_put(struct mt_trace *trace, const struct mt_trace_note *note)
{
    uint64_t put = atomic_load_explicit(&trace->put, memory_order_relaxed);
    if (put - atomic_load_explicit(&trace->taken, memory_order_acquire) == NOTES) {
        atomic_fetch_add_explicit(&trace->lost, 1, memory_order_relaxed);
        if (note->kind == MT_TRACE_NAME)
            mt_alloc_free(note->name);
        return;
    }
    trace->notes[put % NOTES] = *note;
    atomic_store_explicit(&trace->put, ++put, memory_order_release);
    if (put % WAKE_EACH == 0)
        pthread_cond_signal(&trace->wake); /* one that is missed costs a tenth of a second */
}

int
mt_trace_close(struct mt_trace *trace)
{
    pthread_mutex_lock(&trace->lock);
    trace->is_ending = true;
    pthread_cond_signal(&trace->wake);
    pthread_mutex_unlock(&trace->lock);
    pthread_join(trace->writer, NULL);
    int number = trace->error;
    if (close(trace->fd) < 0 && !number)
        number = errno;
    pthread_cond_destroy(&trace->wake);
    pthread_mutex_destroy(&trace->lock);
    free_trace(trace);
    return number ? mt_error_from_errno(number) : 0;
}

void
mt_trace_abandon(struct mt_trace *trace)
{
    close(trace->fd);
    free_trace(trace); /* not the names: the writer may have freed one a moment before */
}

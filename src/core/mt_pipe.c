/* SPDX-License-Identifier: MIT */
/* Values are handed straight to a waiting reader; a waiting writer's value moves up as soon as
   there is room. So readers wait only while the ring is empty and nobody writes, and writers only
   while it is full. */
#include "core/mt_pipe.h"

#include "core/mt_sched.h"

void
mt_pipe_init(struct mt_pipe *pipe, struct mt_sched *sched, size_t capacity)
{
    pipe->sched = sched;
    mt_list_init(&pipe->readers);
    mt_list_init(&pipe->writers);
    mt_ring_init(&pipe->items);
    pipe->capacity = capacity;
    pipe->peak = 0;
    pipe->is_closed = false;
}

void
mt_pipe_fini(struct mt_pipe *pipe, void (*drop)(void *value))
{
    assert(mt_list_is_empty(&pipe->readers) && mt_list_is_empty(&pipe->writers));
    while (pipe->items.count)
        drop(mt_ring_pop(&pipe->items));
    mt_ring_fini(&pipe->items);
}

/* The first one in the list, which is to be served now; or NULL. */
static struct mt_clause *
claim_front(const struct mt_list *list)
{
    struct mt_link *link;
    while ((link = mt_list_front(list))) {
        struct mt_clause *clause = MT_CONTAINER_OF(link, struct mt_clause, link);
        if (MT_LIKELY(mt_wait_claim(clause->wait)))
            return clause;
        mt_list_remove(link);
    }
    return NULL;
}

int
mt_pipe_try_put(struct mt_pipe *pipe, void *value)
{
    if (MT_UNLIKELY(pipe->is_closed))
        return MT_ECLOSED;
    struct mt_clause *reader = claim_front(&pipe->readers);
    if (reader) {
        reader->value = value;
        mt_trigger(reader, 0);
        return 0;
    }
    if (pipe->items.count >= pipe->capacity)
        return MT_EFULL;
    int error = mt_ring_push(&pipe->items, value);
    if (MT_LIKELY(!error) && pipe->items.count > pipe->peak)
        pipe->peak = pipe->items.count;
    return error;
}

int
mt_pipe_put(struct mt_pipe *pipe, void *value, mt_time deadline)
{
    int error = mt_heed(pipe->sched, 1);
    if (MT_LIKELY(!error))
        error = mt_pipe_try_put(pipe, value);
    if (MT_LIKELY(!error)) {
        mt_spend(pipe->sched, 1);
        return 0;
    }
    if (error != MT_EFULL)
        return error;
    struct mt_wait wait;
    struct mt_clause clause;
    mt_wait_init(&wait, pipe->sched);
    mt_wait_add(&wait, &clause, MT_WAIT_PUT, pipe);
    clause.value = value;
    mt_list_append(&pipe->writers, &clause.link);
    return mt_wait_park(&wait, deadline);
}

int
mt_pipe_try_take(struct mt_pipe *pipe, void **value)
{
    struct mt_clause *writer = claim_front(&pipe->writers);
    if (MT_LIKELY(pipe->items.count > 0)) {
        *value = mt_ring_pop(&pipe->items);
        if (writer) {
            int error = mt_ring_push(&pipe->items, writer->value);
            assert(!error); /* there is the room of the one just popped */
            (void)error;
            mt_trigger(writer, 0);
        }
        return 0;
    }
    if (writer) {
        *value = writer->value;
        mt_trigger(writer, 0);
        return 0;
    }
    return pipe->is_closed ? MT_ECLOSED : MT_EEMPTY;
}

int
mt_pipe_take(struct mt_pipe *pipe, void **value, mt_time deadline)
{
    int error = mt_heed(pipe->sched, 1);
    if (MT_LIKELY(!error))
        error = mt_pipe_try_take(pipe, value);
    if (MT_LIKELY(!error)) {
        mt_spend(pipe->sched, 1);
        return 0;
    }
    if (error != MT_EEMPTY)
        return error;
    struct mt_wait wait;
    struct mt_clause clause;
    mt_wait_init(&wait, pipe->sched);
    mt_wait_add(&wait, &clause, MT_WAIT_TAKE, pipe);
    mt_list_append(&pipe->readers, &clause.link);
    error = mt_wait_park(&wait, deadline);
    if (MT_LIKELY(!error))
        *value = clause.value;
    return error;
}

static void
trigger_all(struct mt_list *list, int result)
{
    struct mt_clause *clause;
    while ((clause = claim_front(list)))
        mt_trigger(clause, result);
}

void
mt_pipe_close(struct mt_pipe *pipe)
{
    pipe->is_closed = true;
    trigger_all(&pipe->readers, MT_ECLOSED);
    trigger_all(&pipe->writers, MT_ECLOSED);
}

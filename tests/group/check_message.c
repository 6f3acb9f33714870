/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "group/mt_message.h"

#include <pthread.h>
#include <string.h>

struct counted {
    struct mt_body body;
    int *freed;
};

static void
count_free(struct mt_body *body)
{
    struct counted *counted = MT_CONTAINER_OF(body, struct counted, body);
    ++*counted->freed;
}

START_TEST(grown_message_keeps_its_bytes_and_bodies)
{
    int freed = 0;
    struct counted counted = {.freed = &freed};
    mt_body_init(&counted.body, count_free);
    struct mt_message *message = mt_message_new(4);
    ck_assert_ptr_nonnull(message);
    memcpy(message->bytes, "abcd", 4);
    message->size = 4;
    ck_assert_int_eq(mt_message_attach(message, &counted.body), 0);
    for (size_t size = 4; size < 10000; size += 100) {
        ck_assert_int_eq(mt_message_grow(&message, 100), 0);
        ck_assert_uint_ge(message->capacity, message->size + 100);
        message->size += 100;
    }
    ck_assert_int_eq(memcmp(message->bytes, "abcd", 4), 0);
    ck_assert_ptr_eq(message->bodies[0], &counted.body);
    mt_message_free(message);
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(body_is_freed_with_its_last_reference)
{
    int freed = 0;
    struct counted counted = {.freed = &freed};
    mt_body_init(&counted.body, count_free);
    struct mt_message *message = mt_message_new(0);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(mt_message_attach(message, mt_body_ref(&counted.body)), i);
    mt_message_free(message);
    ck_assert_int_eq(freed, 0);
    mt_body_unref(&counted.body);
    ck_assert_int_eq(freed, 1);
    mt_body_unref(NULL);
    mt_message_free(NULL);
}
END_TEST

START_TEST(without_memory_nothing_changes)
{
    int freed = 0;
    struct counted counted = {.freed = &freed};
    mt_body_init(&counted.body, count_free);
    mt_alloc_fail_nth(1);
    ck_assert_ptr_null(mt_message_new(8));
    mt_alloc_fail_nth(1);
    ck_assert_ptr_null(mt_block_new(8));
    ck_assert_ptr_null(mt_block_new(SIZE_MAX - 8));
    struct mt_message *message = mt_message_new(8);
    struct mt_message *before = message;
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(mt_message_grow(&message, 100), MT_ENOMEM);
    ck_assert_ptr_eq(message, before);
    ck_assert_int_eq(mt_message_grow(&message, SIZE_MAX), MT_ENOMEM);
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(mt_message_attach(message, &counted.body), MT_ENOMEM);
    mt_message_free(message);
    ck_assert_int_eq(freed, 0);
}
END_TEST

START_TEST(block_is_aligned_and_its_own_body)
{
    struct mt_block *block = mt_block_new(100);
    ck_assert_uint_eq(block->size, 100);
    ck_assert_uint_eq((uintptr_t)block->data % 16, 0);
    struct mt_message *message = mt_message_new(0);
    ck_assert_int_eq(mt_message_attach(message, &block->body), 0);
    mt_message_free(message);
}
END_TEST

/* ---- small messages ---- */

START_TEST(given_message_is_taken_again_empty)
{
    int freed = 0;
    struct counted counted = {.freed = &freed};
    mt_body_init(&counted.body, count_free);
    struct mt_message_cache cache = {0};
    struct mt_message *message = mt_message_take(&cache);
    ck_assert_uint_eq(message->capacity, MT_MESSAGE_SMALL);
    message->size = 7;
    ck_assert_int_eq(mt_message_attach(message, &counted.body), 0);
    mt_message_give(&cache, message);
    ck_assert_int_eq(freed, 1);
    mt_alloc_fail_nth(1);
    ck_assert_ptr_eq(mt_message_take(&cache), message);
    mt_alloc_fail_nth(0);
    ck_assert_uint_eq(message->size, 0);
    ck_assert_uint_eq(message->body_count, 0);
    ck_assert_uint_eq(message->body_capacity, 0);
    ck_assert_ptr_null(message->bodies);
    ck_assert_int_eq(mt_message_grow(&message, MT_MESSAGE_SMALL + 1), 0);
    mt_message_give(&cache, message); /* no small one any more: freed */
    ck_assert_ptr_null(cache.given);
    mt_alloc_fail_nth(1);
    ck_assert_ptr_null(mt_message_take(&cache));
    mt_message_cache_fini(&cache);
}
END_TEST

START_TEST(many_given_reach_another_cache_and_no_more_than_a_bound_is_kept)
{
    enum { MANY = 10000 };
    static struct mt_message *messages[MANY];
    struct mt_message_cache here = {0}, there = {0};
    for (int i = 0; i < MANY; i++)
        messages[i] = mt_message_take(&here);
    for (int i = 0; i < MANY; i++)
        mt_message_give(&there, messages[i]);
    mt_message_cache_fini(&there);
    int kept = 0, doubles = 0;
    for (;; kept++) {
        mt_alloc_fail_nth(1);
        messages[kept] = mt_message_take(&here);
        mt_alloc_fail_nth(0);
        if (!messages[kept])
            break;
        for (int i = 0; i < kept; i++)
            doubles += messages[i] == messages[kept];
    }
    ck_assert_int_eq(doubles, 0);
    ck_assert_int_ge(kept, 32);
    ck_assert_int_le(kept, 4096);
    while (kept--)
        mt_message_free(messages[kept]);
    mt_message_cache_fini(&here);
}
END_TEST

/* An OS thread's part: it takes messages and passes them to the next one, which gives them back. */
enum { GIVERS = 3, ROUNDS = 30000 };
static _Atomic(struct mt_message *) hands[GIVERS];
static atomic_int broken; /* messages that somebody else had written in */

static void *
take_and_give(void *argument)
{
    size_t self = (size_t)(uintptr_t)argument;
    struct mt_message_cache cache = {0};
    for (int i = 0; i < ROUNDS; i++) {
        struct mt_message *message = mt_message_take(&cache);
        memset(message->bytes, (int)self, MT_MESSAGE_SMALL);
        message->size = self;
        message = atomic_exchange(&hands[(self + 1) % GIVERS], message);
        if (message)
            mt_message_give(&cache, message);
        message = atomic_exchange(&hands[self], NULL);
        if (!message)
            continue;
        bool is_whole = true; /* ck_assert() itself is no good in other OS threads */
        for (size_t at = 0; at < MT_MESSAGE_SMALL; at++)
            is_whole &= message->bytes[at] == message->size;
        if (!is_whole)
            atomic_fetch_add(&broken, 1);
        mt_message_give(&cache, message);
    }
    mt_message_cache_fini(&cache);
    return NULL;
}

START_TEST(os_threads_exchange_messages_and_each_has_one_owner)
{
    pthread_t others[GIVERS];
    for (size_t i = 0; i < GIVERS; i++)
        ck_assert_int_eq(pthread_create(&others[i], NULL, take_and_give, (void *)i), 0);
    for (size_t i = 0; i < GIVERS; i++)
        ck_assert_int_eq(pthread_join(others[i], NULL), 0);
    for (size_t i = 0; i < GIVERS; i++)
        mt_message_free(hands[i]);
    ck_assert_int_eq(broken, 0);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("group/message");
    TCase *tests = tcase_create("message");
    tcase_add_test(tests, grown_message_keeps_its_bytes_and_bodies);
    tcase_add_test(tests, body_is_freed_with_its_last_reference);
    tcase_add_test(tests, without_memory_nothing_changes);
    tcase_add_test(tests, block_is_aligned_and_its_own_body);
    tcase_add_test(tests, given_message_is_taken_again_empty);
    tcase_add_test(tests, many_given_reach_another_cache_and_no_more_than_a_bound_is_kept);
    tcase_add_test(tests, os_threads_exchange_messages_and_each_has_one_owner);
    suite_add_tcase(suite, tests);
    return suite;
}

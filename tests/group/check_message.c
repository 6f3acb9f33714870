/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "group/mt_message.h"

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

Suite *
check_suite(void)
{
    Suite *suite = suite_create("group/message");
    TCase *tests = tcase_create("message");
    tcase_add_test(tests, grown_message_keeps_its_bytes_and_bodies);
    tcase_add_test(tests, body_is_freed_with_its_last_reference);
    tcase_add_test(tests, without_memory_nothing_changes);
    tcase_add_test(tests, block_is_aligned_and_its_own_body);
    suite_add_tcase(suite, tests);
    return suite;
}

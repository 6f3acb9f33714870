/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "base/mt_heap.h"

#include <stdlib.h>

enum { NODES = 2000 };

static struct mt_heap_node *
pop(struct mt_heap *heap)
{
    struct mt_heap_node *top = mt_heap_top(heap);
    if (top)
        mt_heap_remove(heap, top);
    return top;
}

START_TEST(smallest_comes_out_first_and_equals_in_order)
{
    struct mt_heap heap;
    static struct mt_heap_node nodes[NODES];
    srand(42);
    mt_heap_init(&heap);
    for (int i = 0; i < NODES; i++) {
        nodes[i].key = rand() % 100;
        ck_assert_int_eq(mt_heap_push(&heap, &nodes[i]), 0);
    }
    struct mt_heap_node *last = pop(&heap);
    for (int i = 1; i < NODES; i++) {
        struct mt_heap_node *next = pop(&heap);
        ck_assert_ptr_nonnull(next);
        ck_assert(last->key < next->key || (last->key == next->key && last < next));
        last = next;
    }
    ck_assert_ptr_null(pop(&heap));
    mt_heap_fini(&heap);
}
END_TEST

START_TEST(any_node_can_be_removed_and_the_rest_stays_in_order)
{
    struct mt_heap heap;
    static struct mt_heap_node nodes[NODES];
    srand(7);
    mt_heap_init(&heap);
    for (int i = 0; i < NODES; i++) {
        nodes[i].key = rand() % 1000;
        ck_assert_int_eq(mt_heap_push(&heap, &nodes[i]), 0);
    }
    for (int i = 0; i < NODES; i++)
        if (rand() % 2)
            mt_heap_remove(&heap, &nodes[i]);
    mt_time last = -1;
    size_t left = heap.count;
    for (struct mt_heap_node *node; (node = pop(&heap)); left--) {
        ck_assert_int_ge(node->key, last);
        ck_assert_uint_eq(node->place, 0);
        last = node->key;
    }
    ck_assert_uint_eq(left, 0);
    mt_heap_fini(&heap);
}
END_TEST

START_TEST(removing_one_that_is_outside_is_harmless)
{
    struct mt_heap heap;
    struct mt_heap_node inside = {.key = 1}, outside = {.key = 2};
    mt_heap_init(&heap);
    ck_assert_int_eq(mt_heap_push(&heap, &inside), 0);
    mt_heap_remove(&heap, &outside);
    ck_assert_ptr_eq(mt_heap_top(&heap), &inside);
    mt_heap_remove(&heap, &inside);
    mt_heap_remove(&heap, &inside);
    ck_assert_ptr_null(mt_heap_top(&heap));
    mt_heap_fini(&heap);
}
END_TEST

START_TEST(fini_marks_what_is_left_as_outside)
{
    struct mt_heap heap;
    struct mt_heap_node a = {.key = 1}, b = {.key = 2};
    mt_heap_init(&heap);
    ck_assert_int_eq(mt_heap_push(&heap, &a), 0);
    ck_assert_int_eq(mt_heap_push(&heap, &b), 0);
    mt_heap_fini(&heap);
    ck_assert_uint_eq(a.place, 0);
    ck_assert_uint_eq(b.place, 0);
    ck_assert_uint_eq(heap.count, 0);
}
END_TEST

START_TEST(failed_growth_leaves_the_node_outside)
{
    struct mt_heap heap;
    static struct mt_heap_node nodes[NODES];
    mt_heap_init(&heap);
    size_t inside = 0;
    for (int failures = 0; failures < 4; inside++) {
        nodes[inside].key = (mt_time)(NODES - inside);
        mt_alloc_fail_nth(1);
        int error = mt_heap_push(&heap, &nodes[inside]);
        mt_alloc_fail_nth(0);
        if (!error)
            continue;
        ck_assert_int_eq(error, MT_ENOMEM);
        ck_assert_uint_eq(nodes[inside].place, 0);
        ck_assert_uint_eq(heap.count, inside);
        ck_assert_int_eq(mt_heap_push(&heap, &nodes[inside]), 0);
        failures++;
    }
    for (size_t i = inside; i-- > 0;)
        ck_assert_ptr_eq(pop(&heap), &nodes[i]);
    mt_heap_fini(&heap);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("base/heap");
    TCase *tests = tcase_create("heap");
    tcase_add_test(tests, smallest_comes_out_first_and_equals_in_order);
    tcase_add_test(tests, any_node_can_be_removed_and_the_rest_stays_in_order);
    tcase_add_test(tests, removing_one_that_is_outside_is_harmless);
    tcase_add_test(tests, fini_marks_what_is_left_as_outside);
    tcase_add_test(tests, failed_growth_leaves_the_node_outside);
    suite_add_tcase(suite, tests);
    return suite;
}

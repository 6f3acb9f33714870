/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "base/mt_ring.h"

static void *
value(uintptr_t number)
{
    return (void *)number;
}

START_TEST(values_come_out_in_the_order_they_went_in)
{
    struct mt_ring ring;
    mt_ring_init(&ring);
    for (uintptr_t i = 1; i <= 1000; i++)
        ck_assert_int_eq(mt_ring_push(&ring, value(i)), 0);
    for (uintptr_t i = 1; i <= 1000; i++)
        ck_assert_ptr_eq(mt_ring_pop(&ring), value(i));
    ck_assert_uint_eq(ring.count, 0);
    mt_ring_fini(&ring);
}
END_TEST

START_TEST(order_survives_growth_in_any_position)
{
    for (uintptr_t ahead = 0; ahead < 20; ahead++) {
        struct mt_ring ring;
        mt_ring_init(&ring);
        for (uintptr_t i = 0; i < ahead; i++) {
            ck_assert_int_eq(mt_ring_push(&ring, value(99)), 0);
            ck_assert_int_eq(mt_ring_push(&ring, value(99)), 0);
            (void)mt_ring_pop(&ring);
            (void)mt_ring_pop(&ring);
        }
        for (uintptr_t i = 0; i < 50; i++)
            ck_assert_int_eq(mt_ring_push(&ring, value(i)), 0);
        for (uintptr_t i = 0; i < 50; i++)
            ck_assert_ptr_eq(mt_ring_at(&ring, i), value(i));
        mt_ring_fini(&ring);
    }
}
END_TEST

START_TEST(one_value_costs_no_allocation)
{
    struct mt_ring ring;
    mt_ring_init(&ring);
    mt_alloc_fail_nth(1);
    for (uintptr_t i = 0; i < 10; i++) {
        ck_assert_int_eq(mt_ring_push(&ring, value(i)), 0);
        ck_assert_ptr_eq(mt_ring_pop(&ring), value(i));
    }
    mt_alloc_fail_nth(0);
    mt_ring_fini(&ring);
}
END_TEST

START_TEST(failed_growth_changes_nothing)
{
    struct mt_ring ring;
    mt_ring_init(&ring);
    size_t inside = 0;
    for (size_t failures = 0; failures < 6;) {
        mt_alloc_fail_nth(1);
        int error = mt_ring_push(&ring, value(inside));
        mt_alloc_fail_nth(0);
        if (error) {
            ck_assert_int_eq(error, MT_ENOMEM);
            ck_assert_uint_eq(ring.count, inside);
            failures++;
            ck_assert_int_eq(mt_ring_push(&ring, value(inside)), 0);
        }
        inside++;
    }
    for (size_t i = 0; i < inside; i++)
        ck_assert_ptr_eq(mt_ring_pop(&ring), value(i));
    mt_ring_fini(&ring);
}
END_TEST

START_TEST(fini_readies_it_for_use_again)
{
    struct mt_ring ring;
    mt_ring_init(&ring);
    for (uintptr_t i = 0; i < 9; i++)
        ck_assert_int_eq(mt_ring_push(&ring, value(i)), 0);
    mt_ring_fini(&ring);
    ck_assert_uint_eq(ring.count, 0);
    ck_assert_int_eq(mt_ring_push(&ring, value(5)), 0);
    ck_assert_ptr_eq(mt_ring_pop(&ring), value(5));
    mt_ring_fini(&ring);
}
END_TEST

/* Whether a ring through which so many went at once has kept its slots. */
static bool
keeps_slots_of(size_t count)
{
    struct mt_ring ring;
    mt_ring_init(&ring);
    for (uintptr_t i = 0; i < count; i++)
        ck_assert_int_eq(mt_ring_push(&ring, value(i)), 0);
    for (uintptr_t i = 0; i < count; i++) {
        ck_assert_ptr_ne(ring.slots, &ring.single);
        ck_assert_ptr_eq(mt_ring_pop(&ring), value(i));
    }
    bool keeps = ring.slots != &ring.single;
    ck_assert_int_eq(mt_ring_push(&ring, value(7)), 0);
    ck_assert_ptr_eq(mt_ring_pop(&ring), value(7));
    mt_ring_fini(&ring);
    return keeps;
}

START_TEST(large_ring_that_is_empty_again_gives_its_slots_back)
{
    ck_assert(keeps_slots_of(MT_RING_KEPT));
    ck_assert(!keeps_slots_of(MT_RING_KEPT + 1));
}
END_TEST

START_TEST(rings_exchange_what_is_inside)
{
    for (size_t of_a = 0; of_a < 4; of_a++) {
        for (size_t of_b = 0; of_b < 4; of_b++) {
            struct mt_ring a, b;
            mt_ring_init(&a);
            mt_ring_init(&b);
            for (size_t i = 0; i < of_a; i++)
                ck_assert_int_eq(mt_ring_push(&a, value(i)), 0);
            for (size_t i = 0; i < of_b; i++)
                ck_assert_int_eq(mt_ring_push(&b, value(10 + i)), 0);
            mt_ring_swap(&a, &b);
            ck_assert_uint_eq(a.count, of_b);
            ck_assert_uint_eq(b.count, of_a);
            ck_assert_int_eq(mt_ring_push(&a, value(20)), 0);
            ck_assert_int_eq(mt_ring_push(&b, value(30)), 0);
            for (size_t i = 0; i < of_b; i++)
                ck_assert_ptr_eq(mt_ring_pop(&a), value(10 + i));
            for (size_t i = 0; i < of_a; i++)
                ck_assert_ptr_eq(mt_ring_pop(&b), value(i));
            ck_assert_ptr_eq(mt_ring_pop(&a), value(20));
            ck_assert_ptr_eq(mt_ring_pop(&b), value(30));
            mt_ring_fini(&a);
            mt_ring_fini(&b);
        }
    }
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("base/ring");
    TCase *tests = tcase_create("ring");
    tcase_add_test(tests, values_come_out_in_the_order_they_went_in);
    tcase_add_test(tests, order_survives_growth_in_any_position);
    tcase_add_test(tests, one_value_costs_no_allocation);
    tcase_add_test(tests, failed_growth_changes_nothing);
    tcase_add_test(tests, fini_readies_it_for_use_again);
    tcase_add_test(tests, large_ring_that_is_empty_again_gives_its_slots_back);
    tcase_add_test(tests, rings_exchange_what_is_inside);
    suite_add_tcase(suite, tests);
    return suite;
}

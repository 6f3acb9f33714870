/* SPDX-License-Identifier: MIT */
/* OS threads of realms: their life, the word to stop, and visits. */
#include "check_main.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "group/mt_realm.h"

#include <unistd.h>

static _Atomic int visits, bodies_done;
static _Atomic bool is_held; /* visits do not return */

static void
drop(void *message)
{
    (void)message;
}

/* Lives until it is told to stop. */
static void
body(struct mt_realm *realm)
{
    mt_realm_set_living(realm, true);
    atomic_store(&realm->is_ready, true);
    mt_realm_announce(realm);
    while (!atomic_load(&realm->is_stopping))
        usleep(500);
    mt_realm_set_living(realm, false);
    bodies_done++;
}

static bool
attend(struct mt_realm *realm)
{
    ck_assert(realm->is_living);
    return ++visits > 1;
}

static void
visit(struct mt_realm *realm)
{
    ck_assert(realm->is_living);
    visits++;
    while (is_held)
        usleep(500);
}

static struct mt_realm *
start(void)
{
    struct mt_realm *realm = NULL;
    char *argument = mt_alloc(1);
    argument[0] = 0;
    ck_assert_int_eq(mt_realm_start(body, argument, true, drop, &realm), 0);
    while (!atomic_load(&realm->is_ready))
        usleep(500);
    return realm;
}

static void
end(struct mt_realm *realm)
{
    mt_realm_stop(realm);
    mt_realm_stop(realm);
    ck_assert(mt_realm_wait_all(60 * MT_SECOND));
    mt_realm_unref(realm);
}

static void
until_visited(int times)
{
    while (visits < times)
        usleep(500);
}

START_TEST(started_one_is_listed_until_it_has_ended)
{
    struct mt_realm *found[2] = {NULL, NULL};
    struct mt_realm *first = start(), *second = start();
    ck_assert_uint_eq(mt_realm_list(found, 1), 2);
    ck_assert_ptr_eq(found[0], first);
    mt_realm_unref(found[0]);
    ck_assert(!mt_realm_wait_all(MT_MILLISECOND));
    mt_realm_stop(second);
    end(first);
    ck_assert_uint_eq(mt_realm_list(found, 2), 0);
    void *message;
    ck_assert_int_eq(mt_channel_try_recv(NULL, second->ended, &message), MT_ECLOSED);
    ck_assert_int_eq(bodies_done, 2);
    mt_realm_unref(second);
}
END_TEST

START_TEST(visits_come_while_it_lives_only)
{
    struct mt_realm *realm = start();
    mt_realm_visit(realm, visit);
    ck_assert_int_eq(visits, 1);
    ck_assert_int_eq(mt_realm_visit_soon(realm, visit), 0);
    until_visited(2);
    mt_realm_ref(realm);
    end(realm);
    mt_realm_visit(realm, visit);
    ck_assert_int_eq(visits, 2);
    mt_realm_unref(realm);
}
END_TEST

START_TEST(visits_that_are_to_come_do_not_pile_up)
{
    struct mt_realm *realm = start();
    is_held = true;
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(mt_realm_visit_soon(realm, visit), 0);
    until_visited(1);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(mt_realm_visit_soon(realm, visit), 0);
    is_held = false;
    mt_realm_visit(realm, visit); /* behind the one that was held */
    ck_assert_int_eq(visits, 2);
    end(realm);
}
END_TEST

START_TEST(attendance_ends_with_the_realm)
{
    struct mt_realm *realm = start();
    ck_assert_int_eq(mt_realm_attend(realm, attend, MT_MILLISECOND), 0);
    until_visited(3);
    end(realm);
    int before = visits;
    usleep(20000);
    ck_assert_int_eq(visits, before);
}
END_TEST

START_TEST(refusal_stops_all_and_starts_none)
{
    struct mt_realm *realm = start(), *other = NULL;
    ck_assert(!mt_realm_is_refusing());
    mt_realm_refuse();
    ck_assert(mt_realm_is_refusing());
    ck_assert_int_eq(mt_realm_start(body, mt_alloc(1), true, drop, &other), MT_ECLOSED);
    ck_assert(mt_realm_wait_all(60 * MT_SECOND));
    ck_assert_ptr_null(other);
    mt_realm_unref(realm);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    struct mt_realm *realm = NULL;
    for (unsigned long n = 1; n <= 5; n++) {
        char *argument = mt_alloc(1);
        mt_alloc_fail_nth(n);
        ck_assert_int_eq(mt_realm_start(body, argument, true, drop, &realm), MT_ENOMEM);
        mt_alloc_fail_nth(0);
        ck_assert_ptr_null(realm);
    }
    realm = start();
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(mt_realm_visit_soon(realm, visit), MT_ENOMEM);
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(mt_realm_attend(realm, attend, MT_MILLISECOND), MT_ENOMEM);
    mt_alloc_fail_nth(0);
    ck_assert_int_eq(mt_realm_visit_soon(realm, visit), 0);
    until_visited(1);
    end(realm);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("realm");
    TCase *cases = tcase_create("realm");
    tcase_add_test(cases, started_one_is_listed_until_it_has_ended);
    tcase_add_test(cases, visits_come_while_it_lives_only);
    tcase_add_test(cases, visits_that_are_to_come_do_not_pile_up);
    tcase_add_test(cases, attendance_ends_with_the_realm);
    tcase_add_test(cases, refusal_stops_all_and_starts_none);
    tcase_add_test(cases, every_allocation_may_fail);
    suite_add_tcase(suite, cases);
    return suite;
}

/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_list.h"

struct item {
    struct mt_link link;
    int number;
};

static int
number_of(struct mt_link *link)
{
    return MT_CONTAINER_OF(link, struct item, link)->number;
}

/* The numbers from front to back as one decimal number. */
static int
digits(const struct mt_list *list)
{
    int result = 0;
    for (struct mt_link *link = mt_list_front(list); link; link = mt_list_after(list, link))
        result = result * 10 + number_of(link);
    return result;
}

START_TEST(new_list_is_empty_and_has_no_front)
{
    struct mt_list list;
    mt_list_init(&list);
    ck_assert(mt_list_is_empty(&list));
    ck_assert_ptr_null(mt_list_front(&list));
}
END_TEST

START_TEST(append_goes_to_the_back_prepend_to_the_front)
{
    struct mt_list list;
    struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
    mt_list_init(&list);
    mt_list_append(&list, &a.link);
    mt_list_append(&list, &b.link);
    mt_list_prepend(&list, &c.link);
    ck_assert_int_eq(digits(&list), 312);
    ck_assert(!mt_list_is_empty(&list));
}
END_TEST

START_TEST(remove_takes_one_out_of_the_middle_and_the_ends)
{
    struct mt_list list;
    struct item items[5];
    mt_list_init(&list);
    for (int i = 0; i < 5; i++) {
        items[i].number = i + 1;
        mt_list_append(&list, &items[i].link);
    }
    mt_list_remove(&items[2].link);
    ck_assert_int_eq(digits(&list), 1245);
    mt_list_remove(&items[0].link);
    mt_list_remove(&items[4].link);
    ck_assert_int_eq(digits(&list), 24);
}
END_TEST

START_TEST(removing_twice_or_an_unlinked_one_is_harmless)
{
    struct mt_list list;
    struct item a = {.number = 1}, b = {.number = 2}, loose;
    mt_list_init(&list);
    mt_link_init(&loose.link);
    mt_list_append(&list, &a.link);
    mt_list_append(&list, &b.link);
    mt_list_remove(&loose.link);
    mt_list_remove(&a.link);
    ck_assert(!mt_link_is_linked(&a.link));
    mt_list_remove(&a.link);
    ck_assert_int_eq(digits(&list), 2);
    ck_assert(mt_link_is_linked(&b.link));
}
END_TEST

START_TEST(removed_one_can_go_into_another_list)
{
    struct mt_list first, second;
    struct item a = {.number = 7};
    mt_list_init(&first);
    mt_list_init(&second);
    mt_list_append(&first, &a.link);
    mt_list_remove(&a.link);
    mt_list_append(&second, &a.link);
    ck_assert(mt_list_is_empty(&first));
    ck_assert_int_eq(digits(&second), 7);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("base/list");
    TCase *tests = tcase_create("list");
    tcase_add_test(tests, new_list_is_empty_and_has_no_front);
    tcase_add_test(tests, append_goes_to_the_back_prepend_to_the_front);
    tcase_add_test(tests, remove_takes_one_out_of_the_middle_and_the_ends);
    tcase_add_test(tests, removing_twice_or_an_unlinked_one_is_harmless);
    tcase_add_test(tests, removed_one_can_go_into_another_list);
    suite_add_tcase(suite, tests);
    return suite;
}

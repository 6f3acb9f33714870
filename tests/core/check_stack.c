/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_alloc.h"
#include "core/mt_stack.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SLOT = 64 * 1024,
    SCRATCH = 1536,
    HOST = 200,
    TRIM_KEEP = 64, /* what the pool always keeps; see mt_stack.c */
    MANY = 300
};

static const struct mt_stack_config config = {
    .slot_size = SLOT, .scratch_size = SCRATCH, .host_size = HOST};

static struct mt_stack_pool pool;

static void
open_pool(size_t slot_size)
{
    struct mt_stack_config other = config;
    other.slot_size = slot_size;
    mt_stack_pool_init(&pool, &other);
}

static struct mt_stack *
get(void)
{
    struct mt_stack *stack = mt_stack_get(&pool);
    ck_assert_ptr_nonnull(stack);
    return stack;
}

/* How many pages of a slot's C stack are in memory. */
static size_t
resident_pages(const struct mt_stack *stack)
{
    static unsigned char pages[SLOT / MT_STACK_PAGE];
    size_t size = pool.config.slot_size - MT_STACK_PAGE;
    ck_assert_int_eq(mincore(stack->bottom, size, pages), 0);
    size_t count = 0;
    for (size_t i = 0; i < size / MT_STACK_PAGE; i++)
        count += pages[i] & 1;
    return count;
}

START_TEST(parts_of_a_slot_are_aligned_and_apart)
{
    open_pool(SLOT);
    struct mt_stack *stack = get();
    ck_assert_uint_eq((uintptr_t)stack->bottom % MT_STACK_PAGE, 0);
    ck_assert_uint_eq((uintptr_t)mt_stack_top(stack) % 16, 0);
    ck_assert_uint_eq((uintptr_t)stack->scratch % 16, 0);
    ck_assert_uint_eq((uintptr_t)stack->host % 16, 0);
    ck_assert(stack->scratch >= (char *)mt_stack_top(stack));
    ck_assert((char *)stack >= stack->scratch + SCRATCH);
    ck_assert(stack->host + HOST <= stack->bottom - MT_STACK_PAGE + SLOT);
    ck_assert_uint_gt(stack->size, SLOT - 2 * MT_STACK_PAGE);
    struct mt_stack before = *stack;
    memset(stack->bottom, 1, stack->size);
    memset(stack->scratch, 2, SCRATCH);
    memset(stack->host, 3, HOST);
    ck_assert_ptr_eq(stack->bottom, before.bottom);
    ck_assert_uint_eq(stack->size, before.size);
    mt_stack_put(&pool, stack);
    mt_stack_pool_fini(&pool);
}
END_TEST

START_TEST(slots_do_not_overlap)
{
    enum { COUNT = 2000 }; /* more than one arena holds */
    static struct mt_stack *stacks[COUNT];
    open_pool(SLOT);
    for (int i = 0; i < COUNT; i++) {
        stacks[i] = get();
        memset(stacks[i]->host, i & 0xff, HOST);
        stacks[i]->bottom[stacks[i]->size - 1] = (char)i;
    }
    ck_assert_uint_eq(pool.used_count, COUNT);
    ck_assert_uint_ge(pool.mapped, (size_t)COUNT * SLOT);
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq((unsigned char)stacks[i]->host[HOST - 1], i & 0xff);
        ck_assert_int_eq(stacks[i]->bottom[stacks[i]->size - 1], (char)i);
        for (int j = i + 1; j < COUNT && j < i + 3; j++)
            ck_assert(labs(stacks[i]->bottom - stacks[j]->bottom) >= SLOT);
    }
    mt_stack_pool_fini(&pool);
    ck_assert_uint_eq(pool.mapped, 0);
    ck_assert_uint_eq(pool.used_count, 0);
}
END_TEST

START_TEST(the_warmest_slot_is_handed_out_first)
{
    open_pool(SLOT);
    struct mt_stack *first = get(), *second = get(), *third = get();
    mt_stack_put(&pool, second);
    mt_stack_put(&pool, first);
    mt_stack_put(&pool, third);
    ck_assert_ptr_eq(get(), third);
    ck_assert_ptr_eq(get(), first);
    ck_assert_ptr_eq(get(), second);
    mt_stack_pool_fini(&pool);
}
END_TEST

START_TEST(putting_and_getting_maps_nothing_new)
{
    open_pool(SLOT);
    mt_stack_put(&pool, get());
    size_t mapped = pool.mapped;
    for (int i = 0; i < 50000; i++)
        mt_stack_put(&pool, get());
    ck_assert_uint_eq(pool.mapped, mapped);
    ck_assert_uint_eq(pool.used_count, 0);
    mt_stack_pool_fini(&pool);
}
END_TEST

static void
touch_guard_of(struct mt_stack *stack)
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)(stack->bottom) = 1; /* the lowest byte that may be used */
        *(volatile char *)(stack->bottom - 1) = 1;
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
}

/* _i: with the kernel's own guards where it has them, or with mprotect. */
START_TEST(running_over_the_end_of_a_slot_is_a_segfault)
{
    open_pool(SLOT);
    if (_i)
        pool.has_guard_install = false;
    struct mt_stack *first = get();
    struct mt_stack *second = get();
    touch_guard_of(first);
    touch_guard_of(second);
    mt_stack_put(&pool, first);
    touch_guard_of(get());
    mt_stack_pool_fini(&pool);
}
END_TEST

START_TEST(large_slots_have_arenas_of_their_own_size)
{
    open_pool(MT_STACK_MOST);
    struct mt_stack *first = get(), *second = get();
    memset(first->bottom, 1, 100);
    memset(second->bottom, 1, 100);
    ck_assert_uint_ge(first->size, MT_STACK_MOST - 3 * MT_STACK_PAGE);
    ck_assert_uint_ge(pool.mapped, 2 * (size_t)MT_STACK_MOST);
    touch_guard_of(first);
    mt_stack_pool_fini(&pool);
}
END_TEST

/* ---- trimming ---- */

static struct mt_stack *stacks[MANY];
static char *bottoms[MANY];

/* Have MANY slots used to the last page and put back; stacks[0] is the warmest. */
static void
use_many(void)
{
    for (int i = 0; i < MANY; i++) {
        stacks[i] = get();
        bottoms[i] = stacks[i]->bottom;
        memset(stacks[i]->bottom, 1, stacks[i]->size);
    }
    for (int i = MANY; i-- > 0;)
        mt_stack_put(&pool, stacks[i]);
}

static int
count_full(void)
{
    int full = 0;
    for (int i = 0; i < MANY; i++) {
        struct mt_stack shadow = {.bottom = bottoms[i]};
        full += resident_pages(&shadow) >= SLOT / MT_STACK_PAGE - 2;
    }
    return full;
}

static void
trim_all(const void *here)
{
    for (int i = 0; i < 20; i++)
        (void)mt_stack_pool_trim(&pool, here);
}

START_TEST(slots_put_back_since_the_last_trim_keep_their_pages)
{
    open_pool(SLOT);
    use_many();
    (void)mt_stack_pool_trim(&pool, NULL);
    ck_assert_int_eq(count_full(), MANY);
    mt_stack_pool_fini(&pool);
}
END_TEST

START_TEST(slots_unused_for_a_while_give_back_their_pages_but_for_a_reserve)
{
    open_pool(SLOT);
    use_many();
    trim_all(NULL);
    ck_assert_int_ge(count_full(), TRIM_KEEP - 1);
    ck_assert_int_le(count_full(), TRIM_KEEP + 1);
    mt_stack_pool_fini(&pool);
}
END_TEST

/* _i: a mapping is aligned to pages, or to 2 MiB, but not to the largest slots. */
START_TEST(trimmed_slots_work_again_and_none_is_lost)
{
    const size_t sizes[] = {SLOT, 256 * 1024, 16 * 1024 * 1024};
    open_pool(sizes[_i]);
    for (int i = 0; i < MANY; i++)
        stacks[i] = get();
    for (int i = MANY; i-- > 0;)
        mt_stack_put(&pool, stacks[i]);
    struct mt_stack *busy = get(); /* its neighbours are trimmed */
    memset(busy->bottom, 7, busy->size);
    trim_all(NULL);
    size_t mapped = pool.mapped;
    for (size_t i = 0; i < busy->size; i++)
        if (busy->bottom[i] != 7)
            ck_abort_msg("byte %zu of a slot in use was given back", i);
    for (int i = 1; i < MANY; i++) {
        stacks[i] = get();
        ck_assert_uint_eq((uintptr_t)stacks[i]->bottom % MT_STACK_PAGE, 0);
        memset(stacks[i]->bottom, i & 0xff, MT_STACK_PAGE);
        memset(stacks[i]->host, i & 0xff, HOST);
    }
    ck_assert_uint_eq(pool.mapped, mapped);
    for (int i = 1; i < MANY; i++) {
        ck_assert_int_eq((unsigned char)stacks[i]->bottom[0], i & 0xff);
        ck_assert_int_eq((unsigned char)stacks[i]->host[HOST - 1], i & 0xff);
    }
    touch_guard_of(stacks[MANY - 1]);
    mt_stack_pool_fini(&pool);
}
END_TEST

START_TEST(the_slot_that_runs_is_never_trimmed)
{
    open_pool(SLOT);
    use_many();
    struct mt_stack *running = stacks[MANY - 1]; /* put back, but its last frame still runs */
    trim_all(running->bottom + 100);
    ck_assert_uint_ge(resident_pages(running), SLOT / MT_STACK_PAGE - 2);
    mt_stack_pool_fini(&pool);
}
END_TEST

START_TEST(slots_in_daily_use_are_left_alone)
{
    open_pool(SLOT);
    use_many();
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < MANY; i++)
            stacks[i] = get();
        for (int i = MANY; i-- > 0;)
            mt_stack_put(&pool, stacks[i]);
        (void)mt_stack_pool_trim(&pool, NULL);
    }
    ck_assert_int_eq(count_full(), MANY);
    mt_stack_pool_fini(&pool);
}
END_TEST

/* ---- failures ---- */

START_TEST(failed_allocation_gives_no_slot_and_the_next_try_does)
{
    open_pool(SLOT);
    int failures = 0;
    for (unsigned long nth = 1;; nth++) {
        mt_alloc_fail_nth(nth);
        struct mt_stack *stack = mt_stack_get(&pool);
        mt_alloc_fail_nth(0);
        if (stack)
            break;
        ck_assert_uint_eq(pool.used_count, 0);
        ck_assert_uint_eq(pool.mapped, 0);
        failures++;
    }
    ck_assert_int_eq(failures, 2); /* the arena's note, its mapping */
    ck_assert_uint_eq(pool.used_count, 1);
    mt_stack_pool_fini(&pool);
}
END_TEST

START_TEST(failed_allocation_in_a_trim_loses_no_slot)
{
    open_pool(SLOT);
    use_many();
    (void)mt_stack_pool_trim(&pool, NULL);
    mt_alloc_fail_nth(1);
    (void)mt_stack_pool_trim(&pool, NULL);
    mt_alloc_fail_nth(0);
    size_t mapped = pool.mapped;
    for (int i = 0; i < MANY; i++)
        memset(get()->bottom, 1, 10);
    ck_assert_uint_eq(pool.mapped, mapped);
    mt_stack_pool_fini(&pool);
}
END_TEST

START_TEST(pool_is_usable_after_fini)
{
    open_pool(SLOT);
    use_many();
    trim_all(NULL);
    mt_stack_pool_fini(&pool);
    mt_stack_put(&pool, get());
    ck_assert_uint_eq(pool.used_count, 0);
    mt_stack_pool_fini(&pool);
    static struct mt_stack_pool zeroed;
    mt_stack_pool_fini(&zeroed);
    (void)mt_stack_pool_trim(&zeroed, NULL);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("core/stack");
    TCase *slots = tcase_create("slots");
    tcase_add_test(slots, parts_of_a_slot_are_aligned_and_apart);
    tcase_add_test(slots, slots_do_not_overlap);
    tcase_add_test(slots, the_warmest_slot_is_handed_out_first);
    tcase_add_test(slots, putting_and_getting_maps_nothing_new);
    tcase_add_loop_test(slots, running_over_the_end_of_a_slot_is_a_segfault, 0, 2);
    tcase_add_test(slots, large_slots_have_arenas_of_their_own_size);
    suite_add_tcase(suite, slots);
    TCase *trimming = tcase_create("trimming");
    tcase_add_test(trimming, slots_put_back_since_the_last_trim_keep_their_pages);
    tcase_add_test(trimming, slots_unused_for_a_while_give_back_their_pages_but_for_a_reserve);
    tcase_add_loop_test(trimming, trimmed_slots_work_again_and_none_is_lost, 0, 3);
    tcase_add_test(trimming, the_slot_that_runs_is_never_trimmed);
    tcase_add_test(trimming, slots_in_daily_use_are_left_alone);
    suite_add_tcase(suite, trimming);
    TCase *failures = tcase_create("failures");
    tcase_add_test(failures, failed_allocation_gives_no_slot_and_the_next_try_does);
    tcase_add_test(failures, failed_allocation_in_a_trim_loses_no_slot);
    tcase_add_test(failures, pool_is_usable_after_fini);
    suite_add_tcase(suite, failures);
    return suite;
}

/* SPDX-License-Identifier: MIT */
/* The bare switch, without the core. Stacks come from mmap; nothing tells sanitizers about them, so
   assertions are made on the test's own stack only. */
#include "check_main.h"

#include "arch/mt_arch.h"

#include <execinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { STACK_SIZE = 256 * 1024 };

static void *home; /* the test's own context */

struct fiber {
    char *stack;
    void *context;
    int visits;
    uint64_t result;
};

static void
make(struct fiber *fiber, void (*entry)(void *argument))
{
    *fiber = (struct fiber){0};
    fiber->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(fiber->stack, MAP_FAILED);
    fiber->context = mt_arch_prepare(fiber->stack + STACK_SIZE, entry, fiber);
}

static void
go_to(struct fiber *fiber)
{
    mt_arch_switch(&home, fiber->context);
}

static void
go_home(struct fiber *fiber)
{
    mt_arch_switch(&fiber->context, home);
}

static void
count_visits(void *argument)
{
    struct fiber *fiber = argument;
    for (;;) {
        fiber->visits++;
        go_home(fiber);
    }
}

START_TEST(entry_gets_its_argument_on_the_new_stack)
{
    struct fiber fiber;
    make(&fiber, count_visits);
    go_to(&fiber);
    ck_assert_int_eq(fiber.visits, 1);
    char *place = fiber.context;
    ck_assert(place >= fiber.stack && place < fiber.stack + STACK_SIZE);
}
END_TEST

START_TEST(switching_back_and_forth_goes_on_where_it_was)
{
    struct fiber fiber;
    make(&fiber, count_visits);
    for (int i = 1; i <= 100000; i++) {
        go_to(&fiber);
        if (fiber.visits != i)
            ck_abort_msg("visit %d came out as %d", i, fiber.visits);
    }
}
END_TEST

START_TEST(thousand_stacks_take_turns)
{
    enum { FIBERS = 1000, ROUNDS = 20 };
    static struct fiber fibers[FIBERS];
    for (int i = 0; i < FIBERS; i++)
        make(&fibers[i], count_visits);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < FIBERS; i++)
            go_to(&fibers[i]);
    for (int i = 0; i < FIBERS; i++)
        ck_assert_int_eq(fibers[i].visits, ROUNDS);
}
END_TEST

/* Many values that live across a switch: more than there are registers that a callee keeps. */
#define SIXTEEN_OF(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

static volatile uint64_t seed; /* keeps the compiler from knowing the values */

static MT_NOINLINE uint64_t
sum_across(struct fiber *fiber, void (*leave)(struct fiber *fiber), uint64_t start)
{
    seed = start;
#define DECLARE_(n) uint64_t word##n = seed + n; double number##n = (double)(seed * 3 + n);
    SIXTEEN_OF(DECLARE_)
#undef DECLARE_
    leave(fiber);
    uint64_t sum = 0;
#define ADD_(n) sum = sum * 31 + word##n + (uint64_t)number##n;
    SIXTEEN_OF(ADD_)
#undef ADD_
    return sum;
}

static void
do_nothing(struct fiber *fiber)
{
    (void)fiber;
}

static void
sum_on_fiber(void *argument)
{
    struct fiber *fiber = argument;
    for (;;) {
        fiber->result = sum_across(fiber, go_home, 1000);
        go_home(fiber);
    }
}

START_TEST(registers_survive_on_both_sides)
{
    struct fiber fiber;
    make(&fiber, sum_on_fiber);
    uint64_t expected_here = sum_across(NULL, do_nothing, 77);
    uint64_t expected_there = sum_across(NULL, do_nothing, 1000);
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_eq(sum_across(&fiber, go_to, 77), expected_here);
        go_to(&fiber);
        ck_assert_uint_eq(fiber.result, expected_there);
    }
}
END_TEST

static MT_NOINLINE int
dig(struct fiber *fiber, int depth)
{
    volatile char frame[1024];
    frame[0] = frame[sizeof frame - 1] = (char)depth;
    if (depth == 0)
        go_home(fiber);
    int below = depth ? dig(fiber, depth - 1) : 0;
    return below + (frame[0] == (char)depth && frame[sizeof frame - 1] == (char)depth);
}

static void
dig_deep(void *argument)
{
    struct fiber *fiber = argument;
    for (;;) {
        fiber->visits = dig(fiber, 99);
        go_home(fiber);
    }
}

START_TEST(deep_stacks_survive_a_switch_at_the_bottom)
{
    struct fiber fibers[10];
    for (int i = 0; i < 10; i++) {
        make(&fibers[i], dig_deep);
        go_to(&fibers[i]);
    }
    for (int i = 0; i < 10; i++) {
        go_to(&fibers[i]);
        ck_assert_int_eq(fibers[i].visits, 100);
    }
}
END_TEST

static void
use_aligned_memory(void *argument)
{
    struct fiber *fiber = argument;
    _Alignas(16) volatile char aligned[16];
    char text[64];
    aligned[0] = 0;
    fiber->result = (uintptr_t)aligned % 16;
    snprintf(text, sizeof text, "%.3f %Lf", 2.5, (long double)1.25);
    fiber->visits = strcmp(text, "2.500 1.250000") == 0;
    go_home(fiber);
}

START_TEST(stack_is_aligned_as_the_calling_convention_wants)
{
    struct fiber fiber;
    make(&fiber, use_aligned_memory);
    go_to(&fiber);
    ck_assert_uint_eq(fiber.result, 0);
    ck_assert_int_eq(fiber.visits, 1);
}
END_TEST

static void
look_back(void *argument)
{
    struct fiber *fiber = argument;
    void *frames[64];
    fiber->visits = backtrace(frames, 64);
    go_home(fiber);
}

START_TEST(backtrace_ends_at_the_first_frame)
{
    struct fiber fiber;
    make(&fiber, look_back);
    go_to(&fiber);
    ck_assert_int_ge(fiber.visits, 1);
    ck_assert_int_lt(fiber.visits, 16);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("arch/switch");
    TCase *tests = tcase_create("switch");
    tcase_add_test(tests, entry_gets_its_argument_on_the_new_stack);
    tcase_add_test(tests, switching_back_and_forth_goes_on_where_it_was);
    tcase_add_test(tests, thousand_stacks_take_turns);
    tcase_add_test(tests, registers_survive_on_both_sides);
    tcase_add_test(tests, deep_stacks_survive_a_switch_at_the_bottom);
    tcase_add_test(tests, stack_is_aligned_as_the_calling_convention_wants);
    tcase_add_test(tests, backtrace_ends_at_the_first_frame);
    suite_add_tcase(suite, tests);
    return suite;
}

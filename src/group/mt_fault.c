/* SPDX-License-Identifier: MIT */
#include "group/mt_fault.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    HOME_SIZE = 64 * 1024, /* room for a handler of before that prints stacks */
    TEXT_MOST = 512
};

static const uint64_t MAGIC = 0x6d6963726f746872;

/* It lies just above its stack, where the handler finds it without a thread-local variable. */
struct mt_fault_home {
    uint64_t magic;
    mt_fault_explain explain;
    const void *argument; /* explain's */
    stack_t before;       /* the OS thread's alternate stack of before */
    size_t users;         /* mt_fault_open() less mt_fault_close() */
};

enum { STACK_SIZE = HOME_SIZE - sizeof(struct mt_fault_home) };

static struct sigaction before; /* written once, before the handler is there */
static atomic_flag is_installed = ATOMIC_FLAG_INIT;

/* The calling OS thread's, or NULL if its alternate stack is not ours. */
static struct mt_fault_home *
find_home(void)
{
    stack_t stack;
    if (sigaltstack(NULL, &stack) || (stack.ss_flags & SS_DISABLE) || stack.ss_size != STACK_SIZE)
        return NULL;
    struct mt_fault_home *home = (void *)((char *)stack.ss_sp + STACK_SIZE);
    return home->magic == MAGIC ? home : NULL;
}

/* To who handled the signal before us. */
static void
pass_on(int signum, siginfo_t *info, void *context)
{
    bool is_sent = info->si_code <= 0; /* by kill(): it does not come again by itself */
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(signum, info, context);
    } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
        if (is_sent && before.sa_handler == SIG_IGN)
            return;
        (void)sigaction(signum, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
        if (is_sent)
            (void)raise(signum);
    } else {
        before.sa_handler(signum);
    }
}

static void
on_fault(int signum, siginfo_t *info, void *context)
{
    int error = errno;
    const struct mt_fault_home *home = info->si_code > 0 ? find_home() : NULL;
    char text[TEXT_MOST];
    size_t length = home ? home->explain(home->argument, info->si_addr, text, sizeof text) : 0;
    if (length) {
        ssize_t written = write(STDERR_FILENO, text, length);
        (void)written; /* nobody to tell */
        (void)sigaction(signum, &before, NULL); /* returning repeats the fault */
    } else {
        pass_on(signum, info, context);
    }
    errno = error;
}

static void
install(void)
{
    if (atomic_flag_test_and_set(&is_installed))
        return;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, NULL, &before) == 0)
        (void)sigaction(SIGSEGV, &action, NULL);
}

struct mt_fault_home *
mt_fault_open(mt_fault_explain explain, const void *argument)
{
    struct mt_fault_home *home = find_home();
    if (home) {
        home->users++;
        return home;
    }
    char *memory = mmap(NULL, HOME_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    home = (void *)(memory + STACK_SIZE);
    *home = (struct mt_fault_home){
        .magic = MAGIC, .explain = explain, .argument = argument, .users = 1};
    if (sigaltstack(&(stack_t){.ss_sp = memory, .ss_size = STACK_SIZE}, &home->before)) {
        (void)munmap(memory, HOME_SIZE);
        return NULL;
    }
    install();
    return home;
}

void
mt_fault_close(struct mt_fault_home *home)
{
    if (!home || --home->users)
        return;
    if (find_home() != home)
        return; /* somebody has put another one on top, and may put ours back: it stays mapped */
    if (sigaltstack(&home->before, NULL) == 0)
        (void)munmap((char *)home - STACK_SIZE, HOME_SIZE);
}

/* SPDX-License-Identifier: MIT */
/* The words for a micro-thread whose C code has overflowed its stack. They are made in a signal
   handler: nothing here allocates, locks or calls the interpreter. */
#include "python/mtpy_fault.h"

struct line {
    char *text;
    size_t length;
    size_t room;
};

static void
put_byte(struct line *line, unsigned byte)
{
    if (line->length < line->room)
        line->text[line->length++] = (char)byte;
}

static void
put_text(struct line *line, const char *text)
{
    while (*text)
        put_byte(line, (unsigned char)*text++);
}

static void
put_number(struct line *line, uint64_t number)
{
    if (number >= 10)
        put_number(line, number / 10);
    put_byte(line, '0' + (unsigned)(number % 10));
}

static void
put_utf8(struct line *line, Py_UCS4 character)
{
    if (character < 0x80) {
        put_byte(line, character);
    } else if (character < 0x800) {
        put_byte(line, 0xC0 | character >> 6);
        put_byte(line, 0x80 | (character & 0x3F));
    } else if (character < 0x10000) {
        put_byte(line, 0xE0 | character >> 12);
        put_byte(line, 0x80 | (character >> 6 & 0x3F));
        put_byte(line, 0x80 | (character & 0x3F));
    } else {
        put_byte(line, 0xF0 | character >> 18);
        put_byte(line, 0x80 | (character >> 12 & 0x3F));
        put_byte(line, 0x80 | (character >> 6 & 0x3F));
        put_byte(line, 0x80 | (character & 0x3F));
    }
}

static void
put_name(struct line *line, const struct mtpy_thread *thread)
{
    enum { CHARACTERS_MOST = 60 };
    PyObject *name = thread->extra ? thread->extra->name : NULL;
    if (!name) {
        put_text(line, "micro_thread-");
        put_number(line, thread->core.id);
        return;
    }
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    for (Py_ssize_t i = 0; i < length && i < CHARACTERS_MOST; i++)
        put_utf8(line, PyUnicode_READ_CHAR(name, i));
    if (length > CHARACTERS_MOST)
        put_text(line, "...");
}

size_t
mtpy_fault_explain(const void *argument, const void *address, char *text, size_t room)
{
    const struct mtpy_sched *sched = *(struct mtpy_sched *const *)argument;
    const struct mt_thread *thread = sched ? sched->core->current : NULL;
    if (!thread || !thread->stack || thread->stack == sched->core->main_stack ||
        !mt_stack_is_guard(thread->stack, address))
        return 0;
    size_t size = thread->stack_size ? thread->stack_size : sched->core->stacks.config.slot_size;
    struct line line = {text, 0, room};
    put_text(&line, "Fatal error: stack overflow in C code of micro-thread ");
    put_name(&line, mtpy_thread_of((struct mt_thread *)(uintptr_t)thread));
    put_text(&line, " (id ");
    put_number(&line, thread->id);
    put_text(&line, "), whose C stack is ");
    put_number(&line, size);
    put_text(&line, " bytes large");
    if (size < MT_STACK_MOST) {
        put_text(&line, "; give it a larger one: micro_thread(fn, stack_size=");
        put_number(&line, size * 4 < MT_STACK_MOST ? size * 4 : MT_STACK_MOST);
        put_text(&line, ")");
    }
    put_text(&line, "\n");
    return line.length;
}

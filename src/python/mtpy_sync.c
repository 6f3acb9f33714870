/* SPDX-License-Identifier: MIT */
/* What the synchronisation types share: time-outs, texts, and their coming to the module. */
#include "python/mtpy_sync.h"

size_t
mtpy_sync_count(const struct mt_list *list)
{
    size_t count = 0;
    for (const struct mt_link *link = mt_list_front(list); link; link = mt_list_after(list, link))
        count++;
    return count;
}

int
mtpy_sync_parse_timeout(PyObject *object, mt_time *timeout)
{
    if (PyFloat_Check(object) || PyLong_Check(object)) {
        int is_negative = PyObject_RichCompareBool(object, Py_False, Py_LT);
        if (is_negative) {
            *timeout = 0;
            return is_negative < 0 ? -1 : 0;
        }
    }
    return mtpy_parse_timeout(object, "timeout", timeout);
}

PyObject *
mtpy_sync_describe(const struct mt_clause *clause)
{
    const char *verb = "setting of";
    PyObject *what = NULL;
    if (clause->kind == MT_WAIT_LOCK) {
        verb = "acquire";
        what = mtpy_lock_describe(clause->object);
    } else if (clause->kind == MT_WAIT_PERMIT) {
        verb = "acquire";
        what = mtpy_semaphore_describe(clause->object);
    } else if (clause->kind == MT_WAIT_EVENT) {
        what = mtpy_event_describe(clause->object);
    } else if (clause->kind == MT_WAIT_ITEM) {
        verb = "get from";
        what = mtpy_simple_queue_describe(clause->object);
    } else {
        return mtpy_waiters_describe(clause->object);
    }
    PyObject *text = what ? PyUnicode_FromFormat("%s %U", verb, what) : NULL;
    Py_XDECREF(what);
    return text;
}

/* Add it under the part of its name behind the last dot; with `base` as a subclass of that. */
static PyTypeObject *
add_type(struct mtpy_state *state, PyType_Spec *spec, PyTypeObject *base)
{
    PyObject *type = PyType_FromModuleAndSpec(state->module, spec, (PyObject *)base);
    if (type && PyModule_AddType(state->module, (PyTypeObject *)type) < 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

int
mtpy_sync_add_types(struct mtpy_state *state)
{
    const struct {
        PyType_Spec *spec;
        PyTypeObject **slot; /* NULL: the module alone has it */
    } types[] = {
        {&mtpy_lock_spec, &state->lock_type},       {&mtpy_rlock_spec, &state->rlock_type},
        {&mtpy_event_spec, NULL},                   {&mtpy_simple_queue_spec, NULL},
        {&mtpy_waiters_spec, &state->waiters_type}, {&mtpy_line_spec, &state->line_type},
        {&mtpy_queue_base_spec, NULL},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        PyTypeObject *type = add_type(state, types[i].spec, NULL);
        if (!type)
            return -1;
        if (types[i].slot)
            *types[i].slot = type;
        else
            Py_DECREF(type);
    }
    state->name_append = PyUnicode_InternFromString("append");
    state->name_put_slowly = PyUnicode_InternFromString("_put_slowly");
    state->name_get_slowly = PyUnicode_InternFromString("_get_slowly");
    if (!state->name_append || !state->name_put_slowly || !state->name_get_slowly)
        return -1;
    state->ticket_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &mtpy_ticket_spec, NULL);
    if (!state->ticket_type)
        return -1;
    PyTypeObject *semaphore = add_type(state, &mtpy_semaphore_spec, NULL);
    PyTypeObject *bounded =
        semaphore ? add_type(state, &mtpy_bounded_semaphore_spec, semaphore) : NULL;
    Py_XDECREF(semaphore);
    Py_XDECREF(bounded);
    return bounded ? 0 : -1;
}

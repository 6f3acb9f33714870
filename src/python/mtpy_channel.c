/* SPDX-License-Identifier: MIT */
/* The ends of struct mt_channel in an interpreter: how they come to be, travel in messages and close. What
   can be done with them is in mtpy_channel_calls.c. */
#include "python/mtpy_channel.h"

#include "python/mtpy_clone.h"

#include "base/mt_alloc.h"

static struct mtpy_end *
end_of_home(void *home)
{
    return MT_CONTAINER_OF(home, struct mtpy_end, home);
}

/* ---- life ---- */

/* The number under which state->ends_by_number knows an open end. New, or NULL. */
static PyObject *
number_of(const struct mt_channel *channel, enum mt_channel_side side)
{
    return PyLong_FromUnsignedLongLong(2 * channel->id + side);
}

/* The open object for an end here: borrowed, or NULL, with an exception or without. */
static struct mtpy_end *
find_end(struct mtpy_state *state, PyObject *number)
{
    PyObject *address = PyDict_GetItemWithError(state->ends_by_number, number);
    return address ? PyLong_AsVoidPtr(address) : NULL;
}

PyObject *
mtpy_end_wrap(struct mtpy_state *state, struct mt_channel *channel, enum mt_channel_side side)
{
    PyTypeObject *type =
        side == MT_CHANNEL_SEND ? state->send_channel_type : state->recv_channel_type;
    PyObject *number = number_of(channel, side), *address = NULL;
    struct mtpy_end *self = number ? find_end(state, number) : NULL;
    if (self) {
        Py_DECREF(number);
        mt_channel_close(channel, side);
        return Py_NewRef(self);
    }
    if (!number || PyErr_Occurred())
        goto failed;
    self = (struct mtpy_end *)type->tp_alloc(type, 0);
    if (!self)
        goto failed;
    mt_list_init(&self->home.waits);
    mt_link_init(&self->link);
    self->side = side;
    self->state = state;
    self->seat.owner = state->interpreter_id;
    address = PyLong_FromVoidPtr(self);
    if (!address || PyDict_SetItem(state->ends_by_number, number, address) < 0)
        goto failed;
    Py_DECREF(address);
    Py_DECREF(number);
    mt_channel_ref(channel);
    self->core = channel;
    self->is_open = true;
    mt_list_append(&state->ends, &self->link);
    mt_channel_sit(channel, side, &self->seat);
    return (PyObject *)self;
failed:
    mt_channel_close(channel, side);
    Py_XDECREF(address);
    Py_XDECREF(number);
    Py_XDECREF(self);
    return NULL;
}

void
mtpy_end_close(struct mtpy_end *self)
{
    if (!self->is_open)
        return;
    self->is_open = false;
    mt_list_remove(&self->link);
    mt_channel_rise(self->core, &self->seat);
    mt_channel_close(self->core, self->side);
    mt_channel_home_leave(&self->home);
    PyObject *ends = self->state->ends_by_number; /* NULL once the module is cleared */
    PyObject *pending = mtpy_error_take();
    PyObject *number = ends ? number_of(self->core, self->side) : NULL;
    if (!number || PyDict_DelItem(ends, number) < 0)
        PyErr_Clear();
    Py_XDECREF(number);
    if (pending)
        mtpy_error_raise(pending);
}

void
mtpy_channel_close_all(struct mtpy_state *state)
{
    struct mt_link *link;
    while (state->ends.head.next && (link = mt_list_front(&state->ends)))
        mtpy_end_close(MT_CONTAINER_OF(link, struct mtpy_end, link));
}

/* ---- travelling ---- */

/* An end inside a message: it counts as open. */
struct end_body {
    struct mt_body body;
    struct mt_channel *channel; /* a reference */
    enum mt_channel_side side;
};

static void
free_body(struct mt_body *body)
{
    struct end_body *its = MT_CONTAINER_OF(body, struct end_body, body);
    mt_channel_close(its->channel, its->side);
    mt_channel_unref(its->channel);
    mt_alloc_free(its);
}

static struct mt_body *
share_end(struct mtpy_state *state, PyObject *object)
{
    (void)state;
    struct mtpy_end *self = (struct mtpy_end *)object;
    if (mtpy_end_check_open(self) < 0)
        return NULL;
    struct end_body *its = mt_alloc(sizeof *its);
    if (!its) {
        PyErr_NoMemory();
        return NULL;
    }
    mt_body_init(&its->body, free_body);
    mt_channel_ref(self->core);
    mt_channel_open(self->core, self->side);
    its->channel = self->core;
    its->side = self->side;
    return &its->body;
}

static PyObject *
wrap_end(struct mtpy_state *state, struct mt_body *body)
{
    struct end_body *its = MT_CONTAINER_OF(body, struct end_body, body);
    mt_channel_open(its->channel, its->side);
    return mtpy_end_wrap(state, its->channel, its->side);
}

const struct mtpy_share mtpy_end_share = {share_end, wrap_end};

/* ---- errors ---- */

int
mtpy_end_check_open(const struct mtpy_end *self)
{
    if (MT_LIKELY(self->is_open))
        return 0;
    PyErr_Format(PyExc_ValueError, "%R is closed in this interpreter", self);
    return -1;
}

PyObject *
mtpy_end_raise(const struct mtpy_end *self, int error)
{
    if (error == MT_EGONE) {
        (void)mtpy_end_check_open(self);
    } else if (error != MT_ECLOSED) {
        return mtpy_raise(error);
    } else if (self->side == MT_CHANNEL_RECV) {
        PyErr_SetString(PyExc_EOFError, "the channel is empty and every sending end is closed");
    } else {
        PyErr_SetString(mtpy_state_by_type(Py_TYPE(self))->PipeClosed,
                        "every receiving end of the channel is closed");
    }
    return NULL;
}

/* ---- for the views ---- */

bool
mtpy_channel_is_hopeful(struct mtpy_state *state, const struct mt_clause *clause)
{
    if (clause->kind != MT_WAIT_SEND && clause->kind != MT_WAIT_RECV)
        return false;
    const struct mtpy_end *self = end_of_home(clause->object);
    return mt_channel_is_elsewhere(
        self->core, self->side == MT_CHANNEL_SEND ? MT_CHANNEL_RECV : MT_CHANNEL_SEND,
        state->interpreter_id);
}

PyObject *
mtpy_channel_describe(const struct mt_clause *clause)
{
    return PyUnicode_FromFormat(clause->kind == MT_WAIT_SEND ? "send to %R" : "receive from %R",
                                end_of_home(clause->object));
}

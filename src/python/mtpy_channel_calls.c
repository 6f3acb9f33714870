/* SPDX-License-Identifier: MIT */
/* RecvChannel and SendChannel: sending and receiving, and the types. */
#include "python/mtpy_channel.h"

#include "python/mtpy_clone.h"
#include "python/mtpy_pipe.h"
#include "python/mtpy_shared.h"

#include <structmember.h>

static void
drop_message(void *message)
{
    mt_message_free(message);
}

/* 0, not to wait, for a timeout of 0. */
static inline mt_time
deadline_of(struct mt_sched *sched, mt_time timeout)
{
    return timeout == 0 ? 0 : mt_sched_deadline(sched, timeout);
}

/* ---- sending ---- */

/* Steals the message. Returns 0, MT_EFULL at timeout 0, or another error. */
static int
send_message(struct mtpy_end *self, struct mt_message *message, mt_time timeout)
{
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_by_type(Py_TYPE(self)));
    int error = sched ? mt_channel_send(sched->core, self->core, message,
                                        deadline_of(sched->core, timeout), &self->home)
                      : MT_EHOST;
    if (error)
        mt_message_free(message);
    return error;
}

/* What makes a message of an object: mtpy_clone_encode(), mtpy_clone_encode_buffer(). */
typedef int
encoder(struct mtpy_state *state, PyObject *object, struct mt_message **message);

/* Make a message of it and send that. The caller keeps the end alive. Returns as send_message(),
   MT_EHOST with an exception set. */
static int
send_object(struct mtpy_end *self, encoder *encode, PyObject *object, mt_time timeout)
{
    struct mt_message *message = NULL;
    if (mtpy_end_check_open(self) < 0 ||
        encode(mtpy_state_by_type(Py_TYPE(self)), object, &message) < 0)
        return MT_EHOST;
    if (mtpy_end_check_open(self) < 0) { /* code of the object's may have closed it */
        mt_message_free(message);
        return MT_EHOST;
    }
    return send_message(self, message, timeout);
}

static PyObject *
send_encoded(PyObject *object, encoder *encode, const char *format, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj", "timeout", NULL};
    struct mtpy_end *self = (struct mtpy_end *)object;
    mt_time timeout = MT_FOREVER;
    PyObject *item, *given = NULL;
    if (MT_LIKELY(nargs == 1 && !kwnames))
        item = args[0];
    else if (mtpy_parse_slowly(args, nargs, kwnames, format, names, &item, &given) < 0 ||
             mtpy_parse_timeout(given, "timeout", &timeout) < 0)
        return NULL;
    Py_INCREF(object);
    int error = send_object(self, encode, item, timeout);
    if (MT_UNLIKELY(error))
        mtpy_end_raise(self, error == MT_EFULL ? MT_ETIMEDOUT : error);
    Py_DECREF(object);
    return error ? NULL : Py_NewRef(Py_None);
}

static PyObject *
channel_send(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return send_encoded(object, mtpy_clone_encode, "O|O:send", args, nargs, kwnames);
}

static PyObject *
channel_send_buffer(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return send_encoded(object, mtpy_clone_encode_buffer, "O|O:send_buffer", args, nargs, kwnames);
}

static PyObject *
channel_send_nowait(PyObject *object, PyObject *item)
{
    struct mtpy_end *self = (struct mtpy_end *)object;
    Py_INCREF(object);
    int error = send_object(self, mtpy_clone_encode, item, 0);
    if (error == MT_EFULL)
        mtpy_pipe_raise_of_queue("Full", "the channel is full");
    else if (error)
        mtpy_end_raise(self, error);
    Py_DECREF(object);
    return error ? NULL : Py_NewRef(Py_None);
}

/* ---- receiving ---- */

/* The caller keeps the end alive. Returns 0, MT_EEMPTY at timeout 0, or another error, MT_EHOST with
   an exception set. */
static int
recv_object(struct mtpy_end *self, mt_time timeout, PyObject **object)
{
    struct mtpy_state *state = mtpy_state_by_type(Py_TYPE(self));
    struct mtpy_sched *sched = mtpy_end_check_open(self) < 0 ? NULL : mtpy_sched_get(state);
    if (!sched)
        return MT_EHOST;
    void *message = NULL;
    int error = mt_channel_recv(sched->core, self->core, &message,
                                deadline_of(sched->core, timeout), &self->home);
    if (!error && !(*object = mtpy_clone_decode(state, message)))
        error = MT_EHOST;
    return error;
}

static PyObject *
channel_recv(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout", NULL};
    struct mtpy_end *self = (struct mtpy_end *)object;
    mt_time timeout = MT_FOREVER;
    PyObject *item = NULL, *given = NULL;
    if (MT_UNLIKELY(nargs || kwnames) &&
        (mtpy_parse_slowly(args, nargs, kwnames, "|O:recv", names, &given) < 0 ||
         mtpy_parse_timeout(given, "timeout", &timeout) < 0))
        return NULL;
    Py_INCREF(object);
    int error = recv_object(self, timeout, &item);
    if (MT_UNLIKELY(error))
        mtpy_end_raise(self, error == MT_EEMPTY ? MT_ETIMEDOUT : error);
    Py_DECREF(object);
    return item;
}

static PyObject *
channel_recv_nowait(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_end *self = (struct mtpy_end *)object;
    PyObject *item = NULL;
    Py_INCREF(object);
    int error = recv_object(self, 0, &item);
    if (error == MT_EEMPTY)
        mtpy_pipe_raise_of_queue("Empty", "the channel is empty");
    else if (error)
        mtpy_end_raise(self, error);
    Py_DECREF(object);
    return item;
}

static PyObject *
channel_next(PyObject *object)
{
    struct mtpy_end *self = (struct mtpy_end *)object;
    PyObject *item = NULL;
    Py_INCREF(object);
    int error = recv_object(self, MT_FOREVER, &item);
    if (MT_UNLIKELY(error && error != MT_ECLOSED))
        mtpy_end_raise(self, error);
    Py_DECREF(object);
    return item;
}

/* ---- the rest of an end ---- */

static PyObject *
channel_close(PyObject *object, PyObject *unused)
{
    (void)unused;
    mtpy_end_close((struct mtpy_end *)object);
    Py_RETURN_NONE;
}

static PyObject *
channel_count(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyLong_FromSize_t(mt_channel_count(((struct mtpy_end *)object)->core));
}

static PyObject *
channel_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return mtpy_end_check_open((struct mtpy_end *)object) < 0 ? NULL : Py_NewRef(object);
}

static PyObject *
channel_exit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    mtpy_end_close((struct mtpy_end *)object);
    Py_RETURN_FALSE;
}

static PyObject *
channel_receiving(PyObject *object, PyObject *unused)
{
    (void)unused;
    return mtpy_case_new(mtpy_state_by_type(Py_TYPE(object)), MTPY_CASE_RECEIVING, object, NULL, 0);
}

static PyObject *
channel_sending(PyObject *object, PyObject *value)
{
    return mtpy_case_new(mtpy_state_by_type(Py_TYPE(object)), MTPY_CASE_SENDING, object, value, 0);
}

static PyObject *
get_id(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((struct mtpy_end *)object)->core->id);
}

static PyObject *
get_closed(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(!((struct mtpy_end *)object)->is_open);
}

static PyObject *
get_capacity(PyObject *object, void *unused)
{
    (void)unused;
    size_t capacity = ((struct mtpy_end *)object)->core->capacity;
    return capacity == MT_CHANNEL_UNBOUNDED ? Py_NewRef(Py_None) : PyLong_FromSize_t(capacity);
}

/* The ids of the interpreters that hold this end. New list, or NULL. */
static PyObject *
list_owners(const struct mtpy_end *self)
{
    size_t most = 8, count;
    int64_t *owners = NULL;
    do {
        most *= 2;
        PyMem_Free(owners);
        owners = PyMem_New(int64_t, most);
        if (!owners)
            return PyErr_NoMemory();
        count = mt_channel_owners(self->core, self->side, owners, most);
    } while (count > most);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *id = PyLong_FromLongLong(owners[i]);
        if (!id || PyList_Append(list, id) < 0)
            Py_CLEAR(list);
        Py_XDECREF(id);
    }
    PyMem_Free(owners);
    return list;
}

static PyObject *
get_interpreters(PyObject *object, void *unused)
{
    (void)unused;
    PyObject *ids = list_owners((struct mtpy_end *)object);
    PyObject *module = ids ? PyImport_ImportModule("microthread.interpreters") : NULL;
    PyObject *result = module ? PyObject_CallMethod(module, "_of_ids", "O", ids) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(ids);
    return result;
}

static PyObject *
end_repr(PyObject *object)
{
    struct mtpy_end *self = (struct mtpy_end *)object;
    return PyUnicode_FromFormat("<%s %llu: %zu inside%s>",
                                self->side == MT_CHANNEL_SEND ? "SendChannel" : "RecvChannel",
                                (unsigned long long)self->core->id, mt_channel_count(self->core),
                                self->is_open ? "" : ", closed");
}

/* ---- the types ---- */

static void
end_dealloc(PyObject *object)
{
    struct mtpy_end *self = (struct mtpy_end *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    mtpy_end_close(self);
    if (self->core)
        mt_channel_unref(self->core);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyGetSetDef end_getset[] = {
    {"id", get_id, NULL, "An int, unique in the process; the same for all ends of the channel.", NULL},
    {"closed", get_closed, NULL, "Whether this end is closed in this interpreter.", NULL},
    {"capacity", get_capacity, NULL,
     "How many messages fit; None: unbounded, 0: a rendezvous.", NULL},
    {"interpreters", get_interpreters, NULL,
     "A list of the Interpreters in which this end is open.", NULL},
    {0},
};

static PyMemberDef end_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct mtpy_end, weakrefs), READONLY, NULL},
    {0},
};

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef recv_methods[] = {
    {"recv", CAST(channel_recv), METH_FASTCALL | METH_KEYWORDS,
     "recv($self, timeout=None)\n--\n\n"
     "Receive the oldest message; waits while there is none.\n\n"
     "timeout: seconds >= 0, None for no limit. Raises EOFError when nothing is left and every\n"
     "sending end is closed, TimeoutError, ValueError when this end is closed here."},
    {"recv_nowait", CAST(channel_recv_nowait), METH_NOARGS,
     "recv_nowait($self)\n--\n\n"
     "Receive without waiting. Raises queue.Empty, or as recv()."},
    {"_count", CAST(channel_count), METH_NOARGS, NULL},
    {"receiving", CAST(channel_receiving), METH_NOARGS,
     "receiving($self)\n--\n\nA case of select(): receive the oldest message."},
    {"close", CAST(channel_close), METH_NOARGS,
     "close($self)\n--\n\n"
     "Close this end in this interpreter. When it was the last one, what is inside is dropped and\n"
     "senders get PipeClosed. Twice is allowed."},
    {"__enter__", CAST(channel_enter), METH_NOARGS, NULL},
    {"__exit__", CAST(channel_exit), METH_FASTCALL, NULL},
    {0},
};

static PyMethodDef send_methods[] = {
    {"send", CAST(channel_send), METH_FASTCALL | METH_KEYWORDS,
     "send($self, obj, timeout=None)\n--\n\n"
     "Send a clone of an object; waits while the channel is full (capacity 0: until it was\n"
     "received).\n\n"
     "timeout: seconds >= 0, None for no limit. Raises CloneError for what cannot be cloned,\n"
     "PipeClosed when every receiving end is or gets closed, TimeoutError, ValueError when this\n"
     "end is closed here; nothing was sent then."},
    {"send_nowait", CAST(channel_send_nowait), METH_O,
     "send_nowait($self, obj, /)\n--\n\n"
     "Send without waiting. Raises queue.Full, or as send()."},
    {"send_buffer", CAST(channel_send_buffer), METH_FASTCALL | METH_KEYWORDS,
     "send_buffer($self, obj, timeout=None)\n--\n\n"
     "Send the memory of an object that supports the buffer protocol, shared and not copied: recv()\n"
     "gives a memoryview of its format, shape and strides. The object is held until the last such\n"
     "view is gone; a bytearray cannot be resized meanwhile. Raises BufferError or TypeError for\n"
     "what has no such memory, and as send()."},
    {"sending", CAST(channel_sending), METH_O,
     "sending($self, obj, /)\n--\n\nA case of select(): send a clone of an object."},
    {"close", CAST(channel_close), METH_NOARGS,
     "close($self)\n--\n\n"
     "Close this end in this interpreter. When it was the last one, receivers get what is inside\n"
     "and then EOFError. Twice is allowed."},
    {"__enter__", CAST(channel_enter), METH_NOARGS, NULL},
    {"__exit__", CAST(channel_exit), METH_FASTCALL, NULL},
    {0},
};

static PyType_Slot recv_slots[] = {
    {Py_tp_doc, "The receiving end of a channel. Iterating receives until the end; `with` closes it."},
    {Py_tp_dealloc, end_dealloc},
    {Py_tp_repr, end_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, channel_next},
    {Py_tp_methods, recv_methods},
    {Py_tp_members, end_members},
    {Py_tp_getset, end_getset},
    {0, NULL},
};

static PyType_Spec recv_spec = {
    .name = "microthread.interpreters.RecvChannel",
    .basicsize = sizeof(struct mtpy_end),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = recv_slots,
};

static PyType_Slot send_slots[] = {
    {Py_tp_doc, "The sending end of a channel; `with` closes it."},
    {Py_tp_dealloc, end_dealloc},
    {Py_tp_repr, end_repr},
    {Py_tp_methods, send_methods},
    {Py_tp_members, end_members},
    {Py_tp_getset, end_getset},
    {0, NULL},
};

static PyType_Spec send_spec = {
    .name = "microthread.interpreters.SendChannel",
    .basicsize = sizeof(struct mtpy_end),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = send_slots,
};

static PyObject *
create_channel(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"capacity", NULL};
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *given = Py_None;
    size_t capacity;
    if (((nargs || kwnames) && mtpy_parse_slowly(args, nargs, kwnames, "|O:create_channel", names,
                                                 &given) < 0) ||
        mtpy_parse_capacity(given, &capacity) < 0)
        return NULL;
    struct mt_channel *channel = mt_channel_new(capacity, drop_message);
    if (!channel)
        return PyErr_NoMemory();
    PyObject *receiver = mtpy_end_wrap(state, channel, MT_CHANNEL_RECV);
    PyObject *sender = mtpy_end_wrap(state, channel, MT_CHANNEL_SEND);
    PyObject *pair = receiver && sender ? PyTuple_Pack(2, receiver, sender) : NULL;
    Py_XDECREF(receiver);
    Py_XDECREF(sender);
    mt_channel_unref(channel);
    return pair;
}

static PyMethodDef functions[] = {
    {"create_channel", CAST(create_channel), METH_FASTCALL | METH_KEYWORDS,
     "create_channel(capacity=None)\n--\n\n"
     "A new channel: (RecvChannel, SendChannel), a FIFO between any number of micro-threads of any\n"
     "interpreters.\n\n"
     "capacity: None for unbounded; n: send() waits while n messages are inside; 0: a rendezvous.\n"
     "A message is a clone; the ends themselves can be sent. An end that is no longer referenced\n"
     "in an interpreter closes itself there."},
    {0},
};

static PyTypeObject *
add_type(struct mtpy_state *state, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, spec, NULL);
    if (type && (PyModule_AddType(state->module, type) < 0 ||
                 mtpy_clone_register_share(state, type, &mtpy_end_share) < 0))
        Py_CLEAR(type);
    return type;
}

int
mtpy_channel_add(struct mtpy_state *state)
{
    state->interpreter_id = PyInterpreterState_GetID(PyInterpreterState_Get());
    mt_list_init(&state->ends);
    state->ends_by_number = PyDict_New();
    state->recv_channel_type = add_type(state, &recv_spec);
    state->send_channel_type = add_type(state, &send_spec);
    if (!state->ends_by_number || !state->recv_channel_type || !state->send_channel_type)
        return -1;
    return PyModule_AddFunctions(state->module, functions);
}

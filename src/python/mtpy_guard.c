/* SPDX-License-Identifier: MIT */
/* _guard: a method of one of the standard file classes, called under the lock of its file. Those
   classes know OS threads only: a second micro-thread must not come in while a first one is parked
   inside. The object that it is called on has the lock, an RLock or None, in a slot that has a name.

   A destructor's method is called differently: it must not park, so files act directly then. */
#include "python/mtpy_file.h"
#include "python/mtpy_sync.h"

enum guard_kind {
    GUARD_METHOD,   /* the method under the lock; from outside it is a place to be cancelled at */
    GUARD_NEXT,     /* __next__, by readline() */
    GUARD_FINALIZE, /* __del__ */
    GUARD_CLOSE,    /* the same, but it goes ahead in a cancelled one, too */
    GUARD_CLOSED    /* the property closed, asked of the raw file that is in the slot: quicker */
};

struct mtpy_guard {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *method;         /* of the base class; owned */
    PyTypeObject *owner;      /* the class whose slot it is; borrowed: it lives in its dictionary */
    struct mtpy_state *state; /* borrowed: the type's module owns it */
    Py_ssize_t offset;        /* of the slot that has the lock */
    enum guard_kind kind;
};

/* Returns 0, with *lock what is to be given back or NULL, or an error. */
static inline int
enter(struct mtpy_sched *sched, struct mtpy_guard *self, PyObject *file, struct mtpy_lock **lock)
{
    PyObject *object = *(PyObject **)((char *)file + self->offset);
    *lock = NULL;
    if (MT_UNLIKELY(!object || !Py_IS_TYPE(object, self->state->rlock_type)))
        return 0;
    struct mtpy_lock *wanted = (struct mtpy_lock *)object;
    if (mtpy_lock_is_mine(sched, wanted)) {
        wanted->core.depth++;
        *lock = (struct mtpy_lock *)Py_NewRef(object);
        return 0;
    }
    /* Only here: further in, what a buffer holds could be lost. */
    if (MT_UNLIKELY(sched->core->current->is_pending) && self->kind != GUARD_CLOSE &&
        !sched->core->current->is_direct && mtpy_thread_check(sched, mtpy_thread_current(sched)))
        return MT_ECANCELED;
    if (!mt_lock_try(sched->core, &wanted->core)) {
        if (sched->core->current->is_direct)
            return 0; /* nobody else can use what is being destroyed */
        Py_INCREF(object);
        int error = mt_lock_acquire(sched->core, &wanted->core, MT_FOREVER);
        Py_DECREF(object);
        if (error)
            return error;
    }
    *lock = (struct mtpy_lock *)Py_NewRef(object);
    return 0;
}

static inline void
leave(struct mtpy_lock *lock)
{
    if (!lock)
        return;
    if (lock->core.depth > 1)
        lock->core.depth--;
    else
        mt_lock_release(&lock->core);
    Py_DECREF(lock);
}

/* The file's next line; NULL without an exception at the end. New. */
static PyObject *
next_line(struct mtpy_guard *self, PyObject *file)
{
    PyObject *line = NULL;
    if (Py_IS_TYPE(file, self->owner))
        line = PyObject_Vectorcall(self->method, &file, 1, NULL);
    else
        line = PyObject_CallMethod(file, "readline", NULL); /* a subclass may have its own */
    if (line && PyObject_Size(line) == 0)
        Py_CLEAR(line);
    if (!line && !PyErr_Occurred())
        PyErr_SetNone(PyExc_StopIteration);
    return line;
}

/* The code that the destructor runs may still park somehow, by a signal handler or in a subclass:
   the mark is this micro-thread's own. */
static PyObject *
finalize(struct mtpy_sched *sched, struct mtpy_guard *self, PyObject *file)
{
    struct mt_thread *thread = sched->core->current;
    bool was_direct = thread->is_direct;
    thread->is_direct = true;
    PyObject *result = PyObject_Vectorcall(self->method, &file, 1, NULL);
    thread->is_direct = was_direct;
    return result;
}

static PyObject *
guard_call(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct mtpy_guard *self = (struct mtpy_guard *)object;
    if (PyVectorcall_NARGS(nargsf) < 1 || !PyObject_TypeCheck(args[0], self->owner)) {
        PyErr_Format(PyExc_TypeError, "%R needs a file of class %s", self->method,
                     self->owner->tp_name);
        return NULL;
    }
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    if (self->kind == GUARD_FINALIZE)
        return finalize(sched, self, args[0]);
    struct mtpy_lock *lock;
    int error = enter(sched, self, args[0], &lock);
    if (error)
        return mtpy_raise(error);
    PyObject *result = self->kind == GUARD_NEXT
                           ? next_line(self, args[0])
                           : PyObject_Vectorcall(self->method, args, nargsf, kwnames);
    leave(lock);
    return result;
}

/* The standard wrappers pass the question on from one to the next, for each line of text. */
static PyObject *
is_closed(struct mtpy_guard *self, PyObject *file)
{
    PyObject *raw = *(PyObject **)((char *)file + self->offset);
    PyGetSetDescrObject *property = (PyGetSetDescrObject *)self->method;
    if (MT_LIKELY(raw && PyObject_TypeCheck(raw, property->d_common.d_type)))
        return property->d_getset->get(raw, property->d_getset->closure);
    PyObject *standard = PyObject_GetAttrString((PyObject *)self->owner->tp_base, "closed");
    descrgetfunc get = standard ? Py_TYPE(standard)->tp_descr_get : NULL;
    PyObject *result = get ? get(standard, file, (PyObject *)Py_TYPE(file)) : NULL;
    Py_XDECREF(standard);
    return result;
}

static PyObject *
guard_get(PyObject *object, PyObject *file, PyObject *type)
{
    (void)type;
    if (((struct mtpy_guard *)object)->kind == GUARD_CLOSED && file)
        return is_closed((struct mtpy_guard *)object, file);
    return file && file != Py_None ? PyMethod_New(object, file) : Py_NewRef(object);
}

/* Its name, text and signature are the method's. */
static PyObject *
guard_getattro(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(object, name);
    if (value || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return value;
    PyErr_Clear();
    return PyObject_GetAttr(((struct mtpy_guard *)object)->method, name);
}

static PyObject *
guard_get_doc(PyObject *object, void *unused)
{
    (void)unused;
    return PyObject_GetAttrString(((struct mtpy_guard *)object)->method, "__doc__");
}

static PyObject *
guard_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"cls", "method", "kind", "slot", NULL};
    PyTypeObject *owner;
    PyObject *method;
    int kind = GUARD_METHOD;
    const char *slot_name = "_lock";
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O|is:_guard", names, &PyType_Type, &owner,
                                     &method, &kind, &slot_name))
        return NULL;
    PyObject *slot = PyObject_GetAttrString((PyObject *)owner, slot_name);
    if (!slot)
        return NULL;
    bool is_slot = Py_IS_TYPE(slot, &PyMemberDescr_Type);
    Py_ssize_t offset = is_slot ? ((PyMemberDescrObject *)slot)->d_member->offset : 0;
    Py_DECREF(slot);
    if (!is_slot) {
        PyErr_Format(PyExc_TypeError, "%R must have a slot %s", owner, slot_name);
        return NULL;
    }
    if (kind == GUARD_CLOSED && !Py_IS_TYPE(method, &PyGetSetDescr_Type)) {
        PyErr_Format(PyExc_TypeError, "%R must be a property in C", method);
        return NULL;
    }
    struct mtpy_guard *self = (struct mtpy_guard *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->vectorcall = guard_call;
    self->method = Py_NewRef(method);
    self->owner = owner;
    self->state = mtpy_state_by_type(type);
    self->offset = offset;
    self->kind = (enum guard_kind)kind;
    return (PyObject *)self;
}

static int
guard_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct mtpy_guard *)object)->method);
    return 0;
}

static void
guard_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_XDECREF(((struct mtpy_guard *)object)->method);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef guard_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct mtpy_guard, vectorcall), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(struct mtpy_guard, method), READONLY, NULL},
    {0},
};

static PyGetSetDef guard_getset[] = {
    {"__doc__", guard_get_doc, NULL, NULL, NULL},
    {0},
};

static PyType_Slot guard_slots[] = {
    {Py_tp_new, guard_new},
    {Py_tp_dealloc, guard_dealloc},
    {Py_tp_traverse, guard_traverse},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, guard_get},
    {Py_tp_getattro, guard_getattro},
    {Py_tp_members, guard_members},
    {Py_tp_getset, guard_getset},
    {0, NULL},
};

PyType_Spec mtpy_guard_spec = {
    .name = "microthread._core._guard",
    .basicsize = sizeof(struct mtpy_guard),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = guard_slots,
};

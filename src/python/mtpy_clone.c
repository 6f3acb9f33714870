/* SPDX-License-Identifier: MIT */
/* clone(), register_clone(), CloneError, and the types of ours whose copies share a body. */
#include "python/mtpy_clone.h"

static PyObject *
core_clone(PyObject *module, PyObject *object)
{
    struct mtpy_state *state = mtpy_state_of(module);
    struct mt_message *message;
    if (mtpy_clone_encode(state, object, &message) < 0)
        return NULL;
    return mtpy_clone_decode(state, message);
}

/* For tests: a message as a number, which any interpreter of the process can read, once. */
static PyObject *
core_encode(PyObject *module, PyObject *object)
{
    struct mt_message *message;
    if (mtpy_clone_encode(mtpy_state_of(module), object, &message) < 0)
        return NULL;
    return PyLong_FromVoidPtr(message);
}

static PyObject *
core_decode(PyObject *module, PyObject *number)
{
    struct mt_message *message = PyLong_AsVoidPtr(number);
    if (!message)
        return NULL;
    return mtpy_clone_decode(mtpy_state_of(module), message);
}

/* ---- the registry ---- */

PyObject *
mtpy_clone_registered(struct mtpy_state *state, PyObject *type)
{
    return state->clone_registry ? PyDict_GetItemWithError(state->clone_registry, type) : NULL;
}

int
mtpy_clone_enter(struct mtpy_state *state, PyObject *type, PyObject *entry)
{
    if (entry && !state->clone_registry)
        state->clone_registry = PyDict_New();
    int result = entry && state->clone_registry
                     ? PyDict_SetItem(state->clone_registry, type, entry)
                     : -1;
    Py_XDECREF(entry);
    return result;
}

int
mtpy_clone_register_share(struct mtpy_state *state, PyTypeObject *type,
                          const struct mtpy_share *share)
{
    return mtpy_clone_enter(state, (PyObject *)type,
                            PyCapsule_New((void *)(uintptr_t)share, NULL, NULL));
}

static PyObject *
core_register_clone(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"cls", "reduce", "rebuild", NULL};
    PyObject *class, *functions[2];
    if (mtpy_parse_slowly(args, nargs, kwnames, "OOO:register_clone", names, &class, &functions[0],
                          &functions[1]) < 0)
        return NULL;
    if (!PyType_Check(class)) {
        PyErr_Format(PyExc_TypeError, "cls must be a class, got %.200s", Py_TYPE(class)->tp_name);
        return NULL;
    }
    for (int i = 0; i < 2; i++) {
        if (!PyCallable_Check(functions[i])) {
            PyErr_Format(PyExc_TypeError, "%s must be callable, got %.200s", names[i + 1],
                         Py_TYPE(functions[i])->tp_name);
            return NULL;
        }
    }
    if (mtpy_clone_enter(mtpy_state_of(module), class,
                         PyTuple_Pack(2, functions[0], functions[1])) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* ---- the module's part ---- */

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef clone_functions[] = {
    {"clone", core_clone, METH_O,
     "clone(obj, /)\n--\n\n"
     "A deep copy of obj, made as if it had been sent to another interpreter and back.\n\n"
     "Shared references and cycles are kept. CloneError, which names the path, for what cannot be\n"
     "cloned."},
    {"_encode", core_encode, METH_O, NULL},
    {"_decode", core_decode, METH_O, NULL},
    {"register_clone", CAST(core_register_clone), METH_FASTCALL | METH_KEYWORDS,
     "register_clone(cls, reduce, rebuild)\n--\n\n"
     "Have instances of exactly cls sent as reduce(instance), which can be cloned itself, and made\n"
     "anew by rebuild(value). Both interpreters must have called it: best in the module of cls."},
    {0},
};

int
mtpy_clone_add(struct mtpy_state *state, PyObject *module)
{
    state->CloneError =
        PyErr_NewExceptionWithDoc("microthread.interpreters.CloneError",
                                  "An object cannot be cloned; the message names the path to it.",
                                  PyExc_ValueError, NULL);
    if (!state->CloneError || PyModule_AddType(module, (PyTypeObject *)state->CloneError) < 0)
        return -1;
    const struct {
        PyObject **slot;
        const char *name;
    } names[] = {
        {&state->name_reduce_ex, "__reduce_ex__"}, {&state->name_setstate, "__setstate__"},
        {&state->name_dict, "__dict__"},           {&state->name_module, "__module__"},
        {&state->name_qualname, "__qualname__"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!(*names[i].slot = PyUnicode_InternFromString(names[i].name)))
            return -1;
    state->number_four = PyLong_FromLong(4);
    return state->number_four ? PyModule_AddFunctions(module, clone_functions) : -1;
}

/* SPDX-License-Identifier: MIT */
/* The fields of PyThreadState stand in the same order in struct vm, mtpy_vm_enter, mtpy_vm_leave
   and mtpy_vm_resume, so that an omission shows at a glance. Left alone because they belong to the
   OS thread: delete_later, the trace functions, async_exc, dict, asyncio's loop, context_ver. */
#include "python/mtpy_compat.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "group/mt_global.h"

#include <stdatomic.h>
#include <unistd.h>

#if PY_VERSION_HEX < 0x030B0000
#error "microthread needs CPython 3.11 or later"
#endif

#if PY_VERSION_HEX >= 0x030E0000
/* 3.14.0 does not have them: weak, so that importing can say so in words. */
extern int
PyUnstable_ThreadState_SetStackProtection(PyThreadState *tstate, void *start, size_t size)
    __attribute__((weak));
extern void
PyUnstable_ThreadState_ResetStackProtection(PyThreadState *tstate) __attribute__((weak));
#endif

struct vm {
    _PyStackChunk *datastack_chunk; /* Python frames live in these chunks */
    PyObject **datastack_top;
    PyObject **datastack_limit;
    _PyErr_StackItem *exc_info;     /* exceptions being handled */
#if PY_VERSION_HEX < 0x030D0000
    _PyCFrame *cframe;              /* leads to the innermost frame */
#else
    struct _PyInterpreterFrame *current_frame;
#endif
    PyObject *context;              /* contextvars; owned while parked */
    int depth;                      /* Python calls; the limit may change meanwhile */
    int tracing;                    /* inside a trace function */
#if PY_VERSION_HEX >= 0x030C0000
    int what_event;                 /* the monitoring event under way */
#endif
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000
    int c_recursion_remaining;      /* what is left of this C stack, in CPython's count */
#endif
#if PY_VERSION_HEX < 0x030D0000
    int trash_nesting;              /* nested deallocations */
#endif
#if PY_VERSION_HEX >= 0x030E0000
    PyObject *current_executor;     /* the JIT's; borrowed */
#endif
#if PY_VERSION_HEX >= 0x030C0000
    uintptr_t instrumentation;      /* its version while parked; see mtpy_vm_instrument() */
#endif
    _PyErr_StackItem exc_root;      /* the bottom of exc_info */
#if PY_VERSION_HEX < 0x030D0000
    _PyCFrame cframe_root;          /* the bottom of cframe */
#endif
};

const size_t mtpy_vm_host_size = sizeof(struct vm);
const size_t mtpy_vm_scratch_size = 1536;

#if PY_VERSION_HEX < 0x030C0000
/* One limit for Python and C recursion, so a thousand C calls deep must fit. */
const size_t mtpy_vm_stack_size = 1024 * 1024;
#else
const size_t mtpy_vm_stack_size = 256 * 1024;
#endif

#if PY_VERSION_HEX < 0x030E0000
const size_t mtpy_vm_stack_least = MT_STACK_LEAST;
#else
/* Nothing is ever freed within 64 KiB of the soft limit, which itself is above the bottom. */
const size_t mtpy_vm_stack_least = 128 * 1024;
#endif

const char *
mtpy_vm_refusal(void)
{
#ifdef Py_GIL_DISABLED
    return "microthread does not support free-threaded builds of CPython; use a build with the GIL";
#elif PY_VERSION_HEX >= 0x030E0000
    if (!PyUnstable_ThreadState_SetStackProtection || !PyUnstable_ThreadState_ResetStackProtection)
        return "microthread needs PyUnstable_ThreadState_SetStackProtection, which CPython 3.14.0 "
               "lacks; use 3.14.1 or later, or 3.11 to 3.13";
    return NULL;
#else
    return NULL;
#endif
}

#if PY_VERSION_HEX < 0x030E0000
enum { CHUNK_SIZE = 16 * 1024 }; /* what CPython asks for; arenas of pymalloc are larger */

static void *
alloc_chunk(void *context, size_t size)
{
    PyObjectArenaAllocator *original = context;
    void *block = size == CHUNK_SIZE ? mt_global_reuse_block() : NULL;
    return block ? block : original->alloc(original->ctx, size);
}

static void
free_chunk(void *context, void *block, size_t size)
{
    PyObjectArenaAllocator *original = context;
    if (size != CHUNK_SIZE || !mt_global_keep_block(block))
        original->free(original->ctx, block, size);
}

int
mtpy_vm_cache_chunks(void)
{
    PyObjectArenaAllocator current;
    PyObject_GetArenaAllocator(&current);
    if (current.alloc == alloc_chunk)
        return 0;
    PyObjectArenaAllocator *original = mt_alloc(sizeof *original); /* stays for good */
    if (!original)
        return MT_ENOMEM;
    *original = current;
    PyObject_SetArenaAllocator(&(PyObjectArenaAllocator){original, alloc_chunk, free_chunk});
    return 0;
}
#else
int
mtpy_vm_cache_chunks(void)
{
    return 0;
}
#endif

static struct vm *
vm_of(const struct mt_stack *stack)
{
    return (struct vm *)(void *)(uintptr_t)stack->host;
}

#if PY_VERSION_HEX < 0x030C0000
#define PY_LIMIT recursion_limit
#define PY_REMAINING recursion_remaining
#define TRASH_NESTING trash_delete_nesting
#else
#define PY_LIMIT py_recursion_limit
#define PY_REMAINING py_recursion_remaining
#define TRASH_NESTING trash.delete_nesting
#endif

static inline void
set_context(PyThreadState *tstate, PyObject *context)
{
    if (tstate->context != context) {
        tstate->context = context;
        tstate->context_ver++; /* cached look-ups of context variables are void */
    }
}

#if PY_VERSION_HEX < 0x030C0000
static inline void
recompute_tracing(PyThreadState *tstate)
{
    bool is_on = tstate->tracing == 0 && (tstate->c_tracefunc || tstate->c_profilefunc);
    tstate->cframe->use_tracing = is_on ? 255 : 0;
}
#endif

void
mtpy_vm_enter(PyThreadState *tstate, struct mt_stack *stack, PyObject *context)
{
    struct vm *vm = vm_of(stack);
    _PyStackChunk *chunk = (_PyStackChunk *)(void *)stack->scratch;
    chunk->previous = NULL;
    chunk->size = mtpy_vm_scratch_size;
    chunk->top = 0;
    tstate->datastack_chunk = chunk;
    tstate->datastack_top = &chunk->data[1]; /* CPython frees a chunk whose first slot is popped */
    tstate->datastack_limit = (PyObject **)(void *)(stack->scratch + mtpy_vm_scratch_size);
    vm->exc_root = (_PyErr_StackItem){0};
    tstate->exc_info = &vm->exc_root;
    tstate->tracing = 0;
#if PY_VERSION_HEX < 0x030D0000
    vm->cframe_root = (_PyCFrame){0};
    tstate->cframe = &vm->cframe_root;
#elif PY_VERSION_HEX < 0x030F0000
    tstate->current_frame = NULL;
#else
    tstate->current_frame = tstate->base_frame;
#endif
#if PY_VERSION_HEX < 0x030C0000
    recompute_tracing(tstate);
#endif
    set_context(tstate, context);
    tstate->PY_REMAINING = tstate->PY_LIMIT;
#if PY_VERSION_HEX >= 0x030C0000
    tstate->what_event = -1;
#endif
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000
    tstate->c_recursion_remaining = (int)(stack->size / 1024);
#endif
#if PY_VERSION_HEX < 0x030D0000
    tstate->TRASH_NESTING = 0;
#endif
#if PY_VERSION_HEX >= 0x030E0000
    tstate->current_executor = NULL;
#endif
}

#if PY_VERSION_HEX >= 0x030D0000
static inline uintptr_t
instrumentation_version(const PyThreadState *tstate)
{
    return tstate->eval_breaker & ~(uintptr_t)0xFF; /* the low byte holds requests */
}
#elif PY_VERSION_HEX >= 0x030C0000
/* The version is out of sight, but not whether there is a trace or profile function. */
static inline uintptr_t
instrumentation_version(const PyThreadState *tstate)
{
    return (uintptr_t)(tstate->c_tracefunc != NULL) | (uintptr_t)(tstate->c_profilefunc != NULL) << 1;
}
#endif

void
mtpy_vm_leave(PyThreadState *tstate, struct mt_stack *stack)
{
    struct vm *vm = vm_of(stack);
    vm->datastack_chunk = tstate->datastack_chunk;
    vm->datastack_top = tstate->datastack_top;
    vm->datastack_limit = tstate->datastack_limit;
    vm->exc_info = tstate->exc_info;
    vm->tracing = tstate->tracing;
#if PY_VERSION_HEX < 0x030D0000
    vm->cframe = tstate->cframe;
#else
    vm->current_frame = tstate->current_frame;
#endif
    vm->context = tstate->context;
    vm->depth = tstate->PY_LIMIT - tstate->PY_REMAINING;
#if PY_VERSION_HEX >= 0x030C0000
    vm->what_event = tstate->what_event;
#endif
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000
    vm->c_recursion_remaining = tstate->c_recursion_remaining;
#endif
#if PY_VERSION_HEX < 0x030D0000
    vm->trash_nesting = tstate->TRASH_NESTING;
#endif
#if PY_VERSION_HEX >= 0x030E0000
    vm->current_executor = tstate->current_executor;
#endif
#if PY_VERSION_HEX >= 0x030C0000
    vm->instrumentation = instrumentation_version(tstate);
#endif
}

void
mtpy_vm_resume(PyThreadState *tstate, struct mt_stack *stack)
{
    struct vm *vm = vm_of(stack);
    tstate->datastack_chunk = vm->datastack_chunk;
    tstate->datastack_top = vm->datastack_top;
    tstate->datastack_limit = vm->datastack_limit;
    tstate->exc_info = vm->exc_info;
    tstate->tracing = vm->tracing;
#if PY_VERSION_HEX < 0x030D0000
    tstate->cframe = vm->cframe;
#else
    tstate->current_frame = vm->current_frame;
#endif
#if PY_VERSION_HEX < 0x030C0000
    recompute_tracing(tstate);
#endif
    set_context(tstate, vm->context);
    tstate->PY_REMAINING = tstate->PY_LIMIT - vm->depth;
#if PY_VERSION_HEX >= 0x030C0000
    tstate->what_event = vm->what_event;
#endif
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000
    tstate->c_recursion_remaining = vm->c_recursion_remaining;
#endif
#if PY_VERSION_HEX < 0x030D0000
    tstate->TRASH_NESTING = vm->trash_nesting;
#endif
#if PY_VERSION_HEX >= 0x030E0000
    tstate->current_executor = vm->current_executor;
#endif
#if PY_VERSION_HEX >= 0x030C0000
    if (MT_UNLIKELY(vm->instrumentation != instrumentation_version(tstate)))
        mtpy_vm_instrument(tstate);
#endif
}

void
mtpy_vm_protect(PyThreadState *tstate, const struct mt_stack *stack, bool is_native)
{
#if PY_VERSION_HEX >= 0x030E0000
    if (is_native)
        PyUnstable_ThreadState_ResetStackProtection(tstate);
    else if (PyUnstable_ThreadState_SetStackProtection(tstate, stack->bottom, stack->size) < 0)
        PyErr_Clear(); /* only for a size below mtpy_vm_stack_least, which is never handed out */
#else
    (void)tstate, (void)stack, (void)is_native;
#endif
}

void
mtpy_vm_abandon(PyThreadState *tstate, struct mt_stack *main_stack)
{
    struct vm *vm = vm_of(main_stack);
    PyObject *context = tstate->context;
    mtpy_vm_resume(tstate, main_stack);
    Py_XDECREF(context);
    tstate->exc_info = &tstate->exc_state;
    Py_CLEAR(tstate->exc_state.exc_value);
#if PY_VERSION_HEX < 0x030D0000
    (void)vm;
    tstate->cframe = &tstate->root_cframe;
    tstate->cframe->current_frame = NULL;
#elif PY_VERSION_HEX < 0x030F0000
    (void)vm;
    tstate->current_frame = NULL;
#else
    (void)vm;
    tstate->current_frame = tstate->base_frame;
#endif
    tstate->PY_REMAINING = tstate->PY_LIMIT;
}

PyObject *
mtpy_vm_context(PyThreadState *tstate)
{
    return tstate->context;
}

PyObject *
mtpy_vm_take_context(PyThreadState *tstate)
{
    PyObject *context = tstate->context;
    set_context(tstate, NULL);
    return context;
}

PyObject **
mtpy_vm_context_slot(PyThreadState *tstate)
{
    return &tstate->context;
}

PyObject **
mtpy_vm_parked_context_slot(const struct mt_stack *stack)
{
    return &vm_of(stack)->context;
}

PyFrameObject *
mtpy_vm_parked_frame(PyThreadState *tstate, const struct mt_stack *stack)
{
    struct vm *vm = vm_of(stack);
#if PY_VERSION_HEX < 0x030D0000
    _PyCFrame *running = tstate->cframe;
    tstate->cframe = vm->cframe;
    PyFrameObject *frame = PyThreadState_GetFrame(tstate);
    tstate->cframe = running;
#else
    struct _PyInterpreterFrame *running = tstate->current_frame;
    tstate->current_frame = vm->current_frame;
    PyFrameObject *frame = PyThreadState_GetFrame(tstate);
    tstate->current_frame = running;
#endif
    return frame;
}

static const struct _PyInterpreterFrame *
innermost_frame(const struct vm *vm)
{
#if PY_VERSION_HEX < 0x030D0000
    return vm->cframe->current_frame;
#else
    return vm->current_frame;
#endif
}

bool
mtpy_vm_can_be_visited(const struct mt_stack *stack)
{
    const struct vm *vm = vm_of(stack);
    return vm->exc_info == &vm->exc_root && mtpy_frames_can_be_visited(innermost_frame(vm));
}

int
mtpy_vm_visit(const struct mt_stack *stack, visitproc visit, void *arg)
{
    const struct vm *vm = vm_of(stack);
    Py_VISIT(vm->context);
    Py_VISIT(vm->exc_root.exc_value);
    return mtpy_frames_visit(innermost_frame(vm), visit, arg);
}

static PyObject *
innermost(const _PyErr_StackItem *item, PyObject *type)
{
    for (; item; item = item->previous_item)
        if (item->exc_value && item->exc_value != Py_None &&
            PyErr_GivenExceptionMatches(item->exc_value, type))
            return item->exc_value;
    return NULL;
}

PyObject *
mtpy_vm_handled(PyThreadState *tstate, PyObject *type)
{
    return innermost(tstate->exc_info, type);
}

PyObject *
mtpy_vm_parked_handled(const struct mt_stack *stack, PyObject *type)
{
    return innermost(vm_of(stack)->exc_info, type);
}

#if PY_VERSION_HEX < 0x030D0000
/* PySignal_SetWakeupFd is not exported, and its Python form makes system calls: set it for good. */
int
mtpy_signal_install(int fd)
{
    PyObject *module = PyImport_ImportModule("_signal");
    PyObject *function = module ? PyObject_GetAttrString(module, "set_wakeup_fd") : NULL;
    PyObject *names = function ? Py_BuildValue("{s:O}", "warn_on_full_buffer", Py_False) : NULL;
    PyObject *args = names ? Py_BuildValue("(i)", fd) : NULL;
    PyObject *other = args ? PyObject_Call(function, args, names) : NULL;
    int result = other ? 0 : -1;
    if (other && PyLong_AsLong(other) != -1) {
        PyObject *put_back = PyObject_CallOneArg(function, other);
        result = put_back ? 0 : -1;
        Py_XDECREF(put_back);
    }
    Py_XDECREF(other);
    Py_XDECREF(args);
    Py_XDECREF(names);
    Py_XDECREF(function);
    Py_XDECREF(module);
    return result;
}

int
mtpy_signal_check(PyThreadState *tstate)
{
    (void)tstate;
    return PyErr_CheckSignals();
}

void
mtpy_signal_poll_begin(PyThreadState *tstate, int fd)
{
    (void)tstate;
    (void)fd;
}

void
mtpy_signal_poll_end(int fd)
{
    (void)fd;
}
#else
/* _PY_SIGNALS_PENDING_BIT of pycore_ceval.h. */
static const uintptr_t SIGNALS_PENDING = 1 << 1;

int
mtpy_signal_install(int fd)
{
    (void)fd;
    return 0;
}

int
mtpy_signal_check(PyThreadState *tstate)
{
    /* As the evaluation loop does, or the flag would end every poll until it looks again. */
    (void)_Py_atomic_and_uintptr(&tstate->eval_breaker, ~SIGNALS_PENDING);
    return PyErr_CheckSignals();
}

void
mtpy_signal_poll_begin(PyThreadState *tstate, int fd)
{
    int other = PySignal_SetWakeupFd(fd);
    if (other >= 0)
        PySignal_SetWakeupFd(other);
    /* One that came before raised this flag and wrote nothing. CPython's C handler raises it first
       and looks at the descriptor then; here it is the other way round. */
    atomic_thread_fence(memory_order_seq_cst);
    if (_Py_atomic_load_uintptr(&tstate->eval_breaker) & SIGNALS_PENDING)
        (void)!write(fd, "", 1);
}

void
mtpy_signal_poll_end(int fd)
{
    int own = PySignal_SetWakeupFd(-1);
    if (own != fd)
        PySignal_SetWakeupFd(own);
}
#endif

PyObject *
mtpy_error_take(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

void
mtpy_error_raise(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
#endif
}

Py_ssize_t
mtpy_int_size(PyObject *object)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(object, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    size_t bits = _PyLong_NumBits(object);
    return bits == (size_t)-1 && PyErr_Occurred() ? -1 : (Py_ssize_t)(bits / 8 + 1);
#endif
}

int
mtpy_int_write(PyObject *object, unsigned char *bytes, Py_ssize_t size)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(object, bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0 ? -1 : 0;
#else
    return _PyLong_AsByteArray((PyLongObject *)object, bytes, (size_t)size, 1, 1);
#endif
}

PyObject *
mtpy_int_read(const unsigned char *bytes, Py_ssize_t size)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromNativeBytes(bytes, (size_t)size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    return _PyLong_FromByteArray(bytes, (size_t)size, 1, 1);
#endif
}

int
mtpy_lookup_attr(PyObject *object, PyObject *name, PyObject **value)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyObject_GetOptionalAttr(object, name, value);
#else
    return _PyObject_LookupAttr(object, name, value);
#endif
}

int
mtpy_str_ready(PyObject *object)
{
#if PY_VERSION_HEX >= 0x030C0000
    (void)object;
    return 0;
#else
    return PyUnicode_READY(object);
#endif
}

void
mtpy_error_unraisable_in_thread(PyObject *function)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyErr_FormatUnraisable("Exception ignored in thread started by %R", function);
#else
    _PyErr_WriteUnraisableMsg("in thread started by", function);
#endif
}

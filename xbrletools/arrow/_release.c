/* The callbacks by which readers give back what they were handed over Arrow's C interface.
 *
 * A reader calls them wherever it drops an array: in any thread, while a Python error is on its way, or when the
 * interpreter has ended. A callback in Python would take the error's place. These leave it as it is.
 *
 * The structures are those of Arrow's C data and C stream interfaces. What each owns is kept in Python by the number in
 * its private_data. `on_release` says what is called with that number.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000 /* one build serves every Python from 3.11 on */
#include <Python.h>
#include <stdint.h>

struct schema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct schema **children, *dictionary;
    void (*release)(struct schema *);
    void *private_data;
};

struct array {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct array **children, *dictionary;
    void (*release)(struct array *);
    void *private_data;
};

struct stream {
    int (*get_schema)(struct stream *, struct schema *);
    int (*get_next)(struct stream *, struct array *);
    const char *(*get_last_error)(struct stream *);
    void (*release)(struct stream *);
    void *private_data;
};

static PyObject *dropping; /* what is called with a number, or NULL */

static void drop(void *key)
{
    if (!Py_IsInitialized())
        return;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (dropping != NULL) {
        PyObject *done = PyObject_CallFunction(dropping, "K", (unsigned long long)(uintptr_t)key);
        Py_XDECREF(done);
        PyErr_Clear();
    }
    PyErr_Restore(type, value, trace);
    PyGILState_Release(state);
}

static void release_schema(struct schema *it)
{
    for (int64_t i = 0; i < it->n_children; i++)
        if (it->children[i]->release != NULL)
            it->children[i]->release(it->children[i]);
    if (it->dictionary != NULL && it->dictionary->release != NULL)
        it->dictionary->release(it->dictionary);
    it->release = NULL;
    drop(it->private_data);
}

static void release_array(struct array *it)
{
    for (int64_t i = 0; i < it->n_children; i++)
        if (it->children[i]->release != NULL)
            it->children[i]->release(it->children[i]);
    if (it->dictionary != NULL && it->dictionary->release != NULL)
        it->dictionary->release(it->dictionary);
    it->release = NULL;
    drop(it->private_data);
}

static void release_stream(struct stream *it)
{
    it->release = NULL;
    drop(it->private_data);
}

static PyObject *on_release(PyObject *module, PyObject *callable)
{
    PyObject *old = dropping;
    dropping = Py_NewRef(callable);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"on_release", on_release, METH_O, "Call this with the number in private_data of what was released."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_release", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__release(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL)
        return NULL;
    PyObject *addresses = Py_BuildValue("(KKK)", (unsigned long long)(uintptr_t)release_schema,
                                        (unsigned long long)(uintptr_t)release_array,
                                        (unsigned long long)(uintptr_t)release_stream);
    if (addresses == NULL || PyModule_AddObjectRef(module, "addresses", addresses) < 0) {
        Py_XDECREF(addresses);
        Py_DECREF(module);
        return NULL;
    }
    Py_DECREF(addresses);
    return module;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <stdio.h>
#include <string.h>

#include "api.h"
#include "budget.h"
#include "clock.h"
#include "disabled.h"
#include "layout.h"
#include "peek.h"
#include "runtime.h"
#include "unicode.h"

#define PROBE_FILE "<gcscope>"
#define PROBE_LINE 5
#define PROBE_SOURCE "\n\n\n\ngcscope_probe()\n"

static struct {
	bool on;
	bool objects;         /* 3.8 to 3.10: frames are objects, PyEval_GetFrame() makes none */
	bool indirect;        /* 3.11, 3.12: thread state -> cframe -> frame */
	bool ask_line;        /* free-threaded: a thread may run a copy of the bytecode; the C API knows it */
	uint16_t in_thread;   /* thread state: the frame, or the cframe */
	uint16_t in_cframe;
	uint16_t code;        /* frame: its code, low bits may be tags */
	uint16_t instruction; /* frame: the instruction pointer */
	uint16_t bytecode;    /* code: its first instruction */
	uint16_t filename;    /* code: co_filename */
} at;

static struct gcs_budget lookups;

static PyObject *probe_code; /* while the probe runs */
static const char *probe_failure;

static uintptr_t untag(uintptr_t p)
{
	return p & ~(uintptr_t)7;
}

static bool plausible(uintptr_t p)
{
	return p > 0x10000 && !(p & 7);
}

/* Is this the frame that runs probe_code? Notes where it keeps its code. */
static bool is_probe_frame(uintptr_t frame)
{
	uintptr_t word;

	if (!plausible(frame))
		return false;
	for (uint16_t off = 0; off <= 32; off += 32) /* first member from 3.12 on, fifth in 3.11 */
		if (gcs_peek(frame + off, &word) && untag(word) == (uintptr_t)probe_code) {
			at.code = off;
			return true;
		}
	return false;
}

/* Searches the thread state for the running frame; returns it. */
static const char *find_frame(uintptr_t thread)
{
	uintptr_t word, inner;

	for (uint16_t off = 24; off < 256; off += 8) {
		if (!gcs_peek(thread + off, &word) || !plausible(word))
			continue;
		at.in_thread = off;
		at.indirect = false;
		if (is_probe_frame(word))
			return (const char *)word;
		at.indirect = true;
		for (at.in_cframe = 0; at.in_cframe <= 8; at.in_cframe += 8)
			if (gcs_peek(word + at.in_cframe, &inner) && is_probe_frame(inner))
				return (const char *)inner;
	}
	return NULL;
}

/* co_filename: the one word of the code object that is the string we get for it. */
static bool find_filename(void)
{
	PyObject *name = py.PyObject_GetAttrString(probe_code, "co_filename");
	size_t size = (size_t)gcs_load_ptr(py.PyCode_Type, gcs_layout.tp_basicsize);

	for (size_t off = gcs_layout.ob_type + 8; name && off + 8 <= size; off += 8)
		if (gcs_load_ptr(probe_code, (uint16_t)off) == name) {
			at.filename = (uint16_t)off;
			break;
		}
	py.Py_DecRef(name);
	py.PyErr_Clear();
	return at.filename != 0;
}

static bool find_line(char *out, size_t size);

static bool here_is_the_probe(void)
{
	char text[64];

	return find_line(text, sizeof(text)) && !strcmp(text, PROBE_FILE ":5");
}

static const char *learn_frame_objects(void)
{
	PyObject *frame = py.PyEval_GetFrame();

	for (uint16_t off = 16; frame && off <= 64; off += 8)
		if (gcs_load_ptr(frame, off) == probe_code) {
			at.code = off;
			at.objects = at.on = true;
			return here_is_the_probe() ? NULL : "the line does not verify";
		}
	return "the code of a frame was not found";
}

static const char *learn_interpreter_frames(void)
{
	uintptr_t word;
	const char *frame;

	if (!gcs_peek((uintptr_t)probe_code, &word))
		return "process_vm_readv() is not permitted here";
	frame = find_frame((uintptr_t)py.PyThreadState_Get());
	if (!frame)
		return "the running frame was not found";
	if (py.free_threaded) {
		at.ask_line = at.on = py.PyUnstable_InterpreterFrame_GetLine != NULL;
		return here_is_the_probe() ? NULL : "the line does not verify";
	}
	/* tp_basicsize of code objects ends where the bytecode begins */
	at.bytecode = (uint16_t)(uintptr_t)gcs_load_ptr(py.PyCode_Type, gcs_layout.tp_basicsize);
	at.on = true;
	for (at.instruction = 40; at.instruction <= 80; at.instruction += 8) {
		uintptr_t p = (uintptr_t)gcs_load_ptr(frame, at.instruction);
		uintptr_t start = (uintptr_t)probe_code + at.bytecode;

		if (p >= start && p < start + 256 && here_is_the_probe())
			return NULL;
	}
	return "the running instruction was not found";
}

static PyObject *on_probe(PyObject *self, PyObject *arg)
{
	(void)self;
	(void)arg;
	if (!find_filename())
		probe_failure = "the file name of a code object was not found";
	else
		probe_failure = py.minor <= 10 ? learn_frame_objects() : learn_interpreter_frames();
	at.on = !probe_failure;
	py.Py_IncRef(py._Py_NoneStruct);
	return py._Py_NoneStruct;
}

static struct gcs_method_def probe_def = {"gcscope_probe", (void *)on_probe, GCS_METH_NOARGS, NULL};

void gcs_frame_probe_gil(void)
{
	PyObject *globals = NULL, *probe = NULL, *result = NULL;

	if (!gcs_layout.types) {
		gcs_disable("collection_line", "the types do not verify");
		return;
	}
	gcs_budget_init(&lookups, gcs_config.budget_percent / 2, gcs_now_ns());
	probe_failure = "the probe did not run";
	probe_code = py.Py_CompileString(PROBE_SOURCE, PROBE_FILE, GCS_FILE_INPUT);
	globals = py.PyDict_New();
	probe = py.PyCFunction_NewEx(&probe_def, NULL, NULL);
	if (probe_code && globals && probe &&
	    !py.PyDict_SetItemString(globals, "gcscope_probe", probe) &&
	    !py.PyDict_SetItemString(globals, "__builtins__", py.PyEval_GetBuiltins()))
		result = py.PyEval_EvalCode(probe_code, globals, globals);
	if (!result)
		py.PyErr_Clear();
	if (probe_failure)
		gcs_disable("collection_line", "%s", probe_failure);
	py.Py_DecRef(result);
	py.Py_DecRef(globals);
	py.Py_DecRef(probe);
	py.Py_DecRef(probe_code);
	probe_code = NULL;
}

static PyObject *running_code(int *line)
{
	const char *frame;
	PyObject *code;

	if (at.objects) {
		frame = (const char *)py.PyEval_GetFrame();
		if (!frame)
			return NULL;
		*line = py.PyFrame_GetLineNumber((PyObject *)frame);
		return gcs_load_ptr(frame, at.code);
	}
	frame = gcs_load_ptr(py.PyThreadState_Get(), at.in_thread);
	if (frame && at.indirect)
		frame = gcs_load_ptr(frame, at.in_cframe);
	if (!frame)
		return NULL;
	code = (PyObject *)untag((uintptr_t)gcs_load_ptr(frame, at.code));
	if (!code || gcs_type_of(code) != py.PyCode_Type)
		return NULL; /* the interpreter's own entry frame */
	if (at.ask_line) {
		*line = py.PyUnstable_InterpreterFrame_GetLine(frame);
		return code;
	}
	*line = py.PyCode_Addr2Line(code, (int)((char *)gcs_load_ptr(frame, at.instruction) -
						((char *)code + at.bytecode)));
	return code;
}

static bool find_line(char *out, size_t size)
{
	char line_text[16];
	PyObject *code;
	size_t n;
	int line = 0, digits;

	if (!at.on || !(code = running_code(&line)))
		return false;
	digits = snprintf(line_text, sizeof(line_text), ":%d", line);
	n = gcs_unicode_end_gil(gcs_load_ptr(code, at.filename), out, size - (size_t)digits);
	memcpy(out + n, line_text, (size_t)digits + 1);
	return true;
}

/* CPython looks a line up from the code's first on: in a module of 100,000 lines for up to a millisecond. */
bool gcs_frame_here_hot(char *out, size_t size)
{
	int64_t now = gcs_now_ns(), began;
	bool found;

	out[0] = '\0';
	if (!at.on || gcs_budget_wait(&lookups, now, 0))
		return false;
	began = gcs_thread_cpu_ns();
	found = find_line(out, size);
	gcs_budget_spend(&lookups, now, gcs_thread_cpu_ns() - began);
	return found;
}

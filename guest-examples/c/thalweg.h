/* The contract `thalweg:udf` for C, as far as a stateless DoFn needs it: the canonical ABI of its imports and exports by hand, reading of an input frame, writing
 * of an output frame (wit/LAYOUT.md). No library is used, not even C's own. One file includes this, and defines `describe_json` and `process`.
 *
 * All memory of a call comes from one heap that is emptied when the call is over. What is not in it is static. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(interface, name) __attribute__((import_module("thalweg:udf/" interface "@1.0.0"), import_name(name)))

enum { HEADER = 1, TIME = 4, KEY = 7, VALUE = 8, ARENA = 9, SOURCE = 11, FAILED = 24, METRICS = 25 };
enum { TRACE, DEBUG, INFO, WARN, ERROR };

/* Some bytes. */
typedef struct { const uint8_t *at; uint32_t length; } bytes;

/* Bytes that grow. */
typedef struct { uint8_t *at; uint32_t length, room; } buffer;

/* An input frame: columns that point into it. */
typedef struct { uint32_t rows; bytes value, time, arena; } input;

/* Output rows and a counter. */
typedef struct { uint32_t rows, row; buffer source, key, value, arena; int64_t counted; } output;

/* What the function says of itself, and what it does with one row. Both are for the including file. */
extern const char describe_json[];
static void process(bytes value, output *out);

IMPORT("log", "write") void log_write(uint32_t level, uint32_t has_row, uint32_t row, const uint8_t *at, uint32_t length);

/* ---- memory ---- */

extern uint8_t __heap_base;
static uint8_t *heap_next;

static void *take(uint32_t size, uint32_t align) {
  if (!heap_next) heap_next = &__heap_base;
  uintptr_t start = ((uintptr_t)heap_next + align - 1) & ~(uintptr_t)(align - 1);
  uintptr_t end = start + size, there = __builtin_wasm_memory_size(0) * 65536u;
  if (end > there && __builtin_wasm_memory_grow(0, (end - there + 65535) / 65536) == (size_t)-1) __builtin_trap();
  heap_next = (uint8_t *)end;
  return (void *)start;
}

static void copy(uint8_t *to, const uint8_t *from, uint32_t length) {
  for (uint32_t i = 0; i < length; i++) to[i] = from[i];
}

static uint32_t text_length(const char *text) {
  uint32_t length = 0;
  while (text[length]) length++;
  return length;
}

EXPORT("cabi_realloc") void *cabi_realloc(uint8_t *old, uint32_t old_size, uint32_t align, uint32_t size) {
  uint8_t *made = take(size, align);
  if (old) copy(made, old, old_size);
  return made;
}

static void append(buffer *to, const void *from, uint32_t length) {
  if (to->length + length > to->room) {
    uint32_t room = 2 * to->room + length + 256;
    uint8_t *made = take(room, 8);
    copy(made, to->at, to->length);
    to->at = made, to->room = room;
  }
  copy(to->at + to->length, from, length);
  to->length += length;
}

static void append_u32(buffer *to, uint32_t n) { append(to, &n, 4); } /* WebAssembly is little-endian */

static void append_range(buffer *to, uint32_t start, uint32_t end) { append_u32(to, start), append_u32(to, end); }

/* ---- reading ---- */

static uint32_t u32_at(bytes from, uint32_t at) {
  uint32_t n = 0;
  if ((uint64_t)at + 4 <= from.length) copy((uint8_t *)&n, from.at + at, 4);
  return n;
}

/* The host wrote the frame; a broken one is told by 0, and nothing outside of it is read. */
static int read_input(bytes frame, input *in) {
  for (uint64_t at = 0; at < frame.length;) {
    uint32_t id = u32_at(frame, at), length = u32_at(frame, at + 4);
    uint64_t next = (at + 8 + length + 7) & ~(uint64_t)7;
    if (next > frame.length) return 0;
    bytes payload = {frame.at + at + 8, length};
    if (id == HEADER) {
      if (u32_at(payload, 0) != 1) return 0;
      in->rows = u32_at(payload, 4);
    }
    if (id == VALUE) in->value = payload;
    if (id == TIME) in->time = payload;
    if (id == ARENA) in->arena = payload;
    at = next;
  }
  return in->rows <= in->time.length / 8;
}

static int read_value(const input *in, uint32_t row, bytes *value) {
  uint32_t start = u32_at(in->value, 8 * row), end = u32_at(in->value, 8 * row + 4);
  if (start > end || end > in->arena.length) return 0;
  *value = (bytes){in->arena.at + start, end - start};
  return 1;
}

/* ---- writing ---- */

/* Puts out a pair of bytes and a number that is not negative. */
static void emit_counted(output *out, bytes key, uint64_t number) {
  uint32_t start = out->arena.length;
  append(&out->arena, key.at, key.length);
  uint32_t middle = out->arena.length;
  do {
    uint8_t byte = (number & 0x7f) | (number > 0x7f ? 0x80 : 0);
    append(&out->arena, &byte, 1);
    number >>= 7;
  } while (number);
  append_range(&out->key, start, middle);
  append_range(&out->value, middle, out->arena.length);
  append_u32(&out->source, out->row);
  out->rows++;
}

static void section(buffer *frame, uint32_t id, buffer payload) {
  static const uint8_t zeros[8];
  append_u32(frame, id), append_u32(frame, payload.length);
  append(frame, payload.at, payload.length);
  append(frame, zeros, -frame->length & 7);
}

static buffer write_output(const output *out, const char *counter) {
  buffer frame = {0}, header = {0};
  append_u32(&header, 1), append_u32(&header, out->rows);
  section(&frame, HEADER, header);
  section(&frame, SOURCE, out->source);
  section(&frame, KEY, out->key);
  section(&frame, VALUE, out->value);
  section(&frame, ARENA, out->arena);
  if (out->counted) {
    buffer metrics = {0};
    int64_t values[4] = {out->counted};
    uint32_t length = text_length(counter);
    append_range(&metrics, 1, 0), append_range(&metrics, 0, 0), append_range(&metrics, 0, length);
    append(&metrics, values, sizeof values), append(&metrics, counter, length);
    section(&frame, METRICS, metrics);
  }
  return frame;
}

/* ---- exports ---- */

/* The return area: of a result a tag, then the value or the three texts of a failure and whether to try again. */
static uint32_t returned[8];

static void *refuse(const char *code, const char *message) {
  returned[0] = 1;
  returned[1] = (uint32_t)code, returned[2] = text_length(code);
  returned[3] = (uint32_t)message, returned[4] = text_length(message);
  returned[5] = returned[6] = returned[7] = 0;
  return returned;
}

EXPORT("thalweg:udf/guest@1.0.0#describe") void *guest_describe(void) {
  returned[0] = (uint32_t)describe_json, returned[1] = text_length(describe_json);
  return returned;
}

/* There is one function and no configuration: every instance is the same. */
EXPORT("thalweg:udf/guest@1.0.0#open")
void *guest_open(const uint8_t *name, uint32_t name_length, const uint8_t *plan, uint32_t plan_length) {
  (void)name, (void)name_length, (void)plan, (void)plan_length;
  returned[0] = returned[1] = 0;
  return returned;
}

extern const char counter_name[];

EXPORT("thalweg:udf/guest@1.0.0#call")
void *guest_call(uint32_t instance, uint32_t op, const uint8_t *frame, uint32_t length) {
  (void)instance;
  input in = {0};
  output out = {0};
  if (op != 0) return refuse("NO_OPERATION", "a DoFn without bundles has the operation 0 alone");
  if (!read_input((bytes){frame, length}, &in)) return refuse("BAD_FRAME", "the input frame of the host is broken");
  for (out.row = 0; out.row < in.rows; out.row++) {
    bytes value;
    if (!read_value(&in, out.row, &value)) return refuse("BAD_FRAME", "the input frame of the host is broken");
    process(value, &out);
  }
  buffer result = write_output(&out, counter_name);
  returned[0] = 0, returned[1] = (uint32_t)result.at, returned[2] = result.length;
  return returned;
}

EXPORT("thalweg:udf/guest@1.0.0#close") void guest_close(uint32_t instance) { (void)instance; }

/* The host has read the result: the heap is empty again. */
static void done(void) { heap_next = &__heap_base; }
EXPORT("cabi_post_thalweg:udf/guest@1.0.0#open") void open_done(void *result) { (void)result, done(); }
EXPORT("cabi_post_thalweg:udf/guest@1.0.0#call") void call_done(void *result) { (void)result, done(); }

/* Word count's first half in C: lines in, a pair of each word and 1 out. A word is a run of ASCII letters, digits and apostrophes, in small letters. */
#include "thalweg.h"

const char describe_json[] =
    "{\"sdk\":\"c by example\",\"functions\":[{\"name\":\"words\",\"kind\":\"dofn\",\"input\":{\"urn\":\"beam:coder:string_utf8:v1\"},"
    "\"outputs\":[{\"name\":\"words\",\"coder\":{\"urn\":\"beam:coder:kv:v1\",\"components\":["
    "{\"urn\":\"beam:coder:string_utf8:v1\"},{\"urn\":\"beam:coder:varint:v1\"}]}}]}]}";

const char counter_name[] = "words";

static int is_letter(uint8_t c) {
  return c == '\'' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void process(bytes line, output *out) {
  uint8_t *word = take(line.length, 1);
  uint32_t length = 0;
  for (uint32_t i = 0; i <= line.length; i++) {
    if (i < line.length && is_letter(line.at[i])) {
      uint8_t c = line.at[i];
      word[length++] = c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
    } else if (length) {
      emit_counted(out, (bytes){word, length}, 1);
      out->counted++;
      length = 0;
    }
  }
}

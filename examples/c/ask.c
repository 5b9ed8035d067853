// Asks a model, and prints its answer as it comes.
#include "app.h"
#include <stdio.h>
#include <stdlib.h>

// What `%.*s` takes: strings of the interface do not end with a zero.
#define TEXT(string) (int)(string).len, (const char *)(string).ptr

static void check(bool succeeded, const types_error_t *error) {
  if (succeeded) return;
  static const char *const words[] = {"model not found", "context full", "prompt too long", "invalid request",
                                      "unsupported", "busy", "cancelled", "timeout", "backend"};
  fprintf(stderr, "error: %s", words[error->tag]);
  if (error->tag == TYPES_ERROR_MODEL_NOT_FOUND) {
    app_list_string_t available = error->val.model_not_found.available;
    fprintf(stderr, ": %.*s, available:", TEXT(error->val.model_not_found.name));
    for (size_t i = 0; i < available.len; i++) fprintf(stderr, " %.*s", TEXT(available.ptr[i]));
  } else if (error->tag == TYPES_ERROR_INVALID_REQUEST) {
    fprintf(stderr, ": %.*s: %.*s", TEXT(error->val.invalid_request.field), TEXT(error->val.invalid_request.reason));
  } else if (error->tag == TYPES_ERROR_UNSUPPORTED || error->tag == TYPES_ERROR_BACKEND) {
    // Both are a string, at the same place.
    fprintf(stderr, ": %.*s", TEXT(error->val.backend));
  }
  fputc('\n', stderr);
  exit(1);
}

static void print(const generation_event_t *event) {
  if (event->tag == GENERATION_EVENT_TEXT) {
    printf("%.*s", TEXT(event->val.text.text));
  } else if (event->tag == GENERATION_EVENT_TOOL_CALL) {
    printf("%.*s(%.*s)", TEXT(event->val.tool_call.name), TEXT(event->val.tool_call.arguments));
  } else {
    generation_usage_t usage = event->val.finish.usage;
    double more = usage.generated_tokens > 0 ? usage.generated_tokens - 1 : 0;
    double rate = more * 1e6 / (double)(usage.total_time - usage.first_token_time);
    putchar('\n');
    fprintf(stderr, "%u tokens, %.1f per second\n", usage.generated_tokens, rate);
  }
  fflush(stdout);
}

int main(int count, char **arguments) {
  generation_part_t question = {.tag = GENERATION_PART_TEXT};
  FILE *words = open_memstream((char **)&question.val.text.ptr, &question.val.text.len);
  for (int i = 1; i < count; i++) fprintf(words, i > 1 ? " %s" : "%s", arguments[i]);
  fclose(words);
  types_error_t error;
  models_own_model_t model;
  check(models_static_model_open(NULL, &(models_model_options_t){0}, &model, &error), &error);
  generation_message_t message = {.role = GENERATION_ROLE_USER, .content = {&question, 1}};
  generation_list_message_t messages = {&message, 1};
  generation_own_answer_stream_t stream;
  check(generation_stream_chat(models_borrow_model(model), &messages, &(generation_options_t){0}, &stream, &error), &error);
  for (generation_option_event_t event;; generation_option_event_free(&event)) {
    check(generation_method_answer_stream_next(generation_borrow_answer_stream(stream), &event, &error), &error);
    if (!event.is_some) return 0;
    print(&event.val);
  }
}

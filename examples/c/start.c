// The start of a C program, in place of the one of Debian 12's wasi-libc.
//
// That one leaves constructors and destructors to the linker, which then runs both around every export. An app
// exports `cabi_realloc`, and the host calls it to pass a text: the destructors would write what standard output
// holds back, and nothing may be imported during such a call. Later releases of wasi-libc do what this does.
#include <stdlib.h>

void __wasm_call_ctors(void);
void __wasm_call_dtors(void);
int __main_void(void);

__attribute__((export_name("_start"))) void _start(void) {
  __wasm_call_ctors();
  int status = __main_void();
  __wasm_call_dtors();
  if (status != 0) _Exit(status);
}

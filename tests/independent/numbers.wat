;; A legacy command without libc: the graph `orient` on f32 ones of shape 1,3,224,224. Writes the
;; bytes of output 0 to standard output. Its exit status is the first errno, or 0.
(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (import "wasi_ephemeral_nn" "get_output"
    (func $get_output (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  (memory (export "memory") 11)
  (data (i32.const 16) "orient")
  ;; dimensions
  (data (i32.const 32) "\01\00\00\00\03\00\00\00\e0\00\00\00\e0\00\00\00")
  ;; tensor: dimensions 32 4, type f32 with padding, data 65536 602112
  (data (i32.const 64)
    "\20\00\00\00\04\00\00\00\01\ff\ff\ff\00\00\01\00\00\30\09\00")

  ;; Results: graph at 0, context at 4, output's length at 12; the output at 128.
  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (local.get $errno)))))

  (func (export "_start")
    (local $at i32)
    (local.set $at (i32.const 65536))
    (loop $ones
      (f32.store (local.get $at) (f32.const 1))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $ones (i32.lt_u (local.get $at) (i32.const 667648))))
    (call $check (call $load_by_name (i32.const 16) (i32.const 6) (i32.const 0)))
    (call $check (call $init (i32.load (i32.const 0)) (i32.const 4)))
    (call $check (call $set_input (i32.load (i32.const 4)) (i32.const 0) (i32.const 64)))
    (call $check (call $compute (i32.load (i32.const 4))))
    (call $check (call $get_output (i32.load (i32.const 4)) (i32.const 0) (i32.const 128)
      (i32.const 1024) (i32.const 12)))
    ;; iovec at 8: the output's pointer, and its length already at 12
    (i32.store (i32.const 8) (i32.const 128))
    (call $check (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 24)))))

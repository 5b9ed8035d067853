(module
  (type (;0;) (func (param i32 i32 i32 i32 i32)))
  (type (;1;) (func (param i32) (result i32)))
  (type (;2;) (func (param i32)))
  (type (;3;) (func (param i32 i32 i32)))
  (type (;4;) (func (param i32 i32)))
  (type (;5;) (func (param i32 i32 i32 i32 i32) (result i32)))
  (type (;6;) (func (param i32 i32 i32 i32)))
  (type (;7;) (func (result i32)))
  (type (;8;) (func (param i32 i32 i32) (result i32)))
  (type (;9;) (func (param i32 i32 i32 i32) (result i32)))
  (type (;10;) (func (param i32 i32) (result i32)))
  (type (;11;) (func (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "memory" (memory (;0;) 0))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load" (func (;0;) (type 0) (param i32 i32 i32 i32 i32)))
  (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[method]error.code" (func (;1;) (type 1) (param i32) (result i32)))
  (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[resource-drop]error" (func (;2;) (type 2) (param i32)))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name" (func (;3;) (type 3) (param i32 i32 i32)))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context" (func (;4;) (type 4) (param i32 i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.data" (func (;5;) (type 4) (param i32 i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor" (func (;6;) (type 5) (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute" (func (;7;) (type 6) (param i32 i32 i32 i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[resource-drop]tensor" (func (;8;) (type 2) (param i32)))
  (global $state (;0;) (mut i32) i32.const 0)
  (global $buffer (;1;) (mut i32) i32.const 0)
  (global $buffer_max (;2;) (mut i32) i32.const 0)
  (global $buffer_state (;3;) (mut i32) i32.const 0)
  (export "cabi_import_realloc" (func $cabi_import_realloc))
  (export "load" (func $load))
  (export "load_by_name" (func $load_by_name))
  (export "init_execution_context" (func $init_execution_context))
  (export "set_input" (func $set_input))
  (export "get_output" (func $get_output))
  (export "compute" (func $compute))
  (func $prepare (;9;) (type 7) (result i32)
    (local i32)
    global.get $state
    if ;; label = @1
      i32.const 1
      return
    end
    i32.const 1
    memory.grow
    local.tee 0
    i32.const -1
    i32.eq
    if ;; label = @1
      i32.const 0
      return
    end
    local.get 0
    i32.const 16
    i32.shl
    i32.const 16
    i32.add
    global.set $state
    global.get $state
    global.get $state
    i32.const 560
    i32.add
    i32.store offset=72
    global.get $state
    global.get $state
    i32.const 65520
    i32.add
    i32.store offset=76
    i32.const 1
  )
  (func $allocate (;10;) (type 1) (param i32) (result i32)
    (local i32 i32 i32 i32 i32 i32)
    local.get 0
    i32.const -536871168
    i32.gt_u
    if ;; label = @1
      i32.const 0
      return
    end
    local.get 0
    i32.const 7
    i32.add
    local.tee 1
    i32.const 32
    local.get 1
    i32.const 32
    i32.gt_u
    select
    local.tee 1
    i32.const 29
    local.get 1
    i32.clz
    i32.sub
    local.tee 2
    i32.shr_u
    local.tee 3
    local.get 2
    i32.const 2
    i32.shl
    i32.add
    i32.const 16
    i32.sub
    i32.const 2
    i32.shl
    global.get $state
    i32.add
    i32.const 80
    i32.add
    local.tee 4
    i32.load
    local.tee 5
    if ;; label = @1
      local.get 4
      local.get 5
      i32.load
      i32.store
      local.get 5
      return
    end
    local.get 3
    i32.const 1
    i32.add
    local.get 2
    i32.shl
    local.set 0
    global.get $state
    i32.load offset=72
    local.set 5
    local.get 0
    global.get $state
    i32.load offset=76
    local.get 5
    i32.sub
    i32.gt_u
    if ;; label = @1
      local.get 0
      i32.const 65535
      i32.add
      i32.const 16
      i32.shr_u
      local.tee 1
      memory.grow
      local.tee 6
      i32.const -1
      i32.eq
      if ;; label = @2
        i32.const 0
        return
      end
      local.get 6
      i32.const 16
      i32.shl
      local.tee 6
      global.get $state
      i32.load offset=76
      i32.ne
      if ;; label = @2
        local.get 6
        local.set 5
      end
      global.get $state
      local.get 6
      local.get 1
      i32.const 16
      i32.shl
      i32.add
      i32.store offset=76
    end
    global.get $state
    local.get 5
    local.get 0
    i32.add
    i32.store offset=72
    local.get 5
    local.get 4
    i32.store
    local.get 5
    local.get 0
    i32.const 8
    i32.sub
    i32.store offset=4
    local.get 5
    i32.const 8
    i32.add
  )
  (func $release (;11;) (type 2) (param i32)
    (local i32)
    local.get 0
    if ;; label = @1
      local.get 0
      local.get 0
      i32.const 8
      i32.sub
      i32.load
      local.tee 1
      i32.load
      i32.store
      local.get 1
      local.get 0
      i32.store
    end
  )
  (func $reallocate (;12;) (type 8) (param i32 i32 i32) (result i32)
    (local i32)
    local.get 0
    if ;; label = @1
      local.get 0
      i32.const 4
      i32.sub
      i32.load
      local.get 2
      i32.ge_u
      if ;; label = @2
        local.get 0
        return
      end
    end
    local.get 2
    call $allocate
    local.tee 3
    i32.eqz
    if ;; label = @1
      i32.const 0
      return
    end
    local.get 0
    if ;; label = @1
      local.get 3
      local.get 0
      local.get 1
      memory.copy
      local.get 0
      call $release
    end
    local.get 3
  )
  (func $cabi_import_realloc (;13;) (type 9) (param i32 i32 i32 i32) (result i32)
    (local i32)
    local.get 3
    i32.eqz
    if ;; label = @1
      local.get 2
      return
    end
    global.get $buffer_state
    i32.const 1
    i32.eq
    local.get 0
    i32.eqz
    i32.and
    local.get 3
    global.get $buffer_max
    i32.le_u
    i32.and
    if ;; label = @1
      i32.const 2
      global.set $buffer_state
      global.get $buffer
      return
    end
    global.get $buffer_state
    i32.const 2
    i32.eq
    local.get 0
    global.get $buffer
    i32.eq
    i32.and
    if ;; label = @1
      local.get 3
      global.get $buffer_max
      i32.le_u
      if ;; label = @2
        local.get 0
        return
      end
      local.get 3
      call $allocate
      local.tee 4
      if ;; label = @2
        local.get 4
        local.get 0
        local.get 1
        memory.copy
      end
    else
      local.get 0
      local.get 1
      local.get 3
      call $reallocate
      local.set 4
    end
    local.get 4
    i32.eqz
    if ;; label = @1
      unreachable
    end
    local.get 4
  )
  (func $find (;14;) (type 10) (param i32 i32) (result i32)
    (local i32 i32 i32 i32 i32 i32)
    local.get 0
    i32.load offset=4
    local.tee 4
    i32.eqz
    if ;; label = @1
      i32.const 0
      return
    end
    local.get 0
    i32.load
    local.set 2
    local.get 1
    local.get 2
    i32.load
    i32.sub
    local.tee 6
    local.get 4
    i32.const 1
    i32.sub
    local.get 6
    local.get 4
    i32.lt_u
    select
    local.set 6
    block ;; label = @1
      loop ;; label = @2
        local.get 2
        local.get 6
        i32.const 32
        i32.mul
        i32.add
        local.tee 5
        i32.load
        local.tee 7
        local.get 1
        i32.eq
        br_if 1 (;@1;)
        local.get 7
        local.get 1
        i32.lt_u
        if ;; label = @3
          local.get 6
          i32.const 1
          i32.add
          local.set 3
        else
          local.get 6
          local.set 4
        end
        local.get 3
        local.get 4
        i32.ge_u
        if ;; label = @3
          i32.const 0
          return
        end
        local.get 3
        local.get 4
        i32.add
        i32.const 1
        i32.shr_u
        local.set 6
        br 0 (;@2;)
      end
    end
    local.get 5
    i32.const 0
    local.get 5
    i32.load offset=4
    select
  )
  (func $reserve (;15;) (type 1) (param i32) (result i32)
    (local i32 i32 i32 i32 i32)
    local.get 0
    i32.load offset=16
    i32.const -1
    i32.eq
    if ;; label = @1
      i32.const 0
      return
    end
    local.get 0
    i32.load offset=4
    local.get 0
    i32.load offset=8
    local.tee 1
    i32.lt_u
    if ;; label = @1
      i32.const 1
      return
    end
    local.get 0
    i32.load
    local.tee 3
    local.set 2
    local.get 0
    i32.load offset=12
    i32.const 1
    i32.shl
    local.get 1
    i32.ge_u
    if ;; label = @1
      local.get 1
      i32.const 33554432
      i32.gt_u
      if ;; label = @2
        i32.const 0
        return
      end
      local.get 1
      i32.const 1
      i32.shl
      i32.const 4
      i32.or
      local.tee 1
      i32.const 32
      i32.mul
      call $allocate
      local.tee 2
      i32.eqz
      if ;; label = @2
        i32.const 0
        return
      end
    end
    local.get 3
    local.get 0
    i32.load offset=4
    i32.const 32
    i32.mul
    i32.add
    local.set 4
    local.get 2
    local.set 5
    block ;; label = @1
      loop ;; label = @2
        local.get 3
        local.get 4
        i32.eq
        br_if 1 (;@1;)
        local.get 3
        i32.load offset=4
        if ;; label = @3
          local.get 5
          local.get 3
          i32.const 32
          memory.copy
          local.get 5
          i32.const 32
          i32.add
          local.set 5
        end
        local.get 3
        i32.const 32
        i32.add
        local.set 3
        br 0 (;@2;)
      end
    end
    local.get 0
    i32.load
    local.tee 3
    local.get 2
    i32.ne
    if ;; label = @1
      local.get 3
      call $release
    end
    local.get 0
    local.get 2
    i32.store
    local.get 0
    local.get 1
    i32.store offset=8
    local.get 0
    local.get 0
    i32.load offset=12
    i32.store offset=4
    i32.const 1
  )
  (func $append (;16;) (type 10) (param i32 i32) (result i32)
    (local i32)
    local.get 0
    i32.load
    local.get 0
    i32.load offset=4
    i32.const 32
    i32.mul
    i32.add
    local.tee 2
    i32.const 0
    i32.const 32
    memory.fill
    local.get 2
    local.get 0
    i32.load offset=16
    i32.store
    local.get 2
    local.get 1
    i32.store offset=4
    local.get 0
    local.get 0
    i32.load offset=16
    i32.const 1
    i32.add
    i32.store offset=16
    local.get 0
    local.get 0
    i32.load offset=4
    i32.const 1
    i32.add
    i32.store offset=4
    local.get 0
    local.get 0
    i32.load offset=12
    i32.const 1
    i32.add
    i32.store offset=12
    local.get 2
  )
  (func $remove (;17;) (type 4) (param i32 i32)
    local.get 1
    i32.const 0
    i32.store offset=4
    local.get 0
    local.get 0
    i32.load offset=12
    i32.const -1
    i32.add
    i32.store offset=12
  )
  (func $keep_input (;18;) (type 11) (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (local i32 i32 i32 i32 i64)
    local.get 3
    i32.const 30
    i32.shr_u
    if ;; label = @1
      unreachable
    end
    local.get 3
    i64.extend_i32_u
    i64.const 2
    i64.shl
    local.get 6
    i64.extend_i32_u
    i64.add
    i64.const 60
    i64.add
    local.tee 11
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    if ;; label = @1
      i32.const 0
      return
    end
    local.get 0
    i32.load offset=12
    local.tee 8
    local.set 9
    block ;; label = @1
      loop ;; label = @2
        local.get 0
        i32.load offset=8
        local.get 9
        i32.const 24
        i32.mul
        i32.add
        local.set 7
        local.get 9
        i32.eqz
        br_if 1 (;@1;)
        local.get 7
        i32.const 24
        i32.sub
        i32.load
        local.get 1
        i32.lt_u
        br_if 1 (;@1;)
        local.get 9
        i32.const 1
        i32.sub
        local.set 9
        br 0 (;@2;)
      end
    end
    block ;; label = @1
      local.get 9
      local.get 8
      i32.lt_u
      if ;; label = @2
        local.get 7
        i32.load
        local.get 1
        i32.eq
        if ;; label = @3
          local.get 7
          i32.load offset=4
          i32.const 0
          local.get 11
          i32.wrap_i64
          call $reallocate
          local.tee 10
          i32.eqz
          if ;; label = @4
            i32.const 0
            return
          end
          br 2 (;@1;)
        end
      end
      local.get 0
      i32.load offset=8
      local.get 8
      i32.const 24
      i32.mul
      local.get 8
      i32.const 1
      i32.add
      i32.const 24
      i32.mul
      call $reallocate
      local.tee 7
      i32.eqz
      if ;; label = @2
        i32.const 0
        return
      end
      local.get 0
      local.get 7
      i32.store offset=8
      local.get 11
      i32.wrap_i64
      call $allocate
      local.tee 10
      i32.eqz
      if ;; label = @2
        i32.const 0
        return
      end
      local.get 7
      local.get 9
      i32.const 24
      i32.mul
      i32.add
      local.tee 7
      i32.const 24
      i32.add
      local.get 7
      local.get 8
      local.get 9
      i32.sub
      i32.const 24
      i32.mul
      memory.copy
      local.get 7
      local.get 1
      i32.store
      local.get 0
      local.get 0
      i32.load offset=12
      i32.const 1
      i32.add
      i32.store offset=12
    end
    local.get 7
    local.get 10
    i32.store offset=4
    local.get 7
    local.get 3
    i32.store offset=8
    local.get 7
    local.get 4
    i32.store offset=12
    local.get 7
    local.get 6
    i32.store offset=16
    block ;; label = @1
      loop ;; label = @2
        local.get 3
        i32.eqz
        br_if 1 (;@1;)
        local.get 10
        local.get 2
        i32.load align=1
        i32.store
        local.get 10
        i32.const 4
        i32.add
        local.set 10
        local.get 2
        i32.const 4
        i32.add
        local.set 2
        local.get 3
        i32.const -1
        i32.add
        local.set 3
        br 0 (;@2;)
      end
    end
    local.get 7
    local.get 10
    i32.const 63
    i32.add
    i32.const -64
    i32.and
    local.tee 10
    i32.store offset=20
    block ;; label = @1
      loop ;; label = @2
        local.get 6
        i32.const 65536
        i32.le_u
        br_if 1 (;@1;)
        local.get 10
        local.get 6
        i32.const -65536
        i32.add
        local.tee 6
        i32.add
        local.get 5
        local.get 6
        i32.add
        i32.const 65536
        memory.copy
        br 0 (;@2;)
      end
    end
    local.get 10
    local.get 5
    local.get 6
    memory.copy
    i32.const 1
  )
  (func $release_inputs (;19;) (type 2) (param i32)
    (local i32 i32)
    local.get 0
    i32.load offset=8
    local.set 1
    local.get 0
    i32.load offset=12
    local.set 2
    block ;; label = @1
      loop ;; label = @2
        local.get 2
        i32.eqz
        br_if 1 (;@1;)
        local.get 1
        i32.load offset=4
        call $release
        local.get 1
        i32.const 24
        i32.add
        local.set 1
        local.get 2
        i32.const 1
        i32.sub
        local.set 2
        br 0 (;@2;)
      end
    end
    local.get 0
    i32.load offset=8
    call $release
  )
  (func $write_decimal (;20;) (type 10) (param i32 i32) (result i32)
    (local i32 i32 i32)
    local.get 1
    local.set 2
    loop ;; label = @1
      local.get 3
      i32.const 1
      i32.add
      local.set 3
      local.get 2
      i32.const 10
      i32.div_u
      local.tee 2
      br_if 0 (;@1;)
    end
    local.get 0
    local.get 3
    i32.add
    local.set 4
    loop ;; label = @1
      local.get 4
      i32.const 1
      i32.sub
      local.tee 4
      local.get 1
      i32.const 10
      i32.rem_u
      i32.const 48
      i32.add
      i32.store8
      local.get 1
      i32.const 10
      i32.div_u
      local.tee 1
      br_if 0 (;@1;)
    end
    local.get 3
  )
  (func $write_input_name (;21;) (type 10) (param i32 i32) (result i32)
    local.get 0
    local.get 1
    call $write_decimal
  )
  (func $parse_decimal (;22;) (type 3) (param i32 i32 i32)
    (local i32 i64)
    local.get 2
    i64.const -1
    i64.store align=4
    block ;; label = @1
      local.get 1
      i32.const 1
      i32.sub
      i32.const 9
      i32.gt_u
      br_if 0 (;@1;)
      local.get 0
      i32.load8_u
      i32.const 48
      i32.eq
      local.get 1
      i32.const 1
      i32.ne
      i32.and
      br_if 0 (;@1;)
      loop ;; label = @2
        local.get 0
        i32.load8_u
        i32.const 48
        i32.sub
        local.tee 3
        i32.const 9
        i32.gt_u
        br_if 1 (;@1;)
        local.get 4
        i64.const 10
        i64.mul
        local.get 3
        i64.extend_i32_u
        i64.add
        local.set 4
        local.get 0
        i32.const 1
        i32.add
        local.set 0
        local.get 1
        i32.const 1
        i32.sub
        local.tee 1
        br_if 0 (;@2;)
      end
      local.get 2
      local.get 4
      i64.store align=4
    end
  )
  (func $keep_outputs (;23;) (type 3) (param i32 i32 i32)
    (local i32 i32)
    local.get 0
    i32.load offset=16
    call $release
    local.get 0
    local.get 1
    i32.const 0
    local.get 2
    select
    i32.store offset=16
    local.get 0
    local.get 2
    i32.store offset=20
    block ;; label = @1
      loop ;; label = @2
        local.get 2
        i32.eqz
        br_if 1 (;@1;)
        local.get 1
        i32.load
        local.tee 3
        local.get 1
        i32.load offset=4
        local.tee 4
        local.get 1
        i32.const 0
        i32.add
        call $parse_decimal
        local.get 4
        if ;; label = @3
          local.get 3
          call $release
        end
        local.get 1
        i32.const 12
        i32.add
        local.set 1
        local.get 2
        i32.const 1
        i32.sub
        local.set 2
        br 0 (;@2;)
      end
    end
  )
  (func $find_output (;24;) (type 10) (param i32 i32) (result i32)
    (local i32 i32 i32)
    local.get 0
    i32.load offset=16
    local.set 2
    local.get 1
    local.get 0
    i32.load offset=20
    local.tee 3
    i32.lt_u
    if ;; label = @1
      local.get 2
      local.get 1
      i32.const 12
      i32.mul
      i32.add
      local.tee 4
      i64.load align=4
      local.get 1
      i64.extend_i32_u
      i64.eq
      if ;; label = @2
        local.get 4
        return
      end
    end
    block ;; label = @1
      loop ;; label = @2
        local.get 3
        i32.eqz
        br_if 1 (;@1;)
        local.get 2
        i64.load align=4
        local.get 1
        i64.extend_i32_u
        i64.eq
        if ;; label = @3
          local.get 2
          return
        end
        local.get 2
        i32.const 12
        i32.add
        local.set 2
        local.get 3
        i32.const 1
        i32.sub
        local.set 3
        br 0 (;@2;)
      end
    end
    local.get 4
  )
  (func $is_text (;25;) (type 10) (param i32 i32) (result i32)
    (local i32 i32 i32)
    block ;; label = @1
      loop ;; label = @2
        local.get 1
        i32.eqz
        if ;; label = @3
          i32.const 1
          return
        end
        local.get 0
        i32.load8_u
        local.set 2
        local.get 0
        i32.const 1
        i32.add
        local.set 0
        local.get 1
        i32.const 1
        i32.sub
        local.set 1
        local.get 2
        i32.const 128
        i32.lt_u
        br_if 0 (;@2;)
        local.get 2
        i32.const 194
        i32.sub
        i32.const 50
        i32.gt_u
        br_if 1 (;@1;)
        local.get 2
        i32.const 224
        i32.ge_u
        local.get 2
        i32.const 240
        i32.ge_u
        i32.add
        local.tee 4
        local.get 1
        i32.ge_u
        br_if 1 (;@1;)
        local.get 0
        i32.load8_u
        local.tee 3
        i32.const 192
        i32.and
        i32.const 128
        i32.ne
        br_if 1 (;@1;)
        local.get 2
        i32.const 8
        i32.shl
        local.get 3
        i32.or
        local.tee 3
        i32.const 57472
        i32.sub
        i32.const 32
        i32.lt_u
        br_if 1 (;@1;)
        local.get 3
        i32.const 60832
        i32.sub
        i32.const 32
        i32.lt_u
        br_if 1 (;@1;)
        local.get 3
        i32.const 61568
        i32.sub
        i32.const 16
        i32.lt_u
        br_if 1 (;@1;)
        local.get 3
        i32.const 62608
        i32.sub
        i32.const 48
        i32.lt_u
        br_if 1 (;@1;)
        local.get 0
        i32.const 1
        i32.add
        local.set 0
        local.get 1
        i32.const 1
        i32.sub
        local.set 1
        loop ;; label = @3
          local.get 4
          i32.eqz
          br_if 1 (;@2;)
          local.get 0
          i32.load8_u
          i32.const 192
          i32.and
          i32.const 128
          i32.ne
          br_if 2 (;@1;)
          local.get 0
          i32.const 1
          i32.add
          local.set 0
          local.get 1
          i32.const 1
          i32.sub
          local.set 1
          local.get 4
          i32.const 1
          i32.sub
          local.set 4
          br 0 (;@3;)
        end
      end
    end
    i32.const 0
  )
  (func $align (;26;) (type 8) (param i32 i32 i32) (result i32)
    (local i64)
    local.get 0
    i32.const 3
    i32.and
    i32.eqz
    if ;; label = @1
      i32.const 0
      return
    end
    local.get 1
    i64.extend_i32_u
    local.get 2
    i64.extend_i32_u
    i64.mul
    local.tee 3
    i64.const 32
    i64.shr_u
    i32.wrap_i64
    if ;; label = @1
      i32.const 0
      return
    end
    local.get 3
    i32.wrap_i64
    call $allocate
    local.tee 2
    if ;; label = @1
      local.get 2
      local.get 0
      local.get 3
      i32.wrap_i64
      memory.copy
    end
    local.get 2
  )
  (func $settle (;27;) (type 6) (param i32 i32 i32 i32)
    local.get 1
    i32.eqz
    local.get 0
    local.get 2
    i32.eq
    i32.or
    if ;; label = @1
      return
    end
    local.get 1
    local.get 3
    i32.le_u
    if ;; label = @1
      local.get 2
      local.get 0
      local.get 1
      memory.copy
    end
    local.get 0
    call $release
  )
  (func $shape_size (;28;) (type 8) (param i32 i32 i32) (result i32)
    (local i64)
    local.get 2
    i64.extend_i32_u
    local.set 3
    block ;; label = @1
      loop ;; label = @2
        local.get 1
        i32.eqz
        br_if 1 (;@1;)
        local.get 3
        local.get 0
        i64.load32_u align=1
        i64.mul
        local.tee 3
        i64.const 4294967295
        i64.gt_u
        if ;; label = @3
          i32.const -1
          return
        end
        local.get 0
        i32.const 4
        i32.add
        local.set 0
        local.get 1
        i32.const 1
        i32.sub
        local.set 1
        br 0 (;@2;)
      end
    end
    local.get 3
    i32.wrap_i64
  )
  (func $errno (;29;) (type 1) (param i32) (result i32)
    (local i32)
    local.get 0
    call 1
    local.set 1
    local.get 0
    call 2
    i64.const 5
    i64.const 434605086476665345
    local.get 1
    i32.const 8
    i32.ge_u
    select
    local.get 1
    i64.extend_i32_u
    i64.const 3
    i64.shl
    i64.shr_u
    i32.wrap_i64
    i32.const 255
    i32.and
  )
  (func $load (;30;) (type 5) (param i32 i32 i32 i32 i32) (result i32)
    (local i32 i32 i32 i32 i32 i32 i32)
    local.get 2
    local.tee 5
    i32.const 6
    i32.ge_u
    if ;; label = @1
      i32.const 2
      return
    end
    i64.const 6614300098816
    local.get 5
    i64.extend_i32_u
    i64.const 3
    i64.shl
    i64.shr_u
    i32.wrap_i64
    i32.const 255
    i32.and
    local.set 5
    local.get 3
    local.tee 6
    i32.const 3
    i32.ge_u
    if ;; label = @1
      i32.const 1
      return
    end
    call $prepare
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    global.get $state
    i32.const 32
    i32.add
    call $reserve
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    local.get 0
    local.tee 7
    local.get 1
    i32.const 8
    call $align
    local.tee 8
    if ;; label = @1
      local.get 8
      local.set 7
    end
    local.get 7
    local.get 1
    local.get 5
    local.get 6
    global.get $state
    call 0
    local.get 8
    call $release
    global.get $state
    i32.load8_u
    if ;; label = @1
      global.get $state
      i32.load offset=4
      call $errno
      return
    end
    global.get $state
    i32.load offset=4
    local.set 9
    global.get $state
    i32.const 32
    i32.add
    local.get 9
    call $append
    local.tee 11
    i32.load
    local.set 10
    local.get 4
    local.get 10
    i32.store align=1
    i32.const 0
    return
  )
  (func $load_by_name (;31;) (type 8) (param i32 i32 i32) (result i32)
    (local i32 i32 i32)
    call $prepare
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    local.get 0
    local.get 1
    call $is_text
    i32.eqz
    if ;; label = @1
      i32.const 1
      return
    end
    global.get $state
    i32.const 32
    i32.add
    call $reserve
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    local.get 0
    local.get 1
    global.get $state
    call 3
    global.get $state
    i32.load8_u
    if ;; label = @1
      global.get $state
      i32.load offset=4
      call $errno
      return
    end
    global.get $state
    i32.load offset=4
    local.set 3
    global.get $state
    i32.const 32
    i32.add
    local.get 3
    call $append
    local.tee 5
    i32.load
    local.set 4
    local.get 2
    local.get 4
    i32.store align=1
    i32.const 0
    return
  )
  (func $init_execution_context (;32;) (type 10) (param i32 i32) (result i32)
    (local i32 i32 i32 i32 i32)
    call $prepare
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    global.get $state
    i32.const 32
    i32.add
    local.get 0
    call $find
    local.tee 2
    i32.eqz
    if ;; label = @1
      i32.const 1
      return
    end
    local.get 2
    i32.load offset=4
    local.set 3
    global.get $state
    i32.const 52
    i32.add
    call $reserve
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    local.get 3
    global.get $state
    call 4
    global.get $state
    i32.load8_u
    if ;; label = @1
      global.get $state
      i32.load offset=4
      call $errno
      return
    end
    global.get $state
    i32.load offset=4
    local.set 4
    global.get $state
    i32.const 52
    i32.add
    local.get 4
    call $append
    local.tee 6
    i32.load
    local.set 5
    local.get 1
    local.get 5
    i32.store align=1
    i32.const 0
    return
  )
  (func $set_input (;33;) (type 8) (param i32 i32 i32) (result i32)
    (local i32 i32 i32 i32 i32 i32 i32 i32 i32)
    call $prepare
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    global.get $state
    i32.const 52
    i32.add
    local.get 0
    call $find
    local.tee 3
    i32.eqz
    if ;; label = @1
      i32.const 1
      return
    end
    local.get 3
    i32.load offset=4
    local.set 4
    local.get 2
    i32.load8_u offset=8
    local.tee 5
    local.tee 6
    i32.const 6
    i32.ge_u
    if ;; label = @1
      i32.const 1
      return
    end
    i64.const 6618611843328
    local.get 6
    i64.extend_i32_u
    i64.const 3
    i64.shl
    i64.shr_u
    i32.wrap_i64
    i32.const 255
    i32.and
    local.set 6
    local.get 2
    i32.load align=1
    local.set 7
    local.get 2
    i32.load offset=4 align=1
    local.set 8
    local.get 2
    i32.load offset=12 align=1
    local.set 9
    local.get 2
    i32.load offset=16 align=1
    local.set 10
    local.get 6
    i32.const 2
    i32.eq
    if ;; label = @1
      local.get 10
      i32.const 0
      i32.gt_u
      if ;; label = @2
        local.get 7
        local.get 8
        i32.const 1
        call $shape_size
        local.get 10
        i32.eq
        if ;; label = @3
          i32.const 4
          local.set 6
        end
      end
    end
    local.get 6
    i32.const 4
    i32.eq
    if ;; label = @1
      local.get 10
      i32.const 7
      i32.gt_u
      if ;; label = @2
        local.get 7
        local.get 8
        i32.const 4
        call $shape_size
        local.get 10
        i32.eq
        if ;; label = @3
          i32.const 5
          local.set 6
        end
      end
    end
    local.get 3
    local.get 1
    local.get 7
    local.get 8
    local.get 6
    local.get 9
    local.get 10
    call $keep_input
    local.tee 11
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    i32.const 0
    return
  )
  (func $get_output (;34;) (type 5) (param i32 i32 i32 i32 i32) (result i32)
    (local i32 i32 i32 i32 i32)
    call $prepare
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    global.get $state
    i32.const 52
    i32.add
    local.get 0
    call $find
    local.tee 5
    i32.eqz
    if ;; label = @1
      i32.const 1
      return
    end
    local.get 5
    i32.load offset=4
    local.set 6
    local.get 5
    local.get 1
    call $find_output
    local.tee 7
    i32.eqz
    if ;; label = @1
      i32.const 5
      return
    end
    local.get 7
    i32.load offset=8
    local.set 8
    local.get 2
    global.set $buffer
    local.get 3
    global.set $buffer_max
    i32.const 1
    global.set $buffer_state
    local.get 8
    global.get $state
    call 5
    i32.const 0
    global.set $buffer_state
    global.get $state
    i32.load
    global.get $state
    i32.load offset=4
    local.tee 9
    local.get 2
    local.get 3
    call $settle
    local.get 9
    local.get 3
    i32.gt_u
    if ;; label = @1
      i32.const 7
      return
    end
    local.get 4
    local.get 9
    i32.store align=1
    i32.const 0
    return
  )
  (func $compute (;35;) (type 1) (param i32) (result i32)
    (local i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)
    call $prepare
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    global.get $state
    i32.const 52
    i32.add
    local.get 0
    call $find
    local.tee 1
    i32.eqz
    if ;; label = @1
      i32.const 1
      return
    end
    local.get 1
    i32.load offset=4
    local.set 2
    local.get 1
    i32.load offset=12
    local.tee 3
    i32.const 24
    i32.mul
    local.tee 4
    call $allocate
    local.tee 5
    i32.eqz
    if ;; label = @1
      i32.const 7
      return
    end
    local.get 5
    local.set 6
    local.get 3
    i32.const 12
    i32.mul
    local.tee 7
    local.get 5
    i32.add
    local.set 7
    local.get 1
    i32.load offset=8
    local.set 8
    block ;; label = @1
      loop ;; label = @2
        local.get 8
        local.get 1
        i32.load offset=8
        local.get 1
        i32.load offset=12
        i32.const 24
        i32.mul
        i32.add
        i32.eq
        br_if 1 (;@1;)
        local.get 8
        i32.load
        local.set 9
        local.get 7
        local.get 9
        call $write_decimal
        local.set 10
        local.get 8
        i32.load offset=4
        local.set 11
        local.get 8
        i32.load offset=8
        local.set 12
        local.get 8
        i32.load offset=12
        local.set 13
        local.get 8
        i32.load offset=20
        local.set 14
        local.get 8
        i32.load offset=16
        local.set 15
        local.get 11
        local.get 12
        local.get 13
        local.get 14
        local.get 15
        call 6
        local.set 16
        local.get 6
        local.get 7
        i32.store
        local.get 6
        local.get 10
        i32.store offset=4
        local.get 6
        local.get 16
        i32.store offset=8
        local.get 6
        i32.const 12
        i32.add
        local.set 6
        local.get 7
        i32.const 12
        i32.add
        local.set 7
        local.get 8
        i32.const 24
        i32.add
        local.set 8
        br 0 (;@2;)
      end
    end
    local.get 2
    local.get 5
    local.get 3
    global.get $state
    call 7
    local.get 5
    call $release
    global.get $state
    i32.load8_u
    if ;; label = @1
      global.get $state
      i32.load offset=4
      call $errno
      return
    end
    global.get $state
    i32.load offset=4
    local.set 17
    global.get $state
    i32.load offset=8
    local.set 18
    local.get 1
    i32.load offset=16
    local.set 19
    block ;; label = @1
      loop ;; label = @2
        local.get 19
        local.get 1
        i32.load offset=16
        local.get 1
        i32.load offset=20
        i32.const 12
        i32.mul
        i32.add
        i32.eq
        br_if 1 (;@1;)
        local.get 19
        i32.load offset=8
        local.tee 20
        call 8
        local.get 19
        i32.const 12
        i32.add
        local.set 19
        br 0 (;@2;)
      end
    end
    local.get 1
    local.get 17
    local.get 18
    call $keep_outputs
    i32.const 0
    return
  )
)

;; Changes nothing in its state, without end: each change costs the host its place in a list.
(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (loop (call $write (i32.const 0) (i32.const 0)) (br 0)) unreachable)

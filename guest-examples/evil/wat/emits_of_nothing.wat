;; Puts out frames of nothing, without end: each costs the host its place in a list.
(import "thalweg:udf/outputs@1.0.0" "emit" (func $emit (param i32 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (loop (call $emit (i32.const 0) (i32.const 0)) (br 0)) unreachable)

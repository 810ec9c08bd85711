;; Walks over the entries of a slot that has none.
(import "thalweg:udf/state@1.0.0" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $scan (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 32)) (call $ok))

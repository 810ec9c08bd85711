;; Reads the state of a group that it was not given.
(import "thalweg:udf/state@1.0.0" "read" (func $read (param i32 i32 i32 i32)))
(data (i32.const 0) (i32 1000000))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)) (call $ok))

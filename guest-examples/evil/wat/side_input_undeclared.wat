;; Reads a side input that it does not describe.
(import "thalweg:udf/side-inputs@1.0.0" "read"
  (func $read (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $read (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 32)) (call $ok))

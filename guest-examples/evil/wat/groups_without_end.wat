;; Asks for the state of more groups than there are.
(import "thalweg:udf/state@1.0.0" "read" (func $read (param i32 i32 i32 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $read (i32.const 0) (i32.const 65536) (i32.const 900000) (i32.const 32)) (call $ok))

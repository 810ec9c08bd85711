;; Logs bytes that are no text.
(import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(data (i32.const 0) (i8 0xff 0xfe 0xc0 0x80))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4)) (call $ok))

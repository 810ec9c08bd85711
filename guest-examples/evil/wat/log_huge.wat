;; Writes one line of three million bytes: it is cut, and nothing is wrong.
(import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (memory.fill (i32.const 65536) (i32.const 65) (i32.const 3000000))
  (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 3000000)) (call $ok))

;; Asks for as many random bytes as there are numbers.
(import "wasi:random/random@0.2.9" "get-random-bytes" (func $random (param i64 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $random (i64.const -1) (i32.const 32)) (call $ok))

;; Looks up a table that it does not describe.
(import "thalweg:udf/tables@1.0.0" "lookup" (func $lookup (param i32 i32 i32 i32)))
(data (i32.const 0) (i32 22 8  0 0))  ;; SUBKEYS: none
(func $call (param i32 i32 i32 i32) (result i32)
  (call $lookup (i32.const 5) (i32.const 0) (i32.const 16) (i32.const 32)) (call $ok))

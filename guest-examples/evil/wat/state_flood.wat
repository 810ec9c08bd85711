;; Writes state without end.
(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))
(data (i32.const 20480)
  (i32 20 1000024  1 1  0 1  0 1000000))  ;; CELL_OPS: slot 1, group 0, append a million bytes
(func $call (param i32 i32 i32 i32) (result i32)
  (loop (call $write (i32.const 20480) (i32.const 1000032)) (br 0)) unreachable)

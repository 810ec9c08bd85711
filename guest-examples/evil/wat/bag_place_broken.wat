;; Reads a page of a bag from where nothing begins: a place cut off.
(import "thalweg:udf/state@1.0.0" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(data (i32.const 16384) (i32 0x02))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $scan (i32.const 1) (i32.const 0) (i32.const 16384) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 32)) (call $ok))

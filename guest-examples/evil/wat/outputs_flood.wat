;; Puts out a million frames for one element.
(import "thalweg:udf/outputs@1.0.0" "emit" (func $emit (param i32 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (loop (call $emit (i32.const 16384) (i32.const 65536)) (br 0)) unreachable)

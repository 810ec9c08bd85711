;; Writes a hundred thousand lines and then returns: the rate bounds what is kept, and nothing is wrong.
(import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (local i32)
  (loop
    (call $log (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 100))
    (br_if 0 (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 100000))))
  (call $ok))

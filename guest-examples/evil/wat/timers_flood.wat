;; Sets one timer after the other, without end.
(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))
(data (i32.const 20480)
  (i32 21 52  1 0  0 0 0 0  1 0  0 0x80000000  0 4  0 0))  ;; TIMER_OPS: group 0, family 0, set by row 0; the tag follows
(func $call (param i32 i32 i32 i32) (result i32)
  (local i32)
  (loop
    (i32.store (i32.const 20536) (local.tee 4 (i32.add (local.get 4) (i32.const 1))))
    (call $write (i32.const 20480) (i32.const 64))
    (br 0))
  unreachable)

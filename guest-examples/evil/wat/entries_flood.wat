;; Writes one entry of a map after the other, without end.
(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))
(data (i32.const 20480)
  (i32 26 36  2 1  0 0  0 4  4 4  0 0))  ;; SUBCELL_OPS: slot 2, group 0, put; the key follows
(func $call (param i32 i32 i32 i32) (result i32)
  (local i32)
  (loop
    (i32.store (i32.const 20520) (local.tee 4 (i32.add (local.get 4) (i32.const 1))))
    (call $write (i32.const 20480) (i32.const 48))
    (br 0))
  unreachable)

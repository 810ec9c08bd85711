;; Appends the same million bytes a thousand times with one small frame.
(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))
(data (i32.const 20480)
  (i32 20 1016008  1 1000))  ;; CELL_OPS: slot 1, 1000 ops; the bytes are those of the memory behind them
(func $call (param i32 i32 i32 i32) (result i32)
  (local i32)
  (loop
    (i32.store (i32.add (i32.const 20500) (i32.shl (local.get 4) (i32.const 4))) (i32.const 1))
    (i32.store (i32.add (i32.const 20508) (i32.shl (local.get 4) (i32.const 4))) (i32.const 1000000))
    (br_if 0 (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 1000))))
  (call $write (i32.const 20480) (i32.const 1016016))
  (call $ok))

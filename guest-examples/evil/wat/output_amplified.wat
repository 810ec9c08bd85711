;; Puts out a hundred rows that all have the same three million bytes.
(data (i32.const 16384)
  (i32 1 8  1 100)        ;; HEADER: layout 1, 100 rows
  (i32 9 3000000)         ;; ARENA: what stands in memory up to VALUE, whatever it is
)
(global $frame_bytes i32 (i32.const 3001240))
(data (i32.const 3016408)
  (i32 8 800))            ;; VALUE: filled by the call
(data (i32.const 3017216)
  (i32 11 400))           ;; SOURCE: row 0, a hundred times
(func $call (param i32 i32 i32 i32) (result i32)
  (local i32)
  (loop
    (i32.store (i32.add (i32.const 3016420) (i32.shl (local.get 4) (i32.const 3))) (i32.const 3000000))
    (br_if 0 (i32.lt_u (local.tee 4 (i32.add (local.get 4) (i32.const 1))) (i32.const 100))))
  (call $ok))

;; Writes a slot that it does not describe.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 20 24  99 1  0 0  0 0)  ;; CELL_OPS: slot 99, group 0, set
)
(global $frame_bytes i32 (i32.const 48))

;; Appends to a slot that holds one value.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 20 24  0 1  0 1  0 0)  ;; CELL_OPS: slot 0, group 0, append
)
(global $frame_bytes i32 (i32.const 48))

;; Writes the state of a group that it was not given: the key of somebody else.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 20 24  0 1  1000000 0  0 0)  ;; CELL_OPS: slot 0, group 1000000, set
)
(global $frame_bytes i32 (i32.const 48))

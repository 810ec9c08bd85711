;; Lists a row as failed that it was not given.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 24 32  1 0  99 0  0 0  0 0)  ;; FAILED: row 99
)
(global $frame_bytes i32 (i32.const 56))

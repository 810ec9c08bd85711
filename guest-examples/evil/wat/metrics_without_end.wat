;; Lists more metrics than there may be.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 25 8  1000000 0)   ;; METRICS: a million, of which none is there
)
(global $frame_bytes i32 (i32.const 32))

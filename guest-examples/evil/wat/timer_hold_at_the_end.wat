;; Holds the watermark at a time behind the end of time.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 21 48  1 0  0 0 0 0  1 0  -1 0x7fffffff  0 0)  ;; TIMER_OPS: hold at the largest number
)
(global $frame_bytes i32 (i32.const 72))

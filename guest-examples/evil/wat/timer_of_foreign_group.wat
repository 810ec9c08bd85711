;; Sets a timer of a group that it was not given.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 21 48  1 0  77 0 0 0  1 0  1 0  0 0)  ;; TIMER_OPS: group 77, family 0
)
(global $frame_bytes i32 (i32.const 72))

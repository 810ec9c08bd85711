;; Says that there are two rows and has a column of one.
(data (i32.const 16384)
  (i32 1 8  1 2)          ;; HEADER: layout 1, two rows
  (i32 8 8  0 0)          ;; VALUE: from 0 to 0
  (i32 9 0)               ;; ARENA
)
(global $frame_bytes i32 (i32.const 40))

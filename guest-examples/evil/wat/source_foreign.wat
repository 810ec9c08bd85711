;; Says that a row comes from a row that it was not given.
(data (i32.const 16384)
  (i32 1 8  1 1)          ;; HEADER: layout 1, one row
  (i32 8 8  0 0)          ;; VALUE: from 0 to 0
  (i32 9 0)               ;; ARENA
  (i32 11 4  99 0)        ;; SOURCE: row 99
)
(global $frame_bytes i32 (i32.const 56))

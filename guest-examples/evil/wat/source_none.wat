;; Says that a row comes from no row, and gives it no windows.
(data (i32.const 16384)
  (i32 1 8  1 1)          ;; HEADER: layout 1, one row
  (i32 8 8  0 0)          ;; VALUE: from 0 to 0
  (i32 9 0)               ;; ARENA
  (i32 11 4  -1 0)        ;; SOURCE: none
)
(global $frame_bytes i32 (i32.const 56))

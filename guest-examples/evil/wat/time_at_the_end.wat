;; Gives a row a time behind the end of time.
(data (i32.const 16384)
  (i32 1 8  1 1)          ;; HEADER: layout 1, one row
  (i32 4 8  -1 0x7fffffff)  ;; TIME: the largest number
  (i32 8 8  0 0)          ;; VALUE: from 0 to 0
  (i32 9 0)               ;; ARENA
)
(global $frame_bytes i32 (i32.const 56))

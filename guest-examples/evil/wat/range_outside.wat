;; Has a value outside of the bytes of its frame.
(data (i32.const 16384)
  (i32 1 8  1 1)          ;; HEADER: layout 1, one row
  (i32 8 8  0 1)          ;; VALUE: from 0 to 1
  (i32 9 0)               ;; ARENA
)
(global $frame_bytes i32 (i32.const 40))

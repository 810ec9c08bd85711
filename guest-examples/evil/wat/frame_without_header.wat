;; Returns a frame that does not begin with its header.
(data (i32.const 16384)
  (i32 8 8  0 0)          ;; VALUE: from 0 to 0
  (i32 9 0)               ;; ARENA
)
(global $frame_bytes i32 (i32.const 24))

;; Returns a frame of a layout that does not exist.
(data (i32.const 16384)
  (i32 1 8  99 0)         ;; HEADER: layout 99
)
(global $frame_bytes i32 (i32.const 16))

;; Makes a window that ends before it begins.
(data (i32.const 16384)
  (i32 1 8  1 1)          ;; HEADER: layout 1, one row
  (i32 5 4  0 0)          ;; WINDOWS: entry 0
  (i32 16 33  1 0  0 13  9  0x80 0)   ;; WINDOW_SETS: one entry, 13 bytes: a window of 9 bytes
  (i8 0 0 0 0 1 0 0 0)
  (i8 0 0 0 0 0 0 0)
  (i32 8 8  0 0)          ;; VALUE: from 0 to 0
  (i32 9 0)               ;; ARENA
)
(global $frame_bytes i32 (i32.const 96))

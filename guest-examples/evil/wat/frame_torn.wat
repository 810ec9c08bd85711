;; Ends in the middle of the head of a section.
(data (i32.const 16384)
  (i32 1 8  1 1)          ;; HEADER: layout 1, one row
  (i32 8)
)
(global $frame_bytes i32 (i32.const 20))

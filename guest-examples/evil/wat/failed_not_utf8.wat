;; Lists a row as failed with a code that is no text.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 24 36  1 0  0 0  0 4  0 4)  ;; FAILED: row 0
  (i8 0xff 0xfe 0xc0 0x80  0 0 0 0)
)
(global $frame_bytes i32 (i32.const 64))

;; Has a section whose length brings the next one to an address before it: they would overlap.
(data (i32.const 16384)
  (i32 1 8  1 1)          ;; HEADER: layout 1, one row
  (i32 8 -8  0 0)         ;; VALUE, as long as there are numbers
)
(global $frame_bytes i32 (i32.const 32))

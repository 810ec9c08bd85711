;; Lists both rows as failed, again and again, with the same long text.
(data (i32.const 16384)
  (i32 1 8  1 0)          ;; HEADER: layout 1, no rows
  (i32 24 1000056  2 0  0 0  0 1000000  0 1000000  1 0  0 1000000  0 1000000)  ;; FAILED: rows 0 and 1
)
(global $frame_bytes i32 (i32.const 1000080))

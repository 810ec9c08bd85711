;; Has a section that reaches over the end of its frame: into whatever follows.
(data (i32.const 16384)
  (i32 1 8  1 1)          ;; HEADER: layout 1, one row
  (i32 8 4096  0 0)       ;; VALUE, 4096 bytes long
)
(global $frame_bytes i32 (i32.const 32))
